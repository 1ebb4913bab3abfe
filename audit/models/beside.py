"""A key of the data that no input of the model reads, such as that of θ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.ground.errors import InputError
from audit.inputs import list_keys, open_inputs, split_spec


def read_beside(
    data: str, key: str, rows: int, memory: int, required: bool
) -> NDArray[np.generic] | None:
    """Return the array [N, ...] that the data hold under a key.

    Args:
        data: the data, as the user named them.
        key: of the array.
        rows: N, of the model's inputs.
        memory: bytes that compressed arrays may take.
        required: whether it has to be there.

    Returns:
        None where it is not there and need not be.

    Raises:
        InputError: it is not there, is no array of numbers, or has another length.
    """
    path = split_spec(data)[0]
    known = list_keys(path)
    if key not in known:
        if not required:
            return None
        raise InputError(
            f"'{path}' has no key '{key}' for --target-key",
            "Its keys are " + (", ".join(sorted(known)) or "none"),
            "Name the one that holds θ, or leave the option out",
        )
    found = open_inputs(path, {key: key}, memory)
    if found.n != rows:
        raise InputError(
            f"In '{path}' the key '{key}' has {found.n} rows, the model's input {rows}",
            "Expected one θ for each input",
            "Save both with the same rows, or name another --target-key",
        )
    return found.take(key, np.arange(rows))
