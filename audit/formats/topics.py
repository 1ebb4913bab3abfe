"""`robaudit explain TOPIC`: what stands on a page of the site, on a terminal.

A topic is all of a kind: families, attacks, exit codes. Names of one thing are the
glossary's; where a topic is called like one ("plugins"), that text is the topic's.
"""

from __future__ import annotations

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from audit.formats import glossary
from audit.formats.layout import Style, print_all
from audit.formats.site.contents import TOPICS, Topic, placed
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
        topics = f"Topics: {', '.join(topic.name for topic in TOPICS)}."
        listed = print_all(iter([Text(topics)]), style)
        return f"{listed.rstrip()}\n\n{glossary.render(None, style)}"
    known = glossary.names()
    if name not in known and any(topic.name == name for topic in TOPICS):
        return _topic(name, style)
    try:
        return glossary.render(name, style)
    except UnknownName:
        every = known | {topic.name: "topic" for topic in TOPICS}
        words = unknown("names that can be explained", name, every)
        raise UnknownName(*words) from None


def _topic(name: str, style: Style) -> str:
    """Return all that stands on the page of a topic."""
    topic, found = next(page for page in placed() if page[0].name == name)
    parts: list[RenderableType] = [*_head(topic)]
    for one in (one.entry for one in found):
        parts.append(Text(printable(f"{one.name} ({one.kind})"), "bold"))
        parts.append(Padding(Text(printable(one.text, lines=True)), (0, 0, 0, 2)))
    return print_all(iter(parts), style)


def _head(topic: Topic) -> list[RenderableType]:
    """Return a topic's first sentences, and the command that shows it."""
    parts: list[RenderableType] = [Text(topic.title, "bold"), Text(topic.lead)]
    if topic.example:
        parts += [Text(topic.example.why), Padding(Text(topic.example.words), (0, 2))]
    return parts
