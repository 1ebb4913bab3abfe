"""What people really save: one small file of each kind, and what it must do.

The files and expectations of `files/` were made by whoever found that the tool stopped
at the door; the values come from the weights in them.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from audit.cli import app

FILES = Path(__file__).parent / "files"
CASES = json.loads((FILES / "cases.json").read_text(encoding="utf-8"))
NEVER = ["internal error", "Traceback", "bug in robaudit"]


def value_at(tree, path):
    """report "a.b[0].c"."""
    for part in re.findall(r"[^.\[\]]+", path):
        tree = tree[int(part)] if part.isdigit() else tree[part]
    return tree


def row_of(rows, path):
    name, _, place = path.partition("[")
    return rows[name][int(place.rstrip("]"))]


SLOW = ("pt2_scalar_arguments", "ellipsis")
"""What takes seconds; other files of its format are among the others."""


def cases():
    for case in CASES:
        marks = [pytest.mark.slow] if case["id"] in SLOW else []
        yield pytest.param(case, id=case["id"], marks=marks)


@pytest.mark.parametrize("case", cases())
def test_a_file_does_what_it_must(case, tmp_path, monkeypatch):
    monkeypatch.chdir(FILES)
    words = list(case["args"])
    if words[0] == "scan":
        words += ["-o", str(tmp_path / "r.json"), "-o", str(tmp_path / "r.npz")]
    few = {"COLUMNS": "200", "ROBAUDIT_VERIFY": "2"}  # where a case does not say
    done = CliRunner().invoke(app, words, env=few)
    text = done.stdout + done.stderr
    assert done.exit_code in case["exit"], text
    for pattern in case.get("says", []):
        assert re.search(pattern, text, re.IGNORECASE), pattern
    for pattern in [*case.get("never", []), *NEVER]:
        assert not re.search(pattern, text, re.IGNORECASE), pattern
    for path, (value, rtol) in case.get("report", {}).items():
        report = json.loads((tmp_path / "r.json").read_text())
        assert value_at(report, path) == pytest.approx(value, rel=rtol)
    for path, (value, rtol) in case.get("rows", {}).items():
        rows = dict(np.load(tmp_path / "r.npz"))
        assert row_of(rows, path) == pytest.approx(value, rel=rtol)
