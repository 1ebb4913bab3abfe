"""What others add: their objects, found by entry points and held to a contract.

A package adds to a registry by an entry point in the group `robaudit.<kind>`. Nothing
of it is imported before it is asked for, so a broken one breaks nothing else, and what
is wrong with it is said with its name: who made it, what is missing, where the page is
that starts from a complete example.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, distributions
from types import MappingProxyType

from audit.ground.errors import BrokenPlugin

_PREFIX = "robaudit."
_SEPARATORS = re.compile(r"[-_.]+")
Lacks = Callable[[object], Iterable[str]]
"""An object -> clauses that say what it lacks of its kind ("it has no kl")."""

NOUNS = MappingProxyType(
    {
        "families": "family",
        "divergences": "divergence",
        "attacks": "attack",
        "loaders": "loader",
        "formats": "format",
        "engines": "engine",
        "inputs": "input",
    }
)
"""Kinds of things that can be added, and the word for one of them."""


@dataclass(frozen=True)
class Plugin:
    """An entry point.

    Args:
        kind: of its registry ("families"). name: under which it is asked for.
        place: "module:attribute". package: the distribution that it comes with.
        rival: another package that claims the same name, "" if there is none.
        version: of the package, "" if that is not known.
    """

    kind: str
    name: str
    place: str
    package: str
    rival: str = ""
    version: str = ""

    def load(self) -> object:
        """Import and return the object.

        Raises:
            BrokenPlugin: it does not import, or two packages claim its name.
        """
        if self.rival:
            raise self.fault(f"is claimed by the package {self.rival} too")
        try:
            return at(self.place)
        except Exception as error:
            why = f"does not import from '{self.place}' ({_words(error)})"
            raise self.fault(why) from error

    def fault(self, clause: str) -> BrokenPlugin:
        """Return the error about this plug-in: what it is or does not do."""
        noun = NOUNS.get(self.kind, self.kind)
        return BrokenPlugin(
            f"The {noun} '{self.name}' of the package {self.package} {clause}",
            f"'robaudit explain {noun}-plugin' shows a complete one",
            f"Correct or uninstall {self.package}",
        )


def plugged(kind: str) -> dict[str, Plugin]:
    """Return the plug-ins of a kind, by name; nothing is imported."""
    return dict(_installed(_where()).get(kind, {}))


def _where() -> tuple[tuple[str, int], ...]:
    """Return the folders that packages are in, each as it was changed last."""
    folders = [path or "." for path in sys.path]
    return tuple((path, _changed(path)) for path in folders)


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=2)
def _installed(_: tuple[tuple[str, int], ...]) -> dict[str, dict[str, Plugin]]:
    """Return the plug-ins of every kind: the packages are read once, not for each."""
    groups: dict[str, list[EntryPoint]] = {}
    found = list(distributions())
    if not any(map(_may_add, found)):  # names are read out of whole descriptions
        return {}
    packages: dict[str, Distribution] = {}
    for package in found:  # of two of a name the first on the path counts
        packages.setdefault(_plain(package.name), package)
    for point in (each for one in packages.values() for each in one.entry_points):
        if point.group.startswith(_PREFIX):
            groups.setdefault(point.group.removeprefix(_PREFIX), []).append(point)
    return {kind: _by_name(kind, points) for kind, points in groups.items()}


def _may_add(package: Distribution) -> bool:
    """Tell whether a package's entry points speak of ours."""
    return _PREFIX in (package.read_text("entry_points.txt") or "")


def _plain(name: str | None) -> str:
    """Return a package's name as names are compared (PEP 503)."""
    return _SEPARATORS.sub("-", name or "").lower()


def _version(package: Distribution) -> str:
    """Return a package's version; "" where its metadata name none.

    The backport `importlib_metadata`, whose finder other packages install, raises then.
    """
    try:
        return package.version or ""
    except KeyError:
        return ""


def _by_name(kind: str, points: Iterable[EntryPoint]) -> dict[str, Plugin]:
    found: dict[str, Plugin] = {}
    for point in points:
        package = point.dist.name if point.dist else point.value.partition(".")[0]
        version = _version(point.dist) if point.dist else ""
        plugin = Plugin(kind, point.name, point.value, package, version=version)
        known = found.setdefault(point.name, plugin)
        if known.place != plugin.place:
            found[point.name] = replace(known, rival=package)
    return found


def at(place: str) -> object:
    """Return the object at "module:attribute"."""
    module, _, path = place.partition(":")
    found: object = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found


def fault(kind: str, owner: object, clause: str) -> BrokenPlugin:
    """Return the error about a third party's object that is already in use.

    Args:
        kind: of its registry.
        owner: a class or function, or one of a class.
        clause: what it does that it must not ("gives no text").
    """
    made_by = owner if hasattr(owner, "__qualname__") else type(owner)
    module = str(getattr(made_by, "__module__", "")) or "?"
    name, top = getattr(made_by, "__qualname__", repr(owner)), module.partition(".")[0]
    known = [p for p in plugged(kind).values() if p.place.partition(":")[0] == module]
    known.sort(key=lambda p: p.place != f"{module}:{name}")  # a module may have more
    plugin = next(iter(known), None)
    return (plugin or Plugin(kind, name, f"{module}:{name}", top)).fault(clause)


def raised_by(error: BaseException) -> Plugin | None:
    """Return the plug-in whose code an exception came out of, or through, last.

    None where it passed none. Of a package with several the one in the same module.
    """
    modules: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        modules.append(str(trace.tb_frame.f_globals.get("__name__", "")))
        trace = trace.tb_next
    known = [one for kind in NOUNS for one in plugged(kind).values()]
    for module in reversed(modules):
        theirs = [one for one in known if _top(one.place) == _top(module)]
        theirs.sort(key=lambda one: one.place.partition(":")[0] != module)
        if theirs and _top(module) != _top(__name__):
            return theirs[0]
    return None


def _top(module: str) -> str:
    """Return the package that a module, or a place in it, is in."""
    return module.partition(":")[0].partition(".")[0]


def is_ours(owner: object) -> bool:
    """Tell whether a class, or the class of an object, is robaudit's own."""
    made_by = owner if isinstance(owner, type) else type(owner)
    return made_by.__module__.partition(".")[0] == __name__.partition(".")[0]


def lacks_of_class(found: object, base: type, *stated: str) -> Iterator[str]:
    """Yield what a class lacks of a base: methods, and attributes that it states."""
    if not (isinstance(found, type) and issubclass(found, base)):
        yield f"is no subclass of {base.__name__} (audit.plugins)"
        return
    for name in sorted(getattr(found, "__abstractmethods__", ())):
        yield f"has no {name}"
    for name in stated:
        if not hasattr(found, name):
            yield f"has no {name}"


def called_with(*taken: str) -> Lacks:
    """Return what says what a function lacks that takes arguments, by position."""

    def lacks(found: object) -> Iterator[str]:
        if not callable(found):
            yield "cannot be called"
            return
        try:
            inspect.signature(found).bind(*taken)
        except TypeError as error:
            yield f"cannot be called with ({', '.join(taken)}): {error}"
        except ValueError:  # compiled, without a signature: its first use will tell
            return

    return lacks


def _words(error: Exception) -> str:
    first = (str(error).strip() or "no message").partition("\n")[0]
    return f"{type(error).__name__}: {first}"
