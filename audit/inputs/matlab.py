"""MATLAB files of version 5 to 7.2; those of 7.3 are HDF5 and read as that."""

from __future__ import annotations

import io
from types import ModuleType

import numpy as np

from audit.ground.storage.arrays import MEMORY
from audit.inputs.arrays import Arrays
from audit.inputs.reading import broken, needs, whole


def open_matlab(path: str, memory: int = MEMORY) -> Arrays:
    """Read every matrix of numbers; their first axis is the rows.

    Raises:
        ConfigError: SciPy is missing, or it takes more than `memory`.
        InputError: it is damaged.
    """
    scipy = needs(path, "matlab", _scipy)
    data, sha256 = whole(path, memory)
    try:
        found = scipy.io.loadmat(io.BytesIO(data))
    except Exception as error:  # SciPy raises whatever a broken file leads to
        raise broken(path, "MATLAB file", error) from None
    arrays = {
        name: np.asarray(value)
        for name, value in found.items()
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    }
    return Arrays(path, arrays, sha256)


def _scipy() -> ModuleType:
    import scipy
    import scipy.io

    module: ModuleType = scipy
    return module
