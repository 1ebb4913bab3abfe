"""Pages of `robaudit explain`: how to add each kind of thing, from a complete example.

A page is a text beside this module. Its examples are Python, and the suite runs them.
"""

from __future__ import annotations

from importlib.resources import files

from audit.ground.plugins import NOUNS

PAGES = ("plugins", *(f"{noun}-plugin" for noun in NOUNS.values()))


def page(name: str) -> str:
    """Return the text of a page; its first line is its title."""
    return (files(__name__) / f"{name}.md").read_text(encoding="utf-8").strip()
