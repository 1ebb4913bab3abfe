"""What `robaudit explain` knows, as entries with a place of their own on the site.

Nothing is said here: names and texts are those of the glossary, of the language of
expressions, of the columns' roles, of the exit codes and of the table of options.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from audit.config.layers import PREFIX
from audit.config.options import OPTIONS, POSITIONAL, flag_names
from audit.formats import glossary
from audit.formats.pages import page
from audit.formats.plugged import plugins
from audit.ground.plugins import Plugin
from audit.reports import expressions
from audit.reports.roles import AT, ROLES

QUANTITY = "QUANTITY"
"""Stands for the name of any quantity, before the suffix of a role."""


@dataclass(frozen=True)
class Entry:
    """One thing that is explained.

    Args:
        kind, name: what it is, and what it is called.
        text: lines; paragraphs where the kind writes paragraphs, see `prose`.
        wraps: whether a line may go on in the next, as in a page; else each is whole.
        also: other names that it is asked for by.
    """

    kind: str
    name: str
    text: str
    wraps: bool = False
    also: tuple[str, ...] = ()

    @property
    def first(self) -> str:
        """What it is in one line."""
        return self.text.partition("\n")[0]


def entries() -> Iterator[Entry]:
    """Yield every entry, in the order of the glossary; then what has no name there."""
    theirs = list(plugins())
    for name in glossary.names():
        yield from _named(name, theirs)
    yield from _functions()
    yield from _roles()
    for code, meaning in glossary.EXIT_CODES.items():
        yield Entry("exit code", str(code), meaning)
    yield from _options()


def unlisted(name: str) -> list[Entry]:
    """Return what is called so beside the names of the glossary: options, functions."""
    found = [*_functions(), *_options()]
    return [entry for entry in found if name == entry.name or name in entry.also]


def unlisted_names() -> list[str]:
    """Return the names of all of these."""
    return [entry.name for entry in (*_functions(), *_options())]


def _named(name: str, theirs: list[Plugin]) -> Iterator[Entry]:
    """Yield the entries of a name: one for each thing that is called so."""
    if name == "expressions":
        text = f"{expressions.GRAMMAR}\n\n{expressions.SHAPES}"
        yield Entry("language", name, text, wraps=True)
        return
    for title, text in glossary.whole(name, theirs):
        if not title.startswith(f"{name} ("):
            continue  # an exit code, for a plug-in that is called by its number
        kind = title.removeprefix(f"{name} (").removesuffix(")")
        is_page = kind in ("topic", "guide", "page")
        yield Entry(kind, name, _page(name) if is_page else text, is_page)


def _page(name: str) -> str:
    """Return the text of a page, its title without the mark of a heading."""
    return page(name).removeprefix("# ")


def _functions() -> Iterator[Entry]:
    for name, (meaning, example) in expressions.FUNCTIONS.items():
        text = f"{meaning}\n\n    {example}"
        yield Entry("function", f"{name}()", text, wraps=True, also=(name,))


def _roles() -> Iterator[Entry]:
    """Yield what a suffix makes of a quantity's column."""
    for role in ROLES:
        formula = role.formula.format(QUANTITY)
        reading = role.reading.format(QUANTITY)
        unit = {None: "in the unit of the quantity", "": "a number without a unit"}
        text = f"{formula}, {unit[role.unit]}\n{reading}"
        yield Entry("suffix", f"{QUANTITY}{role.suffix}", text)
    text = f"{QUANTITY} of a perturbation of this size, where several are asked for"
    yield Entry("suffix", f"{QUANTITY}{AT}SIZE", f"{text}\nExample: witness{AT}0.1.")


def _options() -> Iterator[Entry]:
    """Yield every option of a scan: how it is written, and where else it may stand."""
    for name, option in OPTIONS.items():
        names = flag_names(name)
        also = f"In robaudit.yaml {name}; in the environment {PREFIX}{name.upper()}."
        called = (name, *names, *(flag.lstrip("-") for flag in names))
        if option.file_only:
            only = f"In robaudit.yaml {name}, and nowhere else."
            yield Entry("setting", name, f"{option.meaning}\n{only}")
        elif name in POSITIONAL:
            text = f"{option.meaning}\n{also}"
            yield Entry("argument", names[-1], text, also=called)
        else:
            ways = ", ".join(f"{flag} {option.metavar}".strip() for flag in names)
            text = f"{option.meaning}\n{ways}\n{also}"
            yield Entry("option", names[-1], text, also=called)
