"""What an array has to be that holds an input of the model."""

from __future__ import annotations

from collections.abc import Mapping

from audit.ground.errors import InputError, NothingAudited
from audit.ground.storage.arrays import Array
from audit.inputs.joined import Joined


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
