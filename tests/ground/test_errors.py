"""An error of ours has its three parts, and crosses to another process as it is."""

import ast
import pickle
from pathlib import Path

import pytest

import audit
from audit.ground import errors

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.AuditError)
]
PARTS = ("a mean of 4 features was given", "Expected 10", "Write the moments\n  again")


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_its_kind_its_words_and_its_exit_code(kind):
    error = kind(*PARTS)
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is kind
    assert (other.given, other.expected, other.next_step) == PARTS
    assert str(other) == str(error)
    assert other.exit_code == kind.exit_code


def calls_of_ours(path):
    """Yield (line, arguments) of every error of ours that a module makes."""
    names = {kind.__name__ for kind in KINDS}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            named = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if named in names:
                yield node.lineno, [*node.args, *node.keywords]


def test_every_error_of_ours_says_its_three_parts():
    lacking, seen = [], 0
    for path in sorted(Path(audit.__file__).parent.rglob("*.py")):
        for line, given in calls_of_ours(path):
            seen += 1
            handed_on = any(isinstance(part, ast.Starred) for part in given)
            if len(given) < 3 and not handed_on:
                lacking.append(f"{path}:{line}")
    assert not lacking
    assert seen > 400


def test_a_command_to_paste_ends_without_a_full_stop():
    error = audit.AuditError("It is full", "Free some", "Go on with\n  run --resume")
    assert str(error) == "It is full. Free some. Go on with\n  run --resume"
