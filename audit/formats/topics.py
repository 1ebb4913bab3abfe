"""`robaudit explain TOPIC`: what stands on a page of the site, on a terminal.

A topic is all of a kind: families, attacks, exit codes. Names of one thing are the
glossary's; where a topic is called like one ("plugins"), that text is the topic's.
Options and functions of the language of expressions go by their own names, with or
without dashes, after a quantity that is called the same ("units").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from audit.formats import glossary
from audit.formats.layout import Style, print_all
from audit.formats.site.contents import TOPICS, Topic, placed
from audit.formats.site.entries import Entry, unlisted, unlisted_names
from audit.ground.errors import UnknownName
from audit.ground.printable import printable
from audit.ground.registry import unknown


def render(name: str | None, style: Style | None = None) -> str:
    """Return the explanation of a topic or a name, or the lists of both.

    Raises:
        UnknownName: nothing has that name; the message names the nearest.
    """
    style = style or Style()
    if name is None:
        topics = f"Topics: {', '.join(_topics())}."
        more = f"Options and functions: {', '.join(unlisted_names())}."
        listed = print_all(iter([Text(topics), Text(more)]), style)
        return f"{listed.rstrip()}\n\n{glossary.render(None, style)}"
    known = glossary.names()
    beside = [] if name in glossary.kinds_of_pages() else unlisted(name)
    said = print_all(_paragraphs(beside), style) if beside else ""
    if name not in known and name in _topics():
        return _topic(name, style) + said
    try:
        return glossary.render(name, style) + said
    except UnknownName:
        if said:
            return said
        every = known | dict.fromkeys([*unlisted_names(), *_topics()], "other")
        words = unknown("names that can be explained", name, every, glossary.LISTS)
        raise UnknownName(*words) from None


def _topics() -> list[str]:
    return [topic.name for topic in TOPICS]


def _topic(name: str, style: Style) -> str:
    """Return all that stands on the page of a topic."""
    topic, found = next(page for page in placed() if page[0].name == name)
    said = _paragraphs(one.entry for one in found)
    return print_all(chain(_head(topic), said), style)


def _paragraphs(entries: Iterable[Entry]) -> Iterator[RenderableType]:
    for one in entries:
        yield Text(printable(f"{one.name} ({one.kind})"), "bold")
        yield Padding(Text(printable(one.text, lines=True)), (0, 0, 0, 2))


def _head(topic: Topic) -> list[RenderableType]:
    """Return a topic's first sentences, and the command that shows it."""
    parts: list[RenderableType] = [Text(topic.title, "bold"), Text(topic.lead)]
    if topic.example:
        parts += [Text(topic.example.why), Padding(Text(topic.example.words), (0, 2))]
    return parts
