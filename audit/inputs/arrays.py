"""Arrays that have been read: by key, or the columns of a table."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from audit.ground.errors import InputError
from audit.ground.storage.arrays import Array
from audit.inputs.joined import Joined
from audit.inputs.readers import Field

_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?\d+(,\d+)+(\.\d+)?")  # decimal, or between thousands
_SHOWN = 12  # columns that a message names


class Arrays:
    """Arrays by key.

    Args:
        path: the file, as the user wrote it.
        arrays: what is in it.
        sha256: its digest.
    """

    is_archive = True
    is_table = False

    def __init__(self, path: str, arrays: Mapping[str, Array], sha256: str) -> None:
        self.path, self._arrays, self._sha256 = path, dict(arrays), sha256

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys."""
        return tuple(self._arrays)

    def fields(self) -> dict[str, Field]:
        """Return the arrays by name, as readers declare them."""
        return {key: Field(a.shape, str(a.dtype)) for key, a in self._arrays.items()}

    def window(self, name: str, start: int, stop: int) -> Array:
        """Return rows [start, stop) of an array."""
        return self._arrays[name][start:stop]

    def fingerprint(self) -> str:
        """Return the digest of the file."""
        return self._sha256

    def read(
        self, keys: Iterable[str], memory: int
    ) -> tuple[dict[str, Array | Joined], str]:
        """Return some arrays and the digest of the file."""
        return {key: self.array(key) for key in keys}, self._sha256

    def load(self, key: str, memory: int) -> Array:
        """Return an array."""
        return self._arrays[key]

    def array(self, key: str) -> Array | Joined:
        """Return what a key means."""
        return self._arrays[key]

    def rest(self, claimed: Iterable[str]) -> str:
        """Return "": arrays are not put together."""
        return ""


class Table(Arrays):
    """Columns of a table; several of them, "a,b,c", are one array [N, 3].

    A name that holds a comma is quoted among several, as in the head of a csv file.
    A column [N] is an array [N, 1]; one of vectors [N, ...] is that. What is no number
    is refused by its name. What counts its rows (the index of pandas) is among the
    columns for who names it, and not among those that nobody claims.
    """

    is_table = True

    def __init__(
        self,
        path: str,
        arrays: Mapping[str, Array],
        sha256: str,
        index: Collection[str] = (),
    ) -> None:
        super().__init__(path, arrays, sha256)
        self._index = frozenset(index)

    def array(self, key: str) -> Array | Joined:
        """Return one column or several.

        Raises:
            InputError: a column does not exist, or holds no numbers.
        """
        if key in self._arrays:
            return self._column(key)
        return Joined({name: self._column(name) for name in _names_in(key)})

    def rest(self, claimed: Iterable[str]) -> str:
        """Return the names of the columns that nobody claims.

        Raises:
            InputError: one of them holds no numbers.
        """
        taken = {name.strip() for key in claimed for name in (key, *_names_in(key))}
        names = [n for n in self._arrays if n not in taken and n not in self._index]
        for name in names:
            self._column(name)
        return _joined(names)

    def _column(self, name: str) -> Array:
        if name not in self._arrays:
            raise InputError(
                f"'{self.path}' has no column '{name}'",
                f"Its columns are {', '.join(_quoted(self._arrays))}",
                "Name some of them: DATA::a,b,c",
            )
        column = self._arrays[name]
        if column.dtype.kind not in "biuf":
            raise self._no_number(name, column)
        return column if column.ndim > 1 else np.asarray(column).reshape(-1, 1)

    def _no_number(self, name: str, column: Array) -> InputError:
        if column.dtype.kind in "mM":
            first = column.ravel()[:1].astype(str).tolist()
            return InputError(
                f"In '{self.path}', the column '{name}' holds times (such as "
                f"'{''.join(first)}')",
                "Expected numbers: what the model makes of a time, such as its month",
                "Write these as columns, or name the other ones: DATA::a,b,c",
            )
        texts = [str(value) for value in column.ravel().tolist() if value] or [""]
        example = next((t for t in texts if not _NUMBER.fullmatch(t)), texts[0])
        what = f"In '{self.path}', the column '{name}' holds text (such as "
        if _COMMA.fullmatch(example.strip()):
            return InputError(
                f"{what}'{example[:40]}'): a comma inside a number",
                "Expected numbers with a decimal point, and nothing between thousands",
                "Write it again with decimal points (pandas: read_csv(..., "
                "decimal=',').to_csv(..., index=False))",
            )
        others = [n for n, a in self._arrays.items() if a.dtype.kind in "biuf"]
        columns = _joined(others) if 0 < len(others) <= _SHOWN else "a,b,c"
        return InputError(
            f"{what}'{example[:40]}')",
            "Expected numbers: a class has no direction to be perturbed in",
            f"Encode it as the model does, or name the other columns: DATA::{columns}",
        )


def _names_in(key: str) -> list[str]:
    """Return the names in a list of columns, in which quotes hold commas together."""
    rows = csv.reader(key.splitlines(keepends=True), skipinitialspace=True)
    return [name.strip() for row in rows for name in row] or [""]


def _quoted(names: Iterable[str]) -> list[str]:
    """Return names as a list of columns has them: one with a comma in quotes."""
    doubled = ((name, name.replace('"', '""')) for name in names)
    return [
        f'"{text}"' if set(',"\n\r') & set(name) else name for name, text in doubled
    ]


def _joined(names: Iterable[str]) -> str:
    return ",".join(_quoted(names))
