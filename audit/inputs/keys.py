"""Which key of a data file holds which input of the model, and what it has to be."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from audit.ground.errors import ConfigError, InputError, NothingAudited
from audit.ground.storage.arrays import Array
from audit.inputs.joined import Joined
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


def require_numbers(path: str, name: str, key: str, array: Array | Joined) -> None:
    """Refuse an array that holds no numbers, or no rows of them.

    Raises:
        InputError: of another dtype or shape.
        NothingAudited: there are no rows.
    """
    where = f"In '{path}', key '{key}'" if key else f"In '{path}', the array"
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise InputError(
            f"{where} has dtype {array.dtype}",
            f"Expected real numbers for the model's input '{name}', of at most 64 bits",
            "Save it with another dtype, such as array.astype('float32')",
        )
    if array.ndim == 0:
        raise InputError(
            f"{where} is a single number",
            "Expected an array with one row an input",
            "Save it with an axis for the rows: array[None]",
        )
    if len(array) == 0:
        raise NothingAudited(
            f"{where} has no rows",
            "Expected one row for each input that is audited",
            "Give at least one input",
        )
    if array.size == 0:
        raise InputError(
            f"{where} has the shape {list(array.shape)}: there is nothing in its rows",
            f"Expected numbers for the model's input '{name}'",
            "Save it with features in every row",
        )


def require_equal_rows(path: str, arrays: Mapping[str, Array | Joined]) -> None:
    """Refuse arrays that differ in rows.

    Raises:
        InputError: they do.
    """
    rows = {name: len(array) for name, array in arrays.items()}
    if len(set(rows.values())) > 1:
        shown = ", ".join(f"'{name}' has {count}" for name, count in rows.items())
        raise InputError(
            f"In '{path}' the inputs differ in their number of rows: {shown}",
            "Expected one row of each for every input audited",
            "Save arrays of equal length",
        )
