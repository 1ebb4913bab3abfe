"""Tables of text beside the code: what a number, a function or a page means.

A row is a line of columns with | between them, - where there is nothing, and below it,
indented, what it says. Rows are parted by blank lines; a line that begins with # is for
whoever reads the table.
"""

from __future__ import annotations

from importlib.resources import files


def table(package: str, name: str) -> list[tuple[str, ...]]:
    """Return the rows of `tables/NAME.txt` of a package: columns, and what is said."""
    place = files(package) / "tables" / f"{name}.txt"
    found = []
    for block in place.read_text(encoding="utf-8").strip().split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if lines:
            columns = ("" if c == "-" else c for c in lines[0].split(" | "))
            found.append((*columns, " ".join(line.strip() for line in lines[1:])))
    return found
