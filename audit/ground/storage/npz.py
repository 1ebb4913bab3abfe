"""Writing an npz whose bytes depend on its arrays alone, so that it has one digest."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of every member


def archive_in(file: IO[bytes]) -> zipfile.ZipFile:
    """Return an archive to be written; members are stored, so that they can be mapped.

    It may hold more than 4 GiB.
    """
    return zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)


def member_of(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Return where the array of a name is written, header first."""
    info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
    return archive.open(info, "w", force_zip64=True)


def pack(file: IO[bytes], columns: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays under their names, whatever these are."""
    with archive_in(file) as archive:
        for name, column in columns.items():
            with member_of(archive, name) as member:
                array = np.asarray(column, order="C")
                npy.write_array(member, array, allow_pickle=False)
