"""Which pages the site has, what each begins with, and the entries that stand on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from audit.formats.site.entries import Entry, entries

INDEX = "index.html"
MAIN = "main"
"""The anchor of a page's text, which no entry takes."""


@dataclass(frozen=True)
class Example:
    """A command that can be pasted in the folder of the repository.

    Args:
        words: the command, one line.
        code: the exit code that it ends with.
        why: what it shows.
        page: that it stands on, without its suffix.
    """

    words: str
    code: int
    why: str
    page: str = "index"

    @property
    def printed(self) -> str:
        """What it prints; a slow test runs it and compares."""
        kept = files("audit.formats.site") / "printed" / f"{self.page}.txt"
        return kept.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Topic:
    """A page: its file, its title, its first sentences and the kinds that it holds."""

    file: str
    title: str
    lead: str
    kinds: tuple[str, ...]
    example: Example | None = None


@dataclass(frozen=True)
class Placed:
    """An entry at its place: "page.html#anchor"."""

    entry: Entry
    anchor: str
    place: str


_DIABETES = (
    "robaudit scan sample_models/heteroscedastic.onnx sample_models/heteroscedastic.npz"
)
_COUNTS = "robaudit scan sample_models/counts.onnx sample_models/counts.npz"

START = Example(_DIABETES, 0, "A first audit, of a network with a normal head.")
TOPICS = (
    Topic(
        "divergences.html",
        "Divergences",
        "How far apart two predicted distributions are. Each is locally c · |A δ|², "
        "with a root A of its metric tensor G = AᵀA at each input. Asked for by "
        "-d, more than once for several.",
        ("divergence",),
        Example(
            f"{_DIABETES} -d kl -d quantile",
            0,
            "Two divergences side by side.",
            "divergences",
        ),
    ),
    Topic(
        "attacks.html",
        "Attacks",
        "What disturbs the input: a law of the perturbation δ, and what it costs. "
        "Asked for by -a, with a label of your own if you like. [divergence] stands "
        "for the unit of the divergence.",
        ("attack",),
        Example(
            f"{_DIABETES} -a weak=gaussian:sigma=0.05 -a fixed_norm:norm=0.2",
            0,
            "Weak white noise, and a step of norm 0.2 along the worst direction.",
            "attacks",
        ),
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
        Example(
            f"{_COUNTS} --family poisson",
            0,
            "A network that predicts a rate.",
            "families",
        ),
    ),
    Topic(
        "expressions.html",
        "Expressions",
        "How the outputs of a file become the parameters of a family.",
        ("language", "function"),
        Example(
            f"{_DIABETES} --family normal --param loc=loc "
            "--param 'scale=exp(log_scale)'",
            0,
            "The parameters said in full.",
            "expressions",
        ),
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
        Example(
            f"{_DIABETES} --max kl.gaussian.max=0.001",
            1,
            "A limit that fails.",
            "exit-codes",
        ),
    ),
    Topic(
        "plugins.html",
        "Plug-ins",
        "How a package adds families, divergences, attacks, loaders, formats, engines "
        "and input readers; and those of this environment that have no other page.",
        ("page", "loader", "engine", "input"),
    ),
)


EXAMPLES = (START, *(topic.example for topic in TOPICS if topic.example))


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
