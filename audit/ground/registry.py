"""Named things that are imported only when asked for.

A registry maps a name to where its object lives ("module:attribute"), so that the
list of names costs no import. Third parties add to it by entry points in the group
`robaudit.<kind>`; a name of our own wins over theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from audit.ground.errors import UnknownName

T = TypeVar("T")


class Registry(Generic[T]):
    """A lazy table of one kind of thing.

    Args:
        kind: the plural noun, as in the entry-point group ("families").
        places: name -> "module:attribute".
    """

    def __init__(self, kind: str, places: Mapping[str, str]) -> None:
        self.kind = kind
        self._places = dict(places)

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}, {self._places!r})"

    def __iter__(self) -> Iterator[str]:
        return iter(self._all_places())

    def __contains__(self, name: object) -> bool:
        return name in self._all_places()

    def __getitem__(self, name: str) -> T:
        """Import and return the object called `name`.

        Raises:
            UnknownName: there is none; the message says what there is.
        """
        places = self._all_places()
        if name not in places:
            raise UnknownName(*unknown(self.kind, name, places))
        module, _, attribute = places[name].partition(":")
        return cast("T", getattr(import_module(module), attribute))

    def _all_places(self) -> dict[str, str]:
        found = entry_points(group=f"robaudit.{self.kind}")
        return {point.name: point.value for point in found} | self._places


def unknown(kind: str, name: str, names: Mapping[str, object]) -> tuple[str, str, str]:
    """Return the three parts of an error about a name that is not in `names`."""
    close = get_close_matches(name, list(names), n=1, cutoff=0.5)
    hint = f"Did you mean '{close[0]}'?" if close else "Use one of these names"
    return (
        f"'{name}' is not among the {kind}",
        "The known ones are " + ", ".join(sorted(names)),
        hint,
    )
