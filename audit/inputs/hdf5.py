"""HDF5 files: data sets by their path, as in `data.h5::group/x`."""

from __future__ import annotations

import io
from types import ModuleType

import numpy as np

from audit.ground.storage.arrays import MEMORY, Array
from audit.inputs.arrays import Arrays
from audit.inputs.reading import broken, needs, whole

_MATLAB = "MATLAB_class"  # an attribute of what MATLAB wrote, its axes in reverse


def open_hdf5(path: str, memory: int = MEMORY) -> Arrays:
    """Read every data set of numbers.

    Raises:
        ConfigError: h5py is missing, or it takes more than `memory`.
        InputError: it is damaged.
    """
    h5py = needs(path, "hdf5", _h5py)
    data, sha256 = whole(path, memory)
    found: dict[str, Array] = {}

    def keep(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf":
            if item.nbytes > memory:
                raise ValueError(f"'{name}' takes more than --memory allows")
            values = np.asarray(item[()])
            found[name] = values.T if _MATLAB in item.attrs else values

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            file.visititems(keep)
    except (OSError, ValueError, RuntimeError) as error:
        raise broken(path, "HDF5 file", error) from None
    return Arrays(path, found, sha256)


def _h5py() -> ModuleType:
    import h5py

    module: ModuleType = h5py
    return module
