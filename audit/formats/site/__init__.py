"""All of `robaudit explain` as a static site: pages that need no server and no script.

Every page is one file that asks for nothing; the links between them are relative, so
the folder can be read from a disk or put on any server as it is.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, Template
from markupsafe import Markup

from audit.formats.site import contents, examples, prose
from audit.formats.site.folder import GENERATOR, publish
from audit.ground.errors import ConfigError
from audit.ground.printable import printable
from audit.ground.version import __version__


def write(folder: str | Path) -> list[str]:
    """Write the site into a folder that is new, empty or an earlier site.

    Returns:
        The names of its pages, the index first.

    Raises:
        ConfigError: no folder is named, it holds something else, or its parent does
            not exist.
        InputError: it cannot be written.
    """
    if not str(folder).strip():
        raise ConfigError(
            "--html names no folder",
            "Expected one that is new, empty or an earlier site",
            "Name it, --html site",
        )
    found = pages()
    publish(Path(folder), found)
    return list(found)


def pages() -> dict[str, str]:
    """Return file -> HTML for every page, the index first."""
    template = _template()
    site = list(contents.placed())
    links: dict[str, str] = {}
    for _, entries in site:
        for one in entries:
            links.setdefault(one.entry.name, one.place)
    for topic, _ in site:
        links.setdefault(topic.name, topic.file)
    common: dict[str, Any] = {"site": site, "links": links, "start": examples.START}
    common |= {"generator": GENERATOR, "version": __version__}
    found = {contents.INDEX: template.render(topic=None, entries=[], **common)}
    for topic, entries in site:
        found[topic.file] = template.render(topic=topic, entries=entries, **common)
    return {file: text + "\n" for file, text in found.items()}


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, trim_blocks=True)
    environment.finalize = lambda v: v if isinstance(v, Markup) else printable(v)
    environment.filters |= {"shown": prose.shown, "inline": prose.inline}
    environment.filters |= {"code": prose.code}
    page = files("audit.formats.site").joinpath("page.html.jinja")
    return environment.from_string(page.read_text(encoding="utf-8"))
