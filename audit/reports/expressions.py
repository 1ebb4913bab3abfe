"""What `robaudit explain expressions` says: the language of `--param NAME=EXPRESSION`.

The functions themselves are in `audit.models.functions`; a test holds that both know
the same ones and that every example has a value.
"""

from __future__ import annotations

from audit.ground.tables import table

FUNCTIONS = {
    name: (meaning, example) for name, example, meaning in table(__file__, "functions")
}
"""Function -> (what it gives, an example)."""
GRAMMAR = (
    "--param NAME=EXPRESSION makes a parameter of the family of the file's outputs:\n"
    'mean, "head/out:0" (a name in quotes), @name (a tensor inside an ONNX graph),\n'
    "target_scale (an input of the file), numbers, + − * / **, and the functions below."
)
SHAPES = (
    "The first axis is the batch: out[:, :3], out[..., 1], out[:, ::-1], v[:, None].\n"
    "A number for each input goes with every number of that input; other shapes must\n"
    "fit from the right, in one way only; a constant fits everything.\n"
    "axis counts as an index does: 1 is the first after the batch, -1 the last."
)


def paragraph() -> tuple[str, str]:
    """Return the title and the text about the language."""
    rows = [
        f"{name}(): {meaning}\n    {example}"
        for name, (meaning, example) in FUNCTIONS.items()
    ]
    return "expressions (language)", "\n".join([GRAMMAR, SHAPES, *rows])
