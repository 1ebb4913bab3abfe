"""Named things that are imported only when asked for.

A registry maps a name to where its object lives ("module:attribute"), so that the
list of names costs no import. Third parties add to it by entry points in the group
`robaudit.<kind>`; a name of our own wins over theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from types import MappingProxyType
from typing import Generic, TypeVar, cast

from audit.ground.errors import BrokenPlugin, UnknownName
from audit.ground.plugins import Lacks, Plugin, at, plugged

T = TypeVar("T")


class Registry(Generic[T]):
    """A lazy table of one kind of thing.

    Args:
        kind: the plural noun, as in the entry-point group ("families").
        places: name -> "module:attribute".
        lacks: says what a third party's object lacks, once, when it is first asked
            for; ours are tested.
        others: what else is said for a name, in lower case -> the name, for errors.
    """

    def __init__(
        self,
        kind: str,
        places: Mapping[str, str],
        lacks: Lacks | None = None,
        others: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.kind = kind
        self._places = dict(places)
        self._lacks = lacks
        self._others = others
        self._admitted: dict[Plugin, object] = {}

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}, {self._places!r})"

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(plugged(self.kind)), **self._places})

    def __contains__(self, name: object) -> bool:
        return name in self._places or name in plugged(self.kind)

    def __getitem__(self, name: str) -> T:
        """Import and return the object called `name`.

        Raises:
            UnknownName: there is none; the message says what there is.
            BrokenPlugin: a third party's does not import, or lacks something.
        """
        if name in self._places:
            return cast("T", at(self._places[name]))
        plugins = plugged(self.kind)
        if name not in plugins:
            given, expected, hint = unknown(self.kind, name, dict.fromkeys(self))
            other = self._others.get(name.lower())
            raise UnknownName(
                given, expected, f"Did you mean '{other}'?" if other else hint
            )
        return cast("T", self._admit(plugins[name]))

    def sound(self) -> Iterator[tuple[str, T]]:
        """Yield the names and objects of all that are not broken."""
        for name in self._places:
            yield name, self[name]
        yield from self.theirs()

    def theirs(self) -> Iterator[tuple[str, T]]:
        """Yield the names and objects of third parties that are not broken."""
        for name, plugin in plugged(self.kind).items():
            if name not in self._places:
                with suppress(BrokenPlugin):
                    yield name, cast("T", self._admit(plugin))

    def ours(self, name: str) -> bool:
        """Tell whether a name is one of robaudit's own."""
        return name in self._places

    def _admit(self, plugin: Plugin) -> object:
        if plugin not in self._admitted:
            found = plugin.load()
            lacking = list(self._lacks(found)) if self._lacks else []
            if lacking:
                raise plugin.fault(", and ".join(lacking))
            self._admitted[plugin] = found
        return self._admitted[plugin]


def unknown(
    kind: str, name: str, names: Mapping[str, object], lists: str = ""
) -> tuple[str, str, str]:
    """Return the three parts of an error about a name that is not in `names`.

    Args:
        kind: what they are names of.
        name: what was given.
        names: those that are known.
        lists: the command that lists them, where they are too many for a message.
    """
    same = [known for known in names if known.lower() == name.lower()]
    near = get_close_matches(name, list(names), n=5 if lists else 1, cutoff=0.5)
    close = same or near
    hint = f"Did you mean '{close[0]}'?" if close else "Use one of these names"
    if not lists:
        known = "The known ones are " + ", ".join(sorted(names))
    else:
        known = f"There are {len(names)} of them, which `{lists}` lists"
        known += f"; the nearest are {', '.join(near)}" if near else ""
        hint = hint if close else f"Choose one of the list of `{lists}`"
    several = [part.strip() for part in name.split(",")]
    if len(several) > 1 and all(part in names for part in several):
        hint = f"Give each by itself: the option again for '{several[1]}'"
    return f"'{name}' is not among the {kind}", known, hint
