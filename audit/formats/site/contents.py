"""Which pages the site has, what each begins with, and the entries that stand on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from audit.formats.site.entries import Entry, entries
from audit.formats.site.examples import Example, example_of
from audit.ground.tables import table

INDEX = "index.html"
MAIN = "main"
"""The anchor of a page's text, which no entry takes."""


@dataclass(frozen=True)
class Topic:
    """A page: its file, its title, its first sentences and the kinds that it holds."""

    file: str
    title: str
    lead: str
    kinds: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file without its suffix."""
        return self.file.removesuffix(".html")

    @property
    def example(self) -> Example | None:
        """A command that shows what the page is about."""
        return example_of(self.name)


@dataclass(frozen=True)
class Placed:
    """An entry at its place: "page.html#anchor"."""

    entry: Entry
    anchor: str
    place: str


TOPICS = tuple(
    Topic(file, title, lead, tuple(kinds.split(", ")))
    for file, title, kinds, lead in table(__file__, "topics")
)


def placed() -> Iterator[tuple[Topic, list[Placed]]]:
    """Yield every page with its entries, each at an anchor of its own.

    Raises:
        LookupError: a kind of entry has no page.
    """
    pages: dict[str, list[Entry]] = {topic.file: [] for topic in TOPICS}
    of_kind = {kind: topic.file for topic in TOPICS for kind in topic.kinds}
    for entry in entries():
        pages[of_kind[entry.kind]].append(entry)
    for topic in TOPICS:
        by_kind = sorted(pages[topic.file], key=lambda e: topic.kinds.index(e.kind))
        yield topic, list(_anchored(topic.file, by_kind))


def _anchored(file: str, found: list[Entry]) -> Iterator[Placed]:
    """Yield entries with anchors; the second of a name gets a number behind it."""
    used = {MAIN}
    for entry in found:
        anchor, number = slug(entry.name), 1
        while anchor in used:
            number += 1
            anchor = f"{slug(entry.name)}-{number}"
        used.add(anchor)
        yield Placed(entry, anchor, f"{file}#{anchor}")


def slug(name: str) -> str:
    """Return a name as an anchor: letters, digits, `_`, `.` and `-` alone."""
    return "".join(
        c if c.isascii() and (c.isalnum() or c in "_.-") else f"-{ord(c):x}-"
        for c in name
    )
