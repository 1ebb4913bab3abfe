"""What `robaudit explain` says about families, attacks and formats of our own.

They explain themselves, as those of third parties do: by the first paragraph of a
docstring, and a family by the names of its parameters. What they are made of takes
torch, seconds to import: so their source is read as text, and none of it is run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeGuard

TABLES = {  # (kind, file, table in it): name -> "module:attribute"
    ("family", "families/__init__.py", "FAMILIES"),
    ("composed family", "families/__init__.py", "COMPOSED"),
    ("attack", "attacks/laws.py", "ATTACKS"),
    ("format", "formats/__init__.py", "FORMATS"),
}
WRITTEN = {
    "family": "--family {name}",
    "composed family": "--family {name}:COMPONENT",
    "attack": "-a {name}:ARG=VALUE",
    "format": "-f {name}",
}
OURS = "audit"
FORMULAS = ("Density: ", "Probability: ", "Fisher information: ")
"""What begins the paragraphs of a family's docstring that its page has too."""
_ITS_OWN = "Parameters: "  # of a family that a table of ways does not do for


class _Valued(ast.stmt):
    """A statement that gives a name its value."""

    value: ast.expr


@dataclass(frozen=True)
class BuiltIn:
    """A thing of ours: its kind, its name and "module:attribute"."""

    kind: str
    name: str
    place: str


@cache
def built_in() -> tuple[BuiltIn, ...]:
    """Return every family, attack and format of ours, kind by kind."""
    found = []
    for kind, path, table in sorted(TABLES):
        for name, place in _places(path, table).items():
            found.append(BuiltIn(kind, name, place))
    return tuple(found)


def paragraph_of(one: BuiltIn) -> tuple[str, str]:
    """Return the title and the text about a thing of ours."""
    lines = [*_lines(one), f"Written {WRITTEN[one.kind].format(name=one.name)}."]
    return f"{one.name} ({one.kind})", "\n".join(lines)


def _lines(one: BuiltIn) -> Iterator[str]:
    """Yield what is said of itself: a format by its module, others by their class."""
    module, _, attribute = one.place.partition(":")
    if one.kind == "format":
        yield _paragraphs(_parsed(_path_of(module)))[0]
        return
    found = _defined(module, attribute)
    first, *others = _paragraphs(found)
    yield first
    yield from (text for text in others if text.startswith((*FORMULAS, _ITS_OWN)))
    ways = [", ".join(names) for names in _stated(module, found, "parameterizations")]
    if ways:
        yield f"Parameters: {'; or '.join(ways)}."
    options = _options(one, found)
    if options:
        yield f"Options: {', '.join(options)}, by --option NAME=VALUE."


def _defined(module: str, name: str) -> ast.ClassDef | ast.FunctionDef:
    """Return the class or function of a module."""
    for line in _parsed(_path_of(module)).body:
        if isinstance(line, (ast.ClassDef, ast.FunctionDef)) and line.name == name:
            return line
    raise LookupError(f"{module} defines no {name}")


def _options(one: BuiltIn, found: ast.ClassDef | ast.FunctionDef) -> list[str]:
    """Return the options of a family; those of a component stand with the component."""
    if one.kind == "composed family":
        return list(_literal("families/__init__.py", "KIND_OPTIONS").get(one.name, ()))
    return _stated(one.place.partition(":")[0], found, "options")


def _stated(
    module: str, found: ast.ClassDef | ast.FunctionDef, attribute: str
) -> list[Any]:
    """Return a tuple that a class states: of the names of parameters, or options.

    A class that does not say has that of the first base that does.
    """
    for line in found.body:
        if _assigns(line, attribute):
            return list(ast.literal_eval(line.value))
    bases = found.bases if isinstance(found, ast.ClassDef) else []
    for name in (base.id for base in bases if isinstance(base, ast.Name)):
        place = _imported(module, name)
        if place.startswith(f"{OURS}."):
            stated = _stated(place, _defined(place, name), attribute)
            if stated:
                return stated
    return []


def _imported(module: str, name: str) -> str:
    """Return the module that a name of a module comes from: itself, or another."""
    for line in _parsed(_path_of(module)).body:
        if isinstance(line, ast.ImportFrom) and name in {n.name for n in line.names}:
            return str(line.module)
        if isinstance(line, ast.ClassDef) and line.name == name:
            return module
    return ""


def _places(path: str, table: str) -> dict[str, str]:
    """Return the rows of a registry: name -> "module:attribute"."""
    for line in _parsed(path).body:
        if _assigns(line, table) and isinstance(line.value, ast.Call):
            return dict(ast.literal_eval(line.value.args[1]))
    raise LookupError(f"{path} holds no {table}")


def _literal(path: str, table: str) -> dict[str, tuple[str, ...]]:
    """Return a table that is written out."""
    for line in _parsed(path).body:
        if _assigns(line, table):
            return dict(ast.literal_eval(line.value))
    raise LookupError(f"{path} holds no {table}")


def _assigns(line: ast.stmt, name: str) -> TypeGuard[_Valued]:
    """Tell whether a statement gives a name its value."""
    target = line.targets[0] if isinstance(line, ast.Assign) else None
    if isinstance(line, ast.AnnAssign) and line.value is not None:
        target = line.target
    return isinstance(target, ast.Name) and target.id == name


def _paragraphs(tree: ast.Module | ast.ClassDef | ast.FunctionDef) -> list[str]:
    text = ast.get_docstring(tree) or ""
    return [" ".join(part.split()) for part in text.split("\n\n")]


def _path_of(module: str) -> str:
    """Return the file of a module of ours, below the package."""
    path = module.removeprefix(f"{OURS}.").replace(".", "/")
    package = f"{path}/__init__.py"
    return package if (files(OURS) / package).is_file() else f"{path}.py"


@cache
def _parsed(path: str) -> ast.Module:
    return ast.parse((files(OURS) / path).read_text(encoding="utf-8"))
