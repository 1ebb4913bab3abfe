"""Which key or column of a data file holds which input of the model."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from audit.ground.errors import ConfigError, InputError
from audit.inputs.names import CLASSES, NAMES
from audit.inputs.opening import Contents

USUAL_KEYS = ("x", "X", "inputs", "input", "data", "features", "condition")


def find_keys(
    path: str, wanted: Mapping[str, str | None], file: Contents, aside: Collection[str]
) -> dict[str, str]:
    """Return the key of each of the model's inputs; that of an `.npy` is ""."""
    first, *others = wanted
    if file.is_table:
        return _columns(wanted, file, aside)
    if file.is_archive:
        return {
            name: _find(path, name, key, list(file.keys), name == first)
            for name, key in wanted.items()
        }
    if others or wanted[first]:
        key = wanted[first] or wanted[others[0]] or others[0]
        raise ConfigError(
            f"'{path}' holds one array without a key, and '{key}' was asked of it",
            "Expected an archive of arrays with keys",
            "Save an .npz with a key for each input",
        )
    return {first: ""}


def _columns(
    wanted: Mapping[str, str | None], file: Contents, aside: Collection[str]
) -> dict[str, str]:
    """Return the columns of each input: what nobody else claims is the first one's."""
    first, *others = wanted
    keys = {name: key or name for name, key in wanted.items()}
    if wanted[first] is None and keys[first] not in file.keys:
        keys[first] = file.rest([*aside, *(keys[name] for name in others)])
    return keys


def _find(path: str, name: str, key: str | None, keys: list[str], first: bool) -> str:
    """Return the key that holds the model's input `name`."""
    candidates = [key] if key else [name, *(USUAL_KEYS if first else ())]
    for candidate in candidates:
        if candidate in keys:
            return candidate
    unnamed = [other for other in keys if other != NAMES]
    arrays = [other for other in unnamed if other != CLASSES] or unnamed
    if first and not key and len(arrays) == 1:
        return arrays[0]
    option = "condition" if first else "held"
    raise InputError(
        f"'{path}' has no key '{key or name}'",
        "Its keys are " + (", ".join(sorted(keys)) or "none"),
        f"Name the one that holds the model's input: --{option} {name}=KEY",
    )
