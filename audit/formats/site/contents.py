"""Which pages the site has, what each begins with, and the entries that stand on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from audit.formats.site.entries import Entry, entries
from audit.formats.site.examples import Example, example_of

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


TOPICS = (
    Topic(
        "concepts.html",
        "Concepts",
        "What a scan measures, and how far its numbers are to be believed.",
        ("topic",),
    ),
    Topic(
        "guides.html",
        "Guides",
        "How to tell robaudit what a file computes, what its numbers rest on, and how "
        "it is used in CI, in long runs, in Python and beside MLflow.",
        ("guide",),
    ),
    Topic(
        "divergences.html",
        "Divergences",
        "How far apart two predicted distributions are. Each is locally c · |A δ|², "
        "with a root A of its metric tensor G = AᵀA at each input. Asked for by "
        "-d, more than once for several.",
        ("divergence",),
    ),
    Topic(
        "attacks.html",
        "Attacks",
        "What disturbs the input: a law of the perturbation δ, and what it costs. "
        "Asked for by -a, with a label of your own if you like. [divergence] stands "
        "for the unit of the divergence.",
        ("attack",),
    ),
    Topic(
        "quantities.html",
        "Quantities",
        "The numbers of a report, one for each input. G is the local metric tensor, "
        "c the constant of the divergence: D ≈ c δᵀ G δ. [divergence] stands for the "
        "unit of the divergence, δ for that of a perturbation.",
        ("quantity",),
    ),
    Topic(
        "columns.html",
        "Columns and keys",
        "A column is a quantity, or what its suffix makes of it. A key joins a "
        "divergence, a column and a statistic by dots: kl.gaussian_realised.p95.",
        ("suffix", "statistic"),
    ),
    Topic(
        "families.html",
        "Families",
        "The distributions whose parameters a file computes. Composed families are "
        "made of others.",
        ("family", "composed family"),
    ),
    Topic(
        "expressions.html",
        "Expressions",
        "How the outputs of a file become the parameters of a family.",
        ("language", "function"),
    ),
    Topic(
        "options.html",
        "Options of a scan",
        "The command line wins over the environment, that over robaudit.yaml, and "
        "that over what the model file says of itself.",
        ("argument", "option", "setting"),
    ),
    Topic(
        "formats.html",
        "Formats of a report",
        "What is printed (-f) or written (-o FILE, by its extension).",
        ("format",),
    ),
    Topic(
        "exit-codes.html",
        "Exit codes",
        "What a command ends with. 1 is a verdict and nothing else.",
        ("exit code",),
    ),
    Topic(
        "plugins.html",
        "Plug-ins",
        "How a package adds families, divergences, attacks, loaders, formats, engines "
        "and input readers; and those of this environment that have no other page.",
        ("page", "loader", "engine", "input"),
    ),
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
