"""Tables on a terminal of any width: a number is whole, or its column is named.

A library that lays out tables cuts what has no room, and a cut number is another
number: `0.0229` in a column of one character reads `0`. So widths are worked out here.
Where a table is too wide, in this order: heads are folded; columns that allow it are
folded down to their `least`; columns go, those of the highest `rank` first, and a line
under the table names them; last, columns of words are folded down to `WORD`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit.formats.spelling import spelt_part
from audit.ground.printable import printable
from audit.ground.spelling import spelt

NARROW, WIDE = 60, 100
WORD, HEAD_WORD = 8, 12
"""Characters to which any column of words may be folded, and each word of a head."""
NAMES = 16
"""Characters to which a column of names is folded."""
ELSEWHERE = "--json, or --width"
"""Where a column is that has no room, of a command that prints JSON too."""
GAP = 2
"""Characters between columns."""


@dataclass(frozen=True)
class Style:
    """How a terminal wants its text."""

    width: int = 80
    """Columns, at least `NARROW`."""
    colour: bool = False
    verbose: bool = False
    """Every quantity, not only the main ones."""
    encoding: str = "utf-8"
    """What it lacks is spelt in ASCII before tables are laid out."""

    @property
    def room(self) -> int:
        """Characters that a line may have."""
        return max(NARROW, self.width)


@dataclass(frozen=True)
class Column:
    """A column of a table, as text that is already printable."""

    head: str
    cells: Sequence[str]
    words: bool = False
    """Whether it is of words: on the left, and folded where there is no other way."""
    least: int | None = None
    """Characters to which it may be folded before a column is left out."""
    rank: int = 0
    """Of the columns that may be left out the highest goes first; 0 stays."""
    dim: bool = False


def laid_out(
    columns: Sequence[Column],
    style: Style,
    see: str,
    rows: Sequence[str] = (),
    margin: int = 0,
) -> Iterator[RenderableType]:
    """Yield a table whose cells are all whole, and a line that names what is left out.

    Args:
        columns: with as many cells each.
        style: of the terminal.
        see: where left out columns can be seen, e.g. "-o report.html, or --width".
        rows: the style of each row; none: plain.
        margin: characters to the left of the table.
    """
    room, kept = style.room - margin, list(columns)
    widths = _widths(kept, style, room)
    while sum(widths) + GAP * (len(kept) - 1) > room and any(c.rank for c in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
        widths = _widths(kept, style, room)
    widths = _squeezed(kept, widths, room)
    table = _table(kept, widths, rows)
    yield Padding(table, (0, 0, 0, margin)) if margin else table
    gone = [c.head for c in columns if c not in kept]
    if gone and columns[0].cells:
        said = f"no room for {', '.join(gone)}: see {see}"
        yield Padding(Text(said, "dim"), (0, 0, 0, 2 + margin))


def print_all(parts: Iterator[RenderableType], style: Style) -> str:
    """Return renderables as text; names are never read as console markup."""
    console = Console(
        file=StringIO(),
        width=style.room,
        force_terminal=style.colour,
        color_system="standard" if style.colour else None,
        no_color=not style.colour,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
    )
    with console.capture() as captured:
        for part in parts:
            console.print(spelt_part(part, style.encoding))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def columns_of(
    heads: Sequence[str],
    rows: Sequence[Sequence[object]],
    words: Mapping[int, int | None] | None = None,
    ranks: Mapping[int, int] | None = None,
) -> list[Column]:
    """Return the columns of a table, printable.

    Args:
        heads: of the columns; one called "unit" is dim.
        rows: with a cell for each head.
        words: place of each column of words -> the `least` it may be folded to.
        ranks: place of each column that may be left out -> its rank.
    """
    words, ranks = words or {}, ranks or {}
    return [
        Column(
            printable(head),
            [printable(row[k]) for row in rows],
            words=k in words,
            least=words.get(k),
            rank=ranks.get(k, 0),
            dim=head == "unit",
        )
        for k, head in enumerate(heads)
    ]


def _widths(columns: Sequence[Column], style: Style, room: int) -> list[int]:
    """Return the width of each column: as it wants, else folded as it may be."""
    wanted = [_longest((c.head, *c.cells), style) for c in columns]
    floors = [_floor(column, style) for column in columns]
    return _narrowed(wanted, floors, room - GAP * (len(columns) - 1))


def _floor(column: Column, style: Style) -> int:
    """Return how narrow a column may be before another is left out."""
    words = [word[:HEAD_WORD] for word in spelt(column.head, style.encoding).split()]
    head = max(map(cell_len, words), default=1)
    cells = _longest(column.cells, style)
    return max(head, cells if column.least is None else min(column.least, cells), 1)


def _squeezed(columns: Sequence[Column], widths: list[int], room: int) -> list[int]:
    """Return widths at which columns of words are folded as far as it takes."""
    floors = [
        min(width, WORD) if column.words else width
        for column, width in zip(columns, widths, strict=True)
    ]
    return _narrowed(widths, floors, room - GAP * (len(columns) - 1))


def _narrowed(widths: list[int], floors: list[int], room: int) -> list[int]:
    """Return widths narrowed to `room` in sum, the widest first, none below a floor."""
    widths = list(widths)
    while sum(widths) > room:
        may = [k for k, width in enumerate(widths) if width > floors[k]]
        if not may:
            break
        widths[max(may, key=lambda k: widths[k])] -= 1
    return widths


def _longest(cells: Sequence[str], style: Style) -> int:
    return max((cell_len(spelt(cell, style.encoding)) for cell in cells), default=0)


def _table(
    columns: Sequence[Column], widths: Sequence[int], rows: Sequence[str]
) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            Text(column.head),
            justify="left" if column.words else "right",
            overflow="fold",
            width=width,
            style="dim" if column.dim else "",
        )
    for k, cells in enumerate(zip(*(c.cells for c in columns), strict=True)):
        table.add_row(*map(Text, cells), style=rows[k] if rows else None)
    return table
