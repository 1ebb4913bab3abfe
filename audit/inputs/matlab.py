"""MATLAB files: of version 5 to 7.2 by SciPy; those of 7.3 are HDF5.

MATLAB stores a matrix column by column and HDF5 declares what lies there row by row, so
that a matrix of 7.3 has its axes in reverse; one that MATLAB wrote says so by an
attribute, and is turned back.
"""

from __future__ import annotations

import io
from types import ModuleType

import numpy as np

from audit.ground.errors import InputError
from audit.ground.storage.arrays import MEMORY
from audit.inputs.arrays import Arrays
from audit.inputs.hdf5 import open_hdf5
from audit.inputs.reading import broken, needs, whole

_HDF5 = b"MATLAB 7.3"


def open_matlab(path: str, memory: int = MEMORY) -> Arrays:
    """Read every matrix of numbers; their first axis is the rows.

    Raises:
        ConfigError: SciPy is missing, or it takes more than `memory`.
        InputError: it is damaged.
    """
    data, sha256 = whole(path, memory)
    if data.startswith(_HDF5):
        return open_hdf5(path, memory)
    scipy = needs(path, "matlab", _scipy)
    try:
        found = scipy.io.loadmat(io.BytesIO(data))
    except Exception as error:  # SciPy raises whatever a broken file leads to
        raise broken(path, "MATLAB file", error) from None
    arrays = {
        name: np.asarray(value)
        for name, value in found.items()
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    }
    if not arrays:
        named = [name for name in found if not name.startswith("__")]
        raise InputError(
            f"The data file '{path}' holds no matrix of numbers, but "
            + (", ".join(named) or "nothing"),
            "Expected numeric matrices, one row an input",
            "Save the fields of a struct by themselves: save('d.mat', '-struct', 's')",
        )
    return Arrays(path, arrays, sha256)


def _scipy() -> ModuleType:
    import scipy
    import scipy.io

    module: ModuleType = scipy
    return module
