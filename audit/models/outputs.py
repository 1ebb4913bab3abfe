"""What torch modules return, by name.

Dictionaries and named tuples bring names; tuples and lists get output_0, output_1, …,
a single tensor is called output. What is nested is flattened, and its names are joined:
((df, loc), scale) gives output_0_0, output_0_1 and output_1. None, an optional output
that is absent, is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from audit.ground.errors import ModelError


def name_outputs(result: object) -> dict[str, Tensor]:
    """Return a module's result as named tensors.

    Raises:
        ModelError: something other than a tensor came out.
    """
    named: dict[str, object] = {}
    for name, value in _flat(result, ""):
        if name in named:
            raise ModelError(
                f"Two outputs of the file would be called '{name}'",
                "Expected names that stay apart when nested outputs are flattened",
                "Rename one of them, or save a module that returns tensors only",
            )
        named[name] = value
        if not isinstance(value, Tensor):
            raise ModelError(
                f"The output '{name}' is a {type(value).__name__}",
                "Expected a tensor, or a tuple or dictionary of tensors",
                "Save a module that returns tensors only",
            )
    return named  # type: ignore[return-value]


def _flat(result: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield what is in nested containers, each with its name."""
    if isinstance(result, dict):
        parts = [(str(name), value) for name, value in result.items()]
    elif isinstance(result, (tuple, list)):
        fields = getattr(result, "_fields", None) or map(str, range(len(result)))
        parts = list(zip(fields, result, strict=True))
    else:
        if result is not None:
            yield path or "output", result
        return
    for name, value in parts:
        inner = f"{path}_{name}" if path else name
        yield from _flat(value, f"output_{inner}" if inner.isdigit() else inner)
