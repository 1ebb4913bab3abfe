"""`robaudit selftest`: what is printed, and the exit codes."""

import json

import numpy as np
import pytest
from scans import SAMPLES
from typer.testing import CliRunner

from audit.cli import app
from verify.selftest.planted import Base, Dropout, drawn, inputs, script

MODEL, DATA = SAMPLES / "heteroscedastic.onnx", SAMPLES / "heteroscedastic.npz"


def run(*words, **environment):
    env = {"COLUMNS": "100", "NO_COLOR": "1"} | environment
    return CliRunner().invoke(app, ["selftest", *map(str, words)], env=env)


def test_all_passed_is_a_table_and_exit_0():
    result = run(MODEL, DATA)
    assert result.exit_code == 0
    assert "✓  exact_divergence" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("PASS: 12 checks, 11 passed")


def test_json_is_plain_data_with_every_check():
    result = run(MODEL, DATA, "-f", "json", "--limit", "40")
    found = json.loads(result.stdout)
    assert result.exit_code == found["exit_code"] == 0
    names = [line["check"] for line in found["lines"]]
    assert names[:3] == ["gates", "runs_twice", "rows_alone"]
    assert found["counts"]["passed"] == sum(
        line["status"] == "passed" for line in found["lines"]
    )
    rows = next(x for x in found["lines"] if x["check"] == "residuals")["numbers"]
    assert rows["rows"] == 40


def test_a_failure_exits_1_and_says_what_to_do(tmp_path):
    data = tmp_path / "data.npz"
    x = inputs()
    np.savez(data, x=x, y=drawn(x))
    head = ("--family", "normal", "--param", "loc=loc", "--param")
    model = script(tmp_path, Base())
    honest = (*head, "scale=exp(log_scale)", "--target-key", "y")
    assert run(model, data, *honest).exit_code == 0
    result = run(model, data, *head, "scale=exp(2*log_scale)", "--target-key", "y")
    assert result.exit_code == 1
    said = " ".join(result.stdout.split())
    assert "✗ residuals" in said
    assert "What to do residuals: write scale=exp(0.5*NAME)" in said
    assert "FAIL: 12 checks" in said
    quiet = run(model, data, *head, "scale=exp(2*log_scale)", "--target-key=y", "-q")
    assert (quiet.exit_code, quiet.stdout) == (1, "")


def test_a_closed_gate_is_a_finding_and_no_traceback(tmp_path):
    data = tmp_path / "data.npz"
    np.savez(data, x=inputs())
    head = ("--family", "normal", "--param", "loc=loc", "--param")
    result = run(script(tmp_path, Dropout()), data, *head, "scale=exp(log_scale)")
    assert result.exit_code == 1
    said = " ".join(result.stdout.split())
    assert "✗ gates" in said
    assert "dropout in training mode" in said
    assert "? exact_divergence" in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "No model is given"),
        ((MODEL,), 2, "No data is given"),
        ((MODEL, DATA, "-f", "jsn"), 2, "Did you mean 'json'"),
        (
            (MODEL, DATA, "--target-key", "nope"),
            3,
            "keys are feature_names, theta, x",
        ),
        ((MODEL, "nowhere.npz"), 3, "nowhere.npz"),
        (("nowhere.onnx", DATA), 3, "There is no model file"),
        ((MODEL, DATA, "-d", "kll"), 2, "kll"),
    ],
    ids=lambda one: str(one)[-30:],
)
def test_what_cannot_run_is_an_error_with_its_code(words, code, said):
    result = run(*words)
    assert result.exit_code == code
    assert said in " ".join(result.stderr.split())
    assert result.stdout == ""
