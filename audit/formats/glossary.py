"""What `robaudit explain` says about each name that is not a quantity."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit.formats.built_in import BuiltIn, built_in, paragraph_of
from audit.formats.layout import Style, print_all
from audit.formats.pages import CONCEPTS, GUIDES, PAGES, page
from audit.formats.plugged import paragraph, plugins
from audit.ground.errors import UnknownName
from audit.ground.plugins import NOUNS, Plugin
from audit.ground.registry import unknown
from audit.ground.spelling import spelt
from audit.ground.tables import table
from audit.reports import expressions
from audit.reports.formulas import ATTACK_QUANTITIES, Quantity
from audit.reports.quantities import QUANTITIES, STATISTICS, describe

DIVERGENCES = {
    name: (formula, reading)
    for name, formula, reading in table("audit.formats", "divergences")
}
WORDS = {row[0]: row[-1] for row in table("audit.formats", "words")}
"""What a report prints and is no column: verdicts, and headings under attack."""
_TYPED = {spelt(word, "ascii"): word for word in WORDS}
"""Words as they are typed, and printed where there is ASCII alone: delta for δ."""
WARNINGS = {row[0]: row[-1] for row in table("audit.formats", "warnings")}
"""Codes of warnings; one that ends with _ goes on with a divergence, and an attack."""
STATISTIC_MEANINGS = {
    "mean": "average over the audited inputs, with a 95 % interval that allows for "
    "skewness and a long tail, or none where that is too long or the inputs too few",
    "std": "standard deviation over the audited inputs",
    "min": "smallest value",
    "max": "largest value",
}
LISTS = "robaudit explain"
"""The command that lists every name."""
EXIT_CODES = {
    0: "audit done, every limit held (or none was set)",
    1: "verdict only: a limit failed",
    2: "usage or configuration error",
    3: "could not audit: unreadable file, unsupported operator, internal error",
    4: "undecided: too many inputs skipped, a limit not measured, or a number that the "
    "report's own check does not bear out",
    5: "nothing audited",
    130: "interrupted",
}


def explain(name: str) -> list[tuple[str, str]]:
    """Return (title, text) paragraphs about a name, or a key and each of its parts.

    Raises:
        UnknownName: nothing has that name; the message names the nearest.
    """
    found = _paragraphs(name)
    if found:
        return found
    raise UnknownName(*unknown("names that can be explained", name, names(), LISTS))


def _paragraphs(name: str) -> list[tuple[str, str]]:
    """The paragraph of a name, or those of the names that dots join to it."""
    for dot in (i for i in reversed(range(len(name))) if name[i] == "."):
        last = _last(name[dot + 1 :])
        first = _paragraphs(name[:dot]) if last else []
        if first:
            return [*first, *last]
    return whole(name)


def whole(name: str, theirs: Collection[Plugin] | None = None) -> list[tuple[str, str]]:
    """Return the paragraphs about a name that stands for one thing, dots and all.

    Args:
        name: as `names` has it.
        theirs: the plug-ins, where many names are asked for; else they are looked up.
    """
    if name == "expressions":
        return [expressions.paragraph()]
    whole = _divergence(name) or _quantity(name) or _statistic(name) or _exit(name)
    known = [whole] if whole else []
    word = _TYPED.get(name, name)
    if word in WORDS:
        known.append((f"{word} (word)", WORDS[word]))
    known = [*known, *_ours(name), *_page(name), *_plugged(name, theirs)]
    return known + _warning(name, begun=not known)


def render(name: str | None, style: Style | None = None) -> str:
    """Return the explanation of `name`, or the list of all names."""
    style = style or Style()
    if name is None:
        return print_all(iter([_list()]), style)
    if name in kinds_of_pages():
        return page(name) + "\n"
    parts: list[RenderableType] = []
    for title, text in explain(name):
        parts += [Text(title, "bold"), Padding(Text(text), (0, 0, 0, 2))]
    return print_all(iter(parts), style)


def _list() -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("name", "kind", "what it is"):
        table.add_column(column, overflow="fold")
    theirs = list(plugins())
    for name, kind in names().items():
        said = whole(name, theirs)[0][1].split("\n")[0]
        table.add_row(Text(name), Text(kind, "dim"), Text(said))
    return table


def names() -> dict[str, str]:
    """Return every name that can be explained, and its kind."""
    kinds = (
        ("warning", [code.rstrip("_") for code in WARNINGS]),  # others' names win
        ("topic", [CONCEPTS]),
        ("guide", GUIDES),
        ("divergence", DIVERGENCES),
        ("quantity", [row.name for row in QUANTITIES]),
        ("attack", [row.name for row in ATTACK_QUANTITIES]),
        ("statistic", STATISTICS),
        ("word", WORDS),
        ("page", PAGES),
        ("language", ["expressions"]),
    )
    ours = {name: kind for kind, members in kinds for name in members}
    made = {one.name: one.kind for one in built_in() if one.name not in ours}
    ours |= made
    theirs = {one.name: NOUNS[one.kind] for one in plugins() if one.name not in ours}
    return ours | theirs


def _divergence(name: str) -> tuple[str, str] | None:
    known = DIVERGENCES.get(name.partition(":")[0])
    return (f"{name} (divergence)", f"{known[0]}\n{known[1]}") if known else None


def _last(name: str) -> list[tuple[str, str]]:
    """The paragraph of a later part of a key: what is measured, or a statistic."""
    found = _quantity(name) or _statistic(name)
    attacks = (one for one in plugins() if one.kind == "attacks" and one.name == name)
    return [found] if found else [paragraph(one) for one in attacks]


def _ours(name: str) -> list[tuple[str, str]]:
    """The paragraphs of families, attacks and formats of ours, "mixture:normal" too.

    Attacks that are quantities of a report have theirs in the table of these.
    """
    kind = name.partition(":")[0]

    def asked(one: BuiltIn) -> bool:
        composed = one.kind == "composed family" and one.name == kind
        known = one.kind == "attack" and describe(one.name) is not None
        return (one.name == name or composed) and not known

    return [paragraph_of(one) for one in built_in() if asked(one)]


def _page(name: str) -> list[tuple[str, str]]:
    kind = kinds_of_pages().get(name)
    if kind is None:
        return []
    title, _, text = page(name).partition("\n")
    return [(f"{name} ({kind})", f"{title.lstrip('# ')}\n{text.strip()}")]


def kinds_of_pages() -> dict[str, str]:
    """Return the name of each page that is a text of its own -> its kind."""
    kinds = {"topic": (CONCEPTS,), "guide": GUIDES, "page": PAGES}
    return {name: kind for kind, names in kinds.items() for name in names}


def _plugged(name: str, theirs: Collection[Plugin] | None) -> list[tuple[str, str]]:
    """The paragraphs of the plug-ins that have this name, "shift" of "shift:by=2"."""
    asked = (name, name.partition(":")[0])
    known = plugins() if theirs is None else theirs
    return [paragraph(plugin) for plugin in known if plugin.name in asked]


def _quantity(name: str) -> tuple[str, str] | None:
    row = describe(name)
    return (f"{name} ({_kind(row)})", _text(row)) if row else None


def _kind(row: Quantity) -> str:
    return "attack" if row in ATTACK_QUANTITIES else "quantity"


def _text(row: Quantity) -> str:
    unit = row.unit.format(unit="[divergence]")
    return f"{row.formula}" + (f", in {unit}" if unit else "") + f"\n{row.reading}"


def _statistic(name: str) -> tuple[str, str] | None:
    if name not in STATISTICS:
        return None
    percentile = f"{name[1:].lstrip('0')} % of the audited inputs lie below it"
    interval = ", with a 95 % interval between two order statistics"
    meaning = STATISTIC_MEANINGS.get(name, percentile + interval)
    return (f"{name} (statistic)", meaning)


def _warning(name: str, begun: bool) -> list[tuple[str, str]]:
    """Return what a code means, alone or (`begun`) with what it is said of."""
    code = name if name in WARNINGS else f"{name}_"
    if code not in WARNINGS:
        if not begun:
            return []
        begins = [one for one in WARNINGS if one[-1] == "_" and name.startswith(one)]
        code = max(begins, key=len, default="")
    return [(f"{name} (warning)", WARNINGS[code])] if code else []


def _exit(name: str) -> tuple[str, str] | None:
    if not name.isdigit() or int(name) not in EXIT_CODES:
        return None
    return (f"exit code {name}", EXIT_CODES[int(name)])
