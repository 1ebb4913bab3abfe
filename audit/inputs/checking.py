"""The laws of every reader of data files, to run over a new one.

check_reader(Columns, "data.columns", {"x": x})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.ground.checking import answering, demand
from audit.inputs.readers import Field, InputReader


def check_reader(
    reader: Callable[[str], InputReader], path: str, arrays: Mapping[str, ArrayLike]
) -> None:
    """Hold a reader to the laws of robaudit's own suite.

    Args:
        reader: path -> the file, open.
        path: a file of three rows or more.
        arrays: what is in it, by name.

    Raises:
        LawBroken: names the law, what was expected and what found.
    """
    name = getattr(reader, "__qualname__", repr(reader))
    with answering(name, "a reader opens a file and has fields, window, fingerprint"):
        _check(name, reader, path, arrays)


def _check(
    name: str,
    reader: Callable[[str], InputReader],
    path: str,
    arrays: Mapping[str, ArrayLike],
) -> None:
    file, again = reader(path), reader(path)
    fields = file.fields()
    law = "fields names every array"
    demand(set(fields) == set(arrays), name, law, sorted(arrays), sorted(fields))
    for key, values in arrays.items():
        _check_array(name, file, key, fields[key], np.asarray(values))
    digest, law = file.fingerprint(), "the fingerprint is text, the same each time"
    demand(isinstance(digest, str) and bool(digest), name, law, "a digest", digest)
    demand(again.fingerprint() == digest, name, law, digest, again.fingerprint())


def _check_array(
    name: str,
    file: InputReader,
    key: str,
    field: Field,
    wanted: NDArray[np.generic],
) -> None:
    law = f"fields says the shape and dtype of '{key}'"
    declared = tuple(field.shape), np.dtype(field.dtype)
    demand(declared == (wanted.shape, wanted.dtype), name, law, wanted.dtype, field)
    count = len(wanted)
    for start, stop in ((0, count), (1, count - 1), (0, 0), (count - 1, count)):
        found = np.asarray(file.window(key, start, stop))
        law = f"window gives the rows [{start}, {stop}) of '{key}'"
        right = found.dtype == wanted.dtype and np.array_equal(
            found, wanted[start:stop]
        )
        demand(right, name, law, wanted[start:stop], found)
