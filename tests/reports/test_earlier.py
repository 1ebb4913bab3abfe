"""Reports of schema 1.0 are read, and what they dropped no longer passes a limit.

`schema_1_0.json` was written by the last robaudit of that schema: six inputs, four of
them at rest, whose infinite radii it left out of every statistic.
"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit.cli import app
from audit.reports.json import DROPPED, read_report

OLD = str(Path(__file__).parent / "schema_1_0.json")


def run(*words):
    done = CliRunner().invoke(app, words, env={"COLUMNS": "100"})
    return done.exit_code, " ".join((done.stdout + done.stderr).split())


def test_what_was_dropped_counts_as_not_measured():
    summary = read_report(OLD).divergences["kl"].summary
    assert (summary["radius"].n, summary["radius"].n_not_measured) == (2, 4)
    assert (summary["trace"].n, summary["trace"].n_not_measured) == (6, 0)
    assert summary["map_effective_rank"].reason == "not measured on 4 inputs"
    assert summary["gaussian_realised"].n_checked == 4
    assert summary["trace"].reason is None


def test_a_dropped_value_without_a_reason_gets_one(tmp_path):
    data = json.loads(Path(OLD).read_text())
    data["divergences"]["kl"]["summary"]["radius"]["reason"] = None
    path = tmp_path / "r.json"
    path.write_text(json.dumps(data))
    assert read_report(str(path)).divergences["kl"].summary["radius"].reason == DROPPED


@pytest.mark.parametrize(
    ("limit", "code", "words"),
    [
        (("--max", "kl.trace.max=100"), 0, "PASS: 1 limit held"),
        (("--max", "kl.trace.max=1"), 1, "FAIL: 1 of 1 limit broken"),
        (("--min", "kl.radius.min=0.1"), 4, "4 inputs without a value"),
        (("--min", "kl.critical_radius.min=0.1"), 2, "has no 'kl.critical_radius.min'"),
    ],
)
def test_limits_are_applied_to_it(limit, code, words):
    found, text = run("check", OLD, *limit)
    assert found == code, text
    assert words in text


def test_its_own_limits_are_judged_again():
    code, text = run("check", OLD)
    assert code == 4
    assert "✓ kl.eigenvalue.p95 = 18 <= 20" in text
    assert "undecided kl.radius.min" in text or "unmeasured kl.radius.min" in text


@pytest.mark.parametrize("name", ["table", "md", "json", "junit", "sarif", "csv"])
def test_it_is_rendered(name, tmp_path):
    code, text = run("render", OLD, "-f", name)
    assert code == 0, text
    assert ("kl" in text) != (name == "sarif")  # which lists what did not pass


def test_it_is_compared_with_itself(tmp_path):
    code, text = run("diff", OLD, OLD)
    assert code == 0
    assert "6 inputs in both: no change is told from noise." in text
    code, text = run("diff", OLD, OLD, "--max-increase", "kl.trace.p95=0%")
    assert code == 0
