"""Readers of data files, by the file's suffix.

A reader is called with a path and returns the file, opened: which arrays there are,
windows of their rows, and a digest of all its bytes. Ours are one file each with a
function and a row here; they take the memory that they may fill as well, and what they
need beside the core is an extra that their message names. Third parties add one by the
entry point group `robaudit.inputs`, under the suffix (".avro").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from audit.ground.plugins import called_with
from audit.ground.registry import Registry
from audit.ground.storage.arrays import MEMORY, Array, open_data


@dataclass(frozen=True)
class Field:
    """An array of a data file, as the file declares it.

    Args:
        shape: with the number of rows first.
        dtype: numpy's name for its type.
    """

    shape: tuple[int, ...]
    dtype: str


class InputReader(Protocol):
    """A data file, open; a reader is a function from a path to one."""

    def fields(self) -> Mapping[str, Field]:
        """Return the arrays by name; one that has none is called ""."""

    def window(self, name: str, start: int, stop: int) -> Array:
        """Return rows [start, stop) of an array."""

    def fingerprint(self) -> str:
        """Return the sha256 of the file's bytes, or of what it stands for."""


_SAVED = "audit.inputs.readers:Saved"
OF_NUMPY = (".npz", ".npy")
READERS: Registry[Callable[..., InputReader]] = Registry(
    "inputs",
    {
        ".npz": _SAVED,
        ".npy": _SAVED,
        ".arrow": "audit.inputs.parquet:open_arrow",
        ".csv": "audit.inputs.csv:open_csv",
        ".gz": "audit.inputs.packed:open_packed",
        ".h5": "audit.inputs.hdf5:open_hdf5",
        ".json": "audit.inputs.json:open_json",
        ".jsonl": "audit.inputs.json:open_json",
        ".mat": "audit.inputs.matlab:open_matlab",
        ".ndjson": "audit.inputs.json:open_json",
        ".parquet": "audit.inputs.parquet:open_parquet",
        ".pt": "audit.inputs.tensors:open_tensors",
        ".safetensors": "audit.inputs.safetensors:open_safetensors",
        ".tsv": "audit.inputs.csv:open_csv",
        ".zarr": "audit.inputs.zarr:open_zarr",
    },
    called_with("path"),
)


class Saved:
    """A file that numpy saved, as any reader opens one."""

    def __init__(self, path: str) -> None:
        self.path = path

    def fields(self) -> Mapping[str, Field]:
        """Return the arrays by key; the one of an `.npy` has the key ""."""
        with open_data(self.path) as file:
            headers = {key: file.header(key) for key in file.keys or ("",)}
        return {key: Field(h.shape, str(h.dtype)) for key, h in headers.items()}

    def window(self, name: str, start: int, stop: int) -> Array:
        """Return rows [start, stop) of an array."""
        with open_data(self.path) as file:
            return file.read([name], MEMORY)[0][name][start:stop]

    def fingerprint(self) -> str:
        """Return the sha256 of the file's bytes."""
        with open_data(self.path) as file:
            return file.read([], MEMORY)[1]
