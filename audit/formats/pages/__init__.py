"""Pages of `robaudit explain`: the concepts, guides, how to add each kind of thing.

A page is a text beside this module. Those about plug-ins start from a complete example
in Python, and the suite runs it.
"""

from __future__ import annotations

from importlib.resources import files

from audit.ground.plugins import NOUNS

CONCEPTS = "concepts"
GUIDES = (
    *("model-files", "densities", "evidence", "gates", "long-runs"),
    *("plan", "scale", "python", "tracking"),
)
PAGES = ("plugins", *(f"{noun}-plugin" for noun in NOUNS.values()))


def page(name: str) -> str:
    """Return the text of a page; its first line is its title."""
    return (files(__name__) / f"{name}.md").read_text(encoding="utf-8").strip()
