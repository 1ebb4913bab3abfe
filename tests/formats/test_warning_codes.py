"""Every code that a warning of a report may have is explained, and no other."""

import ast
import re
from pathlib import Path

import pytest

from audit.formats.glossary import WARNINGS, explain
from audit.formats.topics import render
from audit.reports.gate import UNTRUSTED
from audit.verify import checks, parted

ROOM = Path(checks.__file__).parents[1]
ROOMS = ("measure", "models", "reports", "run", "verify")
CODE = re.compile("[a-z]+(_[a-z]+)*_?")
NO_CODES = {
    *("auto", "critical_radius", "differences", "error", "kl", "linear", "log_prob"),
    *("max", "mean", "min", "predicted", "trace"),
}
"""What else begins a pair in a module that speaks of notes."""


def first_of_pairs():
    """Yield what begins a pair, as text, of the modules that speak of notes.

    A name stands for the text that a module of the audit gives it.
    """
    sources = {p: p.read_text("utf-8") for p in ROOM.rglob("*.py")}
    heads = [
        head
        for path, source in sources.items()
        if path.relative_to(ROOM).parts[0] in ROOMS
        if re.search(r"\bNotes?\b|warnings|Warned", source)
        for head in heads_of(ast.parse(source))
    ]
    names = {one.id for head in heads for one in ast.walk(head) if is_name(one)}
    giving = re.compile(rf"^[\w, ]*\b({'|'.join(sorted(names))})\b[\w, ]* = ", re.M)
    named = {}
    for source in sources.values():
        if giving.search(source) is None:
            continue
        for node in ast.parse(source).body:
            if isinstance(node, ast.Assign):
                for name, text in given(node):
                    named.setdefault(name, set()).add(text)
    for head in heads:
        yield from texts(head, named)


def heads_of(tree):
    """Yield what begins the pairs of a module, and what is looked up by a text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple) and len(node.elts) == 2:
            yield node.elts[0]
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.JoinedStr):
            yield node.slice


def is_name(node):
    return isinstance(node, ast.Name)


def given(node):
    """Yield the names and texts of `A = "a"` and `A, B = "a", "b"`."""
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Name):
        target, value = ast.Tuple([target]), ast.Tuple([value])
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, said in zip(target.elts, value.elts, strict=False):
            if isinstance(said, ast.Constant) and isinstance(said.value, str):
                yield one.id, said.value


def texts(node, named):
    """Yield the texts that a node may be; of one with a tail, what it begins with."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name):
        yield from named.get(node.id, ())
    elif isinstance(node, ast.JoinedStr):
        head = node.values[0]
        if isinstance(head, ast.FormattedValue):
            yield from (f"{one}_" for one in texts(head.value, named))
        else:
            yield from texts(head, named)
    elif isinstance(node, ast.BinOp):
        yield from texts(node.left, named)


def test_every_code_that_the_source_has_is_in_the_table():
    found = {one for one in first_of_pairs() if CODE.fullmatch(one)} - NO_CODES
    known = set(WARNINGS)
    assert {
        one for one in found if one not in known and f"{one}_" not in known
    } == set()
    assert {one for one in known if {one, one.rstrip("_")}.isdisjoint(found)} == set()


def test_what_leaves_no_verdict_says_so():
    assert set(WARNINGS) >= UNTRUSTED
    for code in UNTRUSTED:
        assert "no verdict to trust" in WARNINGS[code]


@pytest.mark.parametrize(
    "code",
    [
        *("parted_kl", "carried_chi_squared_noise", "at_rest_renyi:alpha=0.5"),
        *("selftest_batches", "heavy_tails_wasserstein", "along_kl"),
        f"{parted.CARRIED}_kl_my_label",
    ],
)
def test_a_code_is_explained_with_what_it_is_said_of(code):
    titles = [title for title, _ in explain(code)]
    assert titles == [f"{code} (warning)"]
    assert render(code).startswith(f"{code} (warning)")


def test_a_quantity_of_the_same_name_comes_first():
    titles = [title for title, _ in explain("normalisation")]
    assert titles == ["normalisation (quantity)", "normalisation (warning)"]
