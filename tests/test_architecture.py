"""Imports fall, no circles, and the paper side is light: read from the source."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import audit

ROOT = Path(audit.__file__).parent
FLOORS = (
    ("ground",),
    ("linalg",),
    ("attacks", "config", "importer", "inputs", "nodes"),
    ("families", "reports"),
    ("formats", "geometry", "models"),
    ("export", "measure"),
    ("verify",),
    ("run",),
    ("api", "cli"),
)
DOORS = ("audit", "__main__", "plugins", "testing")  # hand on names, hold nothing
FACES = ("plugins", "testing")
ROOMS, ARROWS = 20, 62
LONGEST = 300  # lines of a module
PAPER = ("cli", "config", "formats", "ground", "inputs", "reports")
LATE = {
    "cli": "a command starts without the libraries that it does not need",
}
"""Rooms that import others within functions, and why; the others do not."""
HEAVY = {"torch", "onnx", "onnxruntime"}


def name_of(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module):
    return module.split(".")[1] if "." in module else module


BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""The fields in which statements hold others; expressions import nothing."""


class Imports(ast.NodeVisitor):
    """Everything a module imports: when it is loaded, and at all."""

    def __init__(self, path):
        self.loaded, self.all, self._depth = set(), set(), 0
        self.visit(ast.parse(path.read_text(encoding="utf-8")))

    def generic_visit(self, node):
        for inner in (inner for block in BLOCKS for inner in getattr(node, block, ())):
            self.visit(inner)

    def visit_If(self, node):
        typed = "TYPE_CHECKING" in ast.dump(node.test)
        self._depth += typed
        self.generic_visit(node)
        self._depth -= typed

    def visit_FunctionDef(self, node):
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    def visit_Import(self, node):
        for alias in node.names:
            self._add(alias.name)

    def visit_ImportFrom(self, node):
        assert node.level == 0, "relative imports hide the floor"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            self._add(inner if inner in MODULES else node.module)

    def _add(self, name):
        self.all.add(name)
        if not self._depth:
            self.loaded.add(name)


@cache
def parsed():
    """Return module -> its imports, read when first asked: not while collecting."""
    return {name: Imports(path) for name, path in MODULES.items()}


def arrows(which="all"):
    """Return room -> the rooms it imports, the doors left out."""
    found = {room_of(name): set() for name in MODULES if room_of(name) not in DOORS}
    for name, imports in parsed().items():
        below = {room_of(other) for other in getattr(imports, which) & set(MODULES)}
        if room_of(name) in found:
            found[room_of(name)] |= below - {room_of(name), *DOORS}
    return found


def counts():
    """Return the figures of the house."""
    found = arrows()
    up = [(a, b) for a, to in found.items() for b in to if FLOOR[b] >= FLOOR[a]]
    number = sum(map(len, found.values()))
    return {"rooms": len(found), "floors": len(FLOORS), "arrows": number, "up": len(up)}


def test_the_house_is_small():
    found = counts()
    print(found)
    assert found["rooms"] <= ROOMS
    assert found["arrows"] <= ARROWS
    assert not found["up"]


def test_no_module_is_long():
    sizes = {name: path.read_bytes().count(b"\n") for name, path in MODULES.items()}
    assert not {name: size for name, size in sizes.items() if size > LONGEST}


@pytest.mark.parametrize("face", FACES)
def test_a_face_defines_nothing_and_is_short(face):
    path = MODULES[f"audit.{face}"]
    assert [p.name for p in path.parent.glob("*.py")] == ["__init__.py"]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert not [node for node in ast.walk(tree) if isinstance(node, kinds)]
    assert len(path.read_text(encoding="utf-8").splitlines()) < 40


@pytest.mark.parametrize("face", FACES)
def test_a_face_hands_on_what_it_says_and_imports_it_when_asked(face):
    module = import_module(f"audit.{face}")
    assert dir(module) == sorted(module.__all__)
    assert all(getattr(module, name) for name in module.__all__)
    assert not {m.partition(".")[0] for m in modules_after(f"import audit.{face}")} & (
        HEAVY | {"numpy"}
    )
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_every_room_has_a_floor():
    assert {room_of(name) for name in MODULES} <= {*FLOOR, *DOORS}


def rows_of_the_page():
    """Return room -> (floor, imports) as CONTRIBUTING.md says."""
    page = (ROOT.parent / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| (`.*`) \| (.*) \|$", page, re.MULTILINE)
    return {
        room.strip(" `"): (int(floor) - 1, set(FLOOR) & set(imports.split(", ")))
        for floor, rooms, imports in rows
        for room in rooms.split(",")
    }


def test_the_page_for_contributors_draws_the_house_as_it_is():
    drawn = {room: (FLOOR[room], to) for room, to in arrows().items()}
    assert rows_of_the_page() == drawn


def test_the_page_for_contributors_names_every_room_on_its_floor():
    page = (ROOT.parent / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    house = page.partition("## The house")[2]
    named = re.findall(r"^(?:\d  |   )(\w+) ", house, re.MULTILINE)
    assert sorted(named) == sorted(arrows())


def test_no_import_within_a_function_hides_an_arrow():
    shown = arrows("loaded")
    hidden = {room for room, to in arrows().items() if to - shown[room]}
    late = {room for room in hidden if room not in LATE}
    assert not late


def test_imports_fall():
    above = [
        f"{name} imports {imported} from above"
        for name, found in parsed().items()
        for imported in found.all & set(MODULES) - {"audit"}
        if (room := room_of(name)) not in DOORS
        and (other := room_of(imported)) != room
        and FLOOR[other] >= FLOOR[room]
    ]
    assert above == []


def test_no_module_imports_itself_in_a_circle():
    graph = {name: found.loaded & set(MODULES) for name, found in parsed().items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
    assert set(order) == set(MODULES)


def test_no_two_rooms_import_each_other():
    assert list(TopologicalSorter(arrows()).static_order())


@pytest.mark.parametrize("name", [n for n in MODULES if room_of(n) in PAPER])
def test_the_paper_side_never_imports_a_heavy_library(name):
    found = {module.partition(".")[0] for module in parsed()[name].loaded}
    assert not found & HEAVY


def modules_after(statement):
    script = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import audit.cli",
        "import audit.config",
        "import audit.reports.json, audit.reports.gate, audit.formats.html",
        "import audit.inputs",
        "import audit.ground.student",
    ],
)
def test_the_paper_side_leaves_torch_out_of_a_process(statement):
    loaded = modules_after(statement)
    assert statement.split()[1].rstrip(",") in loaded
    assert not {module.partition(".")[0] for module in loaded} & HEAVY


def test_help_of_the_command_line_needs_no_numpy():
    assert "numpy" not in modules_after("import audit.cli")


def test_linear_algebra_knows_no_laws_only_intervals_of_means():
    for name, found in parsed().items():
        if room_of(name) == "linalg":
            rooms = {room_of(other) for other in found.all & set(MODULES)}
            assert rooms <= {"linalg", "ground"}


def test_the_onnx_importer_is_usable_alone():
    for name, found in parsed().items():
        if name.startswith("audit.importer."):
            for other in found.all & set(MODULES):
                assert other.startswith(("audit.importer", "audit.ground."))
