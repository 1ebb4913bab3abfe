"""The contract that travels inside a model file.

Every format has room for a text under the key `robaudit`: ONNX in `metadata_props`,
TorchScript and `.pt2` in an extra file. The text is a YAML document:

    family: normal
    parameters: {loc: mean, scale: exp(log_std)}
    levels: [0.1, 0.5, 0.9]           # an option of the family

It describes what the file computes, and excuses nothing. What is asked of the file, how
closely it is looked at and what is tolerated (`unnormalised`, seeds, draws, limits) is
for the one who audits to say; whoever wrote the file does not. So the keys are a closed
list: `DESCRIBES` and the options of the family. Any other is ignored, with a warning in
the report.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from audit.config.options import OPTIONS, flag_names
from audit.ground.documents import Unreadable, read_yaml
from audit.ground.errors import ModelError, boundary
from audit.ground.registry import unknown

KEY = "robaudit"
DESCRIBES: dict[str, tuple[type, ...]] = {  # key -> the kinds of value it has
    "contract": (str,),
    "family": (str,),
    "parameters": (Mapping,),
    "condition": (str,),
    "held": (Mapping,),
    "target": (str,),
    "noise": (str, Mapping),
    "outputs": (Mapping,),
    "input_layout": (str,),
    "target_space": (str,),
    "transport": (str,),
    "classes": (list,),
}
"""What a file may say of itself, besides the options of its family."""
Notes = tuple[tuple[str, str], ...]
_KEYS = "Expected keys such as family and parameters"
_STEP = "Save the model again, or remove the entry and pass --family and --param"


def read_metadata(text: str | bytes | None, path: Path) -> dict[str, object]:
    """Parse the document found in a file; {} if there is none.

    Raises:
        ModelError: the text is no YAML mapping.
    """
    if not text:
        return {}
    given = f"The metadata '{KEY}' in '{path.name}' cannot be read"
    with boundary(given, _KEYS, _STEP, ModelError):
        return _document(text, path)


def _document(text: str | bytes, path: Path) -> dict[str, object]:
    try:
        document, _ = read_yaml(_decoded(text))
        problem = f"it is {type(document).__name__}"
    except Unreadable as error:
        document, problem = None, error.problem
    if isinstance(document, Mapping):
        found = {str(name): value for name, value in document.items()}
        return {name: _described(name, found[name], path) for name in found}
    raise ModelError(
        f"The metadata '{KEY}' in '{path.name}' is no YAML mapping ({problem})",
        _KEYS,
        _STEP,
    )


def _described(key: str, value: object, path: Path) -> object:
    """Return a value of the kind that its key has; a name may be a number to YAML."""
    kinds = DESCRIBES.get(key, (object,))
    if str in kinds and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, kinds):
        return value
    wanted = "[NAME, NAME]" if list in kinds else "{NAME: VALUE}"
    wanted = "TEXT" if str in kinds else wanted
    raise ModelError(
        f"The metadata '{KEY}' in '{path.name}' say {key}: {value!r}",
        f"Expected {key}: {wanted}",
        "Save the model again, or remove the entry and say so with options",
    )


def metadata_notes(metadata: Mapping[str, object], options: Collection[str]) -> Notes:
    """Warn of what a file says that is not its to say, or that means nothing."""
    others = [key for key in metadata if key not in {*DESCRIBES, *options}]
    asked = [key for key in others if key.replace("-", "_") in OPTIONS]
    notes = []
    if asked:
        flags = ", ".join(flag_names(key.replace("-", "_"))[-1] for key in asked)
        notes.append(
            (
                "metadata_ignored",
                f"the file's metadata set {', '.join(asked)}, which is for the one who "
                f"audits to say ({flags}): ignored",
            )
        )
    for key in others:
        if key not in asked:
            *_, hint = unknown("keys", key, dict.fromkeys([*DESCRIBES, *options]))
            hint = f"; {hint[0].lower()}{hint[1:]}" if "mean" in hint else ""
            what = f"the file's metadata say '{key}', which means nothing here: ignored"
            notes.append(("metadata_unknown", what + hint))
    return tuple(notes)


def _decoded(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode("utf-8", "replace")
