"""Every module of `audit/` is reached by the tests that run by default.

Read from the source: what a test file imports, and what that imports in turn, late or
early, by name in a row of a registry too. A module that is not reached runs in no test,
whatever the others hold.
"""

import ast
import re

from test_architecture import BLOCKS, DOORS, MODULES, ROOT, parsed, room_of

TESTS = ROOT.parent / "tests"
STARTED = {"audit.__main__", "audit.api.alias"}
"""`python -m audit`, and what a wheel installs as `robaudit`: no test imports them."""
WALKED = ("audit.importer.ops", "audit.importer.relaxation")
"""Packages whose modules are all imported by a loop over their names."""
ROW = re.compile(r'"(audit(?:\.\w+)+)(?::\w+)?"')


def is_slow(tree):
    """Whether a file marks all its tests as slow."""
    return any(
        isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", "") == "pytestmark"
        and "mark.slow" in ast.unparse(node.value)
        for node in tree.body
    )


def statements(tree):
    """Yield the statements of a file, those in others too."""
    for node in (node for block in BLOCKS for node in getattr(tree, block, ())):
        yield node
        yield from statements(node)


def imported(tree):
    """Return the modules of `audit` that a test file imports, anywhere in it."""
    found = set()
    for node in statements(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return found & set(MODULES)


def behind(name):
    """Return what a module leads to: imports, rows of registries, the package."""
    rows = ROW.findall(MODULES[name].read_text(encoding="utf-8"))
    walked = [m for m in MODULES if name in WALKED and m.startswith(f"{name}.")]
    return {*parsed()[name].all, *rows, *walked, name.rpartition(".")[0]} & set(MODULES)


def reached(trees, started=()):
    """Return all that is led to; through a door only if a test itself opens it."""
    found, new = set(), set(started).union(*map(imported, trees))
    closed = {name for name in MODULES if room_of(name) in DOORS} - new
    while new:
        found |= new
        new = set().union(*(behind(name) for name in new - closed)) - found
    return found


def test_every_module_is_reached():
    paths = [p for p in TESTS.rglob("test_*.py") if "benchmarks" not in p.parts]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    found = reached([tree for tree in trees if not is_slow(tree)], STARTED)
    assert sorted(set(MODULES) - found) == []


def test_a_module_that_nobody_names_is_noticed():
    """Families are rows of a registry: without it nothing leads to the gamma law."""
    assert "audit.families.gamma" in reached([ast.parse("import audit.families")])
    assert "audit.families.gamma" not in reached([ast.parse("import audit.config")])
