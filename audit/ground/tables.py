"""Tables of text beside the code: what a number, a function or a page means.

A row is a line of columns with | between them, - where there is nothing, and below it,
indented, what it says. Rows are parted by blank lines; a line that begins with # is for
whoever reads the table.
"""

from __future__ import annotations

from pathlib import Path


def table(beside: str, name: str) -> list[tuple[str, ...]]:
    """Return the rows of a table: columns, and what is said.

    Args:
        beside: a module in whose folder `tables/NAME.txt` is, its `__file__`.
        name: of the table.
    """
    place = Path(beside).parent / "tables" / f"{name}.txt"
    found = []
    for block in place.read_text(encoding="utf-8").strip().split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if lines:
            columns = ("" if c == "-" else c for c in lines[0].split(" | "))
            found.append((*columns, " ".join(line.strip() for line in lines[1:])))
    return found
