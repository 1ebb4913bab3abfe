"""Faces: packages that hand on names of others, each imported when it is asked for.

A face writes its imports once, under `if TYPE_CHECKING:`, where type checkers and
readers find them. `handed_on` reads them there, so that nothing is said twice and
nothing is imported that is not used.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def handed_on(face: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a face."""
    places = dict(_imports(_source(face)))

    def get(name: str) -> Any:  # noqa: ANN401
        if name not in places:
            raise AttributeError(f"module {face!r} has no attribute {name!r}")
        module, original = places[name]
        return getattr(import_module(module), original)

    return get, lambda: sorted(places)


def _source(face: str) -> str:
    spec = find_spec(face)
    assert spec is not None
    return str(spec.loader.get_source(face))  # type: ignore[union-attr]


def _imports(source: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield name -> (module, its name there) of what is imported for type checkers."""
    for block in ast.parse(source).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for node in block.body:
                assert isinstance(node, ast.ImportFrom)
                for alias in node.names:
                    place = str(node.module), alias.name
                    yield alias.asname or alias.name, place
