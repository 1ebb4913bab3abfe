"""Plans from the command line to a run's folder: words, codes, bytes."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scans import SAMPLES, sample
from typer.testing import CliRunner

from audit.cli import app
from audit.config import ModelConfig, ScanConfig
from audit.config.planned import read_plan
from audit.ground.errors import ConfigError
from audit.measure.preparation import prepare
from audit.reports.json import to_json
from audit.run.inspection import inspect
from audit.run.scan import scan
from audit.run.work import crew

MODEL, DATA = (str(SAMPLES / f"digits_cnn.{end}") for end in ("onnx", "npz"))
FIXED = "rows=autograd,side=features,chunk=4"


def config(**options):
    return replace(sample("digits_cnn"), **{"limit": 12, "memory": 2**30} | options)


def planned(text, **options):
    return config(plan=read_plan(text), **options)


def body(report):
    return to_json(report.model_copy(update={"run": {}}))


def run(*words):
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize("text", ["", FIXED])
def test_a_plan_gives_the_same_bytes_whoever_computes(text):
    asked = planned(text) if text else config()
    known = body(scan(asked))
    for other in ({"batch_size": 5}, {"threads": 3}, {"workers": 2}):
        assert body(scan(replace(asked, **other))) == known


def test_a_report_keeps_its_plan_and_why():
    found = scan(planned(FIXED)).run["plan"]
    assert {n: found[n] for n in ("rows", "side", "chunk")} == {
        "rows": "autograd",
        "side": "features",
        "chunk": 4,
    }
    assert set(found["why"]) == {"rows", "side", "chunk", "threads"}
    assert "pull" not in found


def test_inspect_says_what_is_planned(monkeypatch):
    monkeypatch.setattr("audit.run.work.usable_cores", lambda: 2)
    found = inspect(config(limit=None))
    assert found.plan == {
        "rows": "sweep",
        "side": "smaller",
        "chunk": 256,
        "pull": 256,
        "threads": 2,
        "why": {
            "rows": "every step has a rule, and 10 rows go together",
            "side": "of up to 10 rows and 64 features",
            "chunk": "the power of two up to 297: so many are there",
            "pull": "by its widest step; 512 run forward together",
            "threads": "2 chunks are there",
        },
    }


def test_what_a_model_cannot_do_is_said_by_inspect():
    found = inspect(planned("rows=pulled"))
    assert found.plan == {}
    said = "a scan would stop: --plan rows=pulled was given, and J meets no rows"
    assert found.warnings[-1].startswith(said)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("rows=fast", "not 'fast'"),
        ("speed=3", "Expected keys among rows"),
        ("rows=pulled", "and J meets no rows of roots"),
        ("rows=identity", "and J is that of the file"),
        ("cut=on", "and the law is one of the file's outputs"),
        ("slopes=sweep", "and no sampler is differentiated"),
        ("rows=autograd,pull=2", "and no sweep takes J"),
        ("rows=krylov,side=rows", "and products alone make no Gram matrix"),
        ("chunk=999999", "chunk=999999 was given, and"),
        ("pull=9999999", "pull=9999999 takes"),
        ("nowhere.json", "'nowhere.json' cannot be read"),
    ],
)
def test_what_is_not_to_be_had_is_said_and_exits_2(plan, said):
    result = run(
        "scan", MODEL, DATA, "--limit", "9", "--plan", plan, "--memory", "1GiB"
    )
    assert result.exit_code == 2
    assert said in re.sub(r"\s+", " ", result.output)


class Bessel(torch.nn.Module):
    """Calls a function that ONNX has no operator for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.special.i0e(x), 0 * x], dim=1)


def test_a_sweep_of_a_program_that_does_not_export_is_refused(tmp_path):
    path, data = tmp_path / "bessel.pt", tmp_path / "x.npz"
    torch.jit.script(Bessel()).save(str(path))
    np.savez(data, x=np.linspace(0.5, 3, 12, dtype=np.float32).reshape(6, 2))
    head = {"loc": "output[:, :2]", "scale": "exp(output[:, 2:])"}
    model = ModelConfig(str(path), family="normal", parameters=head)
    script = ScanConfig(model, str(data), plan={"rows": "sweep"})
    with pytest.raises(ConfigError, match="and the file does not export to a graph"):
        prepare(script, False)


def test_a_program_of_torch_is_exported_only_where_that_is_asked_for():
    found = inspect(sample("heteroscedastic", ".pt2"))
    assert found.plan["rows"] == "autograd"
    assert "rows=sweep does it" in found.plan["why"]["rows"]


def test_differences_have_no_other_rows():
    asked = planned("rows=sweep", method="finite-difference")
    with pytest.raises(ConfigError, match="by finite differences"):
        prepare(asked, False)


def test_two_numbers_of_threads_are_refused():
    prepared = prepare(config(), False)
    assert crew(planned("threads=1"), prepared).value == 1
    assert crew(planned("threads=3", threads=3), prepared).value >= 1
    with pytest.raises(ConfigError, match="--threads 2 was given with --plan threads"):
        crew(planned("threads=3", threads=2), prepared)


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ("", "rows=autograd", "planned with pull=.*, this with pull=none"),
        ("rows=autograd", "rows=forward", "rows=autograd, this with rows=forward"),
        ("side=rows", "", "planned with side=rows, this with side=smaller"),
        ("chunk=4", "chunk=2", "chunk=2 was given, and the run in .* computes 4"),
    ],
)
def test_a_run_is_gone_on_with_by_its_own_plan(tmp_path, first, then, said):
    folder = str(tmp_path / "run")
    asked = config(verify=0, run_dir=folder)
    known = scan(replace(asked, plan=read_plan(first) if first else {}))
    other = replace(asked, plan=read_plan(then) if then else {}, resume=True)
    with pytest.raises(ConfigError, match=said):
        scan(other)
    again = replace(asked, plan=read_plan(first) if first else {}, resume=True)
    assert body(scan(again)) == body(known)


def test_a_report_on_the_command_line(tmp_path):
    report = str(tmp_path / "r.json")
    words = ("scan", MODEL, DATA, "--limit", "6", "--verify", "0", "-o")
    assert run(*words, report, "--plan", FIXED).exit_code == 0
    again = str(tmp_path / "again.json")
    result = run(*words, again, "--plan", report, "-v")
    assert result.exit_code == 0, result.output
    assert "rows=autograd: as --plan asks" in result.output
    with open(report) as one, open(again) as other:
        found = [json.load(file) for file in (one, other)]
    for each in found:
        each["run"]["plan"].pop("why")
        each["run"] = each["run"]["plan"]
    assert found[0] == found[1]


def test_the_plan_is_no_part_of_the_question():
    asked = ScanConfig(plan={"rows": "sweep"})
    from audit.reports.identity import question

    assert question([], "", asked) == question([], "", ScanConfig())
