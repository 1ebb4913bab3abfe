"""Arrays inside `.npy` and `.npz` files, memory-mapped where they lie as they are.

An `.npz` is a zip of `.npy` members; one that is stored without compression lies in the
file byte for byte, so it is mapped at its offset. (`np.load(mmap_mode=...)` ignores the
mode for npz.) Compressed members are read whole. Pickles are never opened.

A number is read only from an array that is as long as its header says and whose bytes
have the checksum that was written with them. The checksums of mapped arrays are taken
in the pass that hashes the file, and everything is read from one open file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from audit.ground.errors import ConfigError, InputError
from audit.ground.storage import Member, ZipFault, open_regular, read_members, unpack
from audit.ground.storage.fingerprint import fingerprint
from audit.ground.storage.npy import HEAD, Header, read_header

Array = NDArray[Any]
MEMORY = 1 << 30
"""Bytes that compressed arrays may take unpacked, unless --memory says otherwise."""
_KINDS = (
    "arrays saved by numpy, or a file whose name ends as its kind does: .csv, .tsv, "
    ".json, .jsonl (these four also as .gz), .parquet, .arrow, .h5, .mat, .pt, "
    ".safetensors"
)
_NPY = ".npy"


class DataFile:
    """Arrays in an open file, by key; the one of an `.npy` has the key "".

    Args:
        path: the file, as the user wrote it.
        file: it, open.
        members: of an `.npz`, in the order in which they lie there; None for an `.npy`.
    """

    is_table = False

    def __init__(self, path: str, file: BinaryIO, members: list[Member] | None) -> None:
        self.path, self._file = path, file
        self.is_archive = members is not None
        self._members = members or []
        self._arrays = {"": None} if members is None else _by_key(members)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of an `.npz`; none for an `.npy`."""
        return tuple(key for key in self._arrays if key)

    def read(self, keys: Iterable[str], memory: int) -> tuple[dict[str, Array], str]:
        """Return some arrays and the digest of the file.

        Args:
            keys: which.
            memory: bytes that compressed arrays may take.

        Raises:
            InputError: one of them is damaged, cut short, or not made of numbers.
            ConfigError: what is compressed takes more than `memory`.
        """
        wanted = {key: self.header(key) for key in dict.fromkeys(keys)}
        self._refuse_large(wanted, memory)
        found = fingerprint(self._file, self._members)
        arrays: dict[str, Array] = {}
        for key, header in wanted.items():
            member = self._arrays[key]
            if member is not None and member.method:
                arrays[key] = self._unpacked(key, member, header)
                continue
            if member is not None and found.crcs[member.name] != member.crc:
                raise InputError(
                    f"{self._where(key)} is damaged: its checksum differs",
                    "Expected the bytes that were written",
                    "Copy or write the file again",
                )
            arrays[key] = self._mapped(member.start if member else 0, header)
        return arrays, found.sha256

    def rest(self, claimed: Iterable[str]) -> str:
        """Return "": arrays are not put together."""
        return ""

    def load(self, key: str, memory: int) -> Array:
        """Return an array of an `.npz`, checked and read whole.

        Raises:
            InputError, ConfigError: as `read`.
        """
        member, header = self._arrays[key], self.header(key)
        assert member is not None
        self._refuse_large({key: header}, memory)
        return self._unpacked(key, member, header)

    def header(self, key: str) -> Header:
        """Return what the file says of an array.

        Raises:
            InputError: it is damaged, or not made of numbers.
        """
        member = self._arrays[key]
        if member is None:
            self._file.seek(0)
            head, size = self._file.read(HEAD), self._file.seek(0, 2)
        elif member.method:
            head, size = next(unpack(self._file, member))[:HEAD], member.size
        else:
            self._file.seek(member.start)
            head, size = self._file.read(min(HEAD, member.size)), member.size
        return read_header(head, size, self._where(key))

    def _refuse_large(self, wanted: dict[str, Header], memory: int) -> None:
        sizes = {
            key: header.bytes
            for key, header in wanted.items()
            if (member := self._arrays[key]) and member.method
        }
        if sum(sizes.values()) > memory:
            key = max(sizes, key=lambda each: sizes[each])
            raise ConfigError(
                f"{self._where(key)} takes {sizes[key] / 2**30:.1f} GiB unpacked",
                f"--memory allows {memory / 2**30:.1f} GiB for what is compressed",
                "Raise --memory, or save it with np.savez, which is read in place",
            )

    def _mapped(self, start: int, header: Header) -> Array:
        if not header.bytes:
            return np.empty(header.shape, header.dtype)
        order: Literal["F", "C"] = "F" if header.fortran else "C"
        start += header.length
        return np.memmap(self._file, header.dtype, "r", start, header.shape, order)

    def _unpacked(self, key: str, member: Member, header: Header) -> Array:
        data, at = np.empty(member.size, np.uint8), 0
        try:
            for piece in unpack(self._file, member):
                data[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
                at += len(piece)
        except ZipFault as fault:
            raise damaged(self.path, fault) from None
        flat = data[header.length :].view(header.dtype)
        array: Array = flat.reshape(header.shape, order="F" if header.fortran else "C")
        return array

    def _where(self, key: str) -> str:
        return f"In '{self.path}', " + (f"key '{key}'" if key else "its array")


@contextlib.contextmanager
def open_data(path: str) -> Iterator[DataFile]:
    """Open an npz or npy file; which of them it is, its first bytes tell.

    Raises:
        InputError: it is missing, unreadable, empty, damaged or something else.
    """
    try:
        with open_regular(path) as file:
            head = file.read(8)
            _refuse_others(path, head)
            members = read_members(file) if head[:2] == b"PK" else None
            _refuse_zipped(path, [member.name for member in members or ()])
            yield DataFile(path, file, members)
    except FileNotFoundError:
        raise missing(path, _KINDS) from None
    except ZipFault as fault:
        raise damaged(path, fault) from None
    except OSError as error:
        raise unreadable(path, error) from None


def missing(path: str, kinds: str) -> InputError:
    """Return the error for a data file that is not there.

    Args:
        path: as it was given.
        kinds: what it might have been.
    """
    return InputError(
        f"There is no data file '{path}'",
        f"Expected {kinds}",
        "Write what comes through a pipe to a file first"
        if path == "-"
        else "Check the path of DATA",
    )


def read_arrays(path: str) -> dict[str, Array]:
    """Return every array of a small file; the one of an `.npy` has the key "".

    Raises:
        OSError: there is no such file.
        InputError, ConfigError: as `DataFile.read`.
    """
    Path(path).stat()
    with open_data(path) as file:
        keys = file.keys if file.is_archive else ("",)
        arrays, _ = file.read(keys, MEMORY)
        return {key: np.array(array) for key, array in arrays.items()}


def _refuse_others(path: str, head: bytes) -> None:
    if not head:
        raise InputError(
            f"The data file '{path}' is empty (0 bytes)",
            "Expected an .npz or .npy file",
            "Write the file again",
        )
    if not head.startswith((b"PK", b"\x93NUMPY")):
        raise InputError(
            f"The data file '{path}' is neither npz nor npy",
            f"Expected {_KINDS}",
            f"Save it with np.savez('{Path(path).stem}.npz', x=...)",
        )


def _refuse_zipped(path: str, names: list[str]) -> None:
    """Refuse what other programs save as an archive."""
    if any(name.startswith("xl/") for name in names):
        what, saved = "a workbook of Excel", "Save the sheet as 'CSV UTF-8'"
    elif any(name.endswith("/data.pkl") for name in names):
        what, saved = "one of torch.save", "Let its name end in .pt"
    else:
        return
    raise InputError(
        f"The data file '{path}' is {what}",
        "Expected arrays saved by numpy, or another kind that its name says: .csv, "
        ".parquet, .h5, .mat, .pt",
        saved,
    )


def _by_key(members: list[Member]) -> dict[str, Member | None]:
    """Return the arrays of an archive by key."""
    names = {member.name for member in members}
    arrays = [member for member in members if member.name.endswith(_NPY)]
    for member in arrays:
        key = member.name.removesuffix(_NPY)
        if key in names or not key:
            raise ZipFault(f"has two members for the key '{key}'")
    return {member.name.removesuffix(_NPY): member for member in arrays}


def damaged(path: str, fault: ZipFault) -> InputError:
    """Return the error for an archive that is not read."""
    return InputError(
        f"The data file '{path}' {fault}",
        "Expected an archive as np.savez writes it",
        "Write or copy it again",
    )


def unreadable(path: str, error: OSError) -> InputError:
    """Return the error for a file that the system does not read."""
    return InputError(
        f"The data file '{path}' cannot be read: {error.strerror or error}",
        "Expected a file that may be read",
        "Check the path of DATA, and who may read it",
    )
