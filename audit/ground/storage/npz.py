"""Writing an npz whose bytes depend on its arrays alone."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import IO

import numpy as np
from numpy.lib import format as npy

from audit.ground.storage.arrays import Array

_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(file: IO[bytes], columns: Mapping[str, Array]) -> None:
    """Write arrays under their names, whatever these are, without compression."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, column in columns.items():
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            with archive.open(info, "w", force_zip64=True) as member:
                array = np.ascontiguousarray(column)
                npy.write_array(member, array, allow_pickle=False)
