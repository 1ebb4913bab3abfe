"""The rows of a scan kept in memory, as they came: for a caller in Python.

They are those of a rows file: whatever a scan would have written can be written later,
in each of its formats, and gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from audit.reports.columns import REASON, Array, Sentences, split
from audit.reports.rows import RowsWriter
from audit.reports.series import Series
from audit.reports.values import Values

Chunk = Mapping[str, Array | Values]


class RecordedRows(RowsWriter):
    """Takes the rows of a scan, and hands them on."""

    def __init__(self) -> None:
        self.paths = ()
        self._chunks: list[Chunk] = []
        self._late: list[Chunk] = []
        self._arrays: dict[str, Array] | None = None
        self._beside: dict[str, Array] = {}

    @property
    def needs_directions(self) -> bool:
        """Whether directions are kept: they are."""
        return True

    def append(self, chunk: Chunk) -> None:
        """Keep the rows of one chunk."""
        self._chunks.append(dict(chunk))

    def extend(self, columns: Mapping[str, Array | Series]) -> None:
        """Keep columns that are known only when all rows are in."""
        self._late.append(
            {
                name: column if isinstance(column, np.ndarray) else column.whole()
                for name, column in columns.items()
            }
        )

    def beside(self, name: str, read: Callable[[], Array]) -> None:
        """Keep the audited inputs [N, *event], and the units of their features."""
        self._beside[name] = read()

    def close(self) -> None:
        """Do nothing: there is no file."""

    def discard(self) -> None:
        """Do nothing: there is no file."""

    @property
    def inputs(self) -> Array:
        """What was perturbed [N, *event], in the order of the rows."""
        return self._beside["x"]

    @property
    def unit(self) -> Array:
        """One unit of each feature [*event], or of each input's [N, *event].

        It is 0 where the feature may not move.
        """
        return self._beside["unit"]

    @property
    def arrays(self) -> Mapping[str, Array]:
        """Column -> [N, ...], as in a rows file; reasons are texts."""
        if self._arrays is None:
            self._arrays = self._joined()
        return self._arrays

    def _joined(self) -> dict[str, Array]:
        said = Sentences()
        parts = [split(chunk, said) for chunk in self._chunks]
        found = {
            name: np.concatenate([part[name] for part in parts]) for name in parts[0]
        }
        for columns in self._late:
            found |= split(columns, said)
        table = np.array(list(said.places))
        return {
            name: table[column] if name.endswith(REASON) else column
            for name, column in found.items()
            if not name.endswith(REASON) or column.any()
        }

    def write(self, path: str) -> None:
        """Write a rows file, `.npz`, `.parquet` or `.csv`.

        Raises:
            ConfigError: parquet is asked for and pyarrow is not installed.
            InputError: the file cannot be written.
        """
        with RowsWriter(path) as writer:
            for chunk in self._chunks:
                writer.append(chunk)
            for columns in self._late:
                writer.extend(columns)
