"""What `robaudit explain` says about the plug-ins of this environment.

A plug-in explains itself: by the first line of its docstring, and by `formula`, `unit`
and `reading` where it has them. One that does not import is listed with the reason.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from audit.ground.errors import BrokenPlugin
from audit.ground.plugins import NOUNS, Plugin, plugged


def plugins() -> Iterator[Plugin]:
    """Yield every plug-in, kind by kind and by name; nothing is imported."""
    for kind in NOUNS:
        yield from (plugin for _, plugin in sorted(plugged(kind).items()))


def paragraph(plugin: Plugin) -> tuple[str, str]:
    """Return the title and the text about a plug-in."""
    title = f"{plugin.name} ({NOUNS[plugin.kind]})"
    try:
        found = plugin.load()
    except BrokenPlugin as error:
        return title, str(error)
    lines = [*_lines(found, plugin.kind), f"From the package {plugin.package}."]
    return title, "\n".join(dict.fromkeys(filter(None, lines)))


def _lines(found: object, kind: str) -> Iterator[str]:
    """Yield what an object says of itself: its formula and unit first."""
    made = _made(found) if kind == "divergences" else found
    formula, unit, reading = (_said(made, n) for n in ("formula", "unit", "reading"))
    if formula:
        yield formula + (f", in {unit}" if unit else "")
    yield (inspect.getdoc(found) or "").partition("\n")[0]
    yield reading


def _made(found: object) -> object:
    """Return the divergence that a function makes; the function if it needs more."""
    try:
        return found()  # type: ignore[operator]
    except Exception:
        return found


def _said(found: object, name: str) -> str:
    value = getattr(found, name, "")
    return value if isinstance(value, str) else ""
