"""Two names in one text: `data.npz::key`, `report.json::rows.npz`."""

from __future__ import annotations

import contextlib
import os

COLONS = "::"


def split_spec(text: str) -> tuple[str, str | None]:
    """Split `path::rest` into the path and the rest, None where there is none.

    A path may hold `::` itself. A file whose name is the whole text is that file; where
    there is none yet, `::` at the end says that everything before it is the path.
    """
    with contextlib.suppress(OSError, ValueError):
        if os.path.isfile(text):
            return text, None
    path, colons, rest = text.rpartition(COLONS)
    return (path, rest or None) if colons and path else (text, None)
