"""The command line: what it prints, what it writes, and every exit code."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from reports.synthetic import EIGENVALUES, LIMITS, report_of
from typer.testing import CliRunner

from audit.cli import app
from audit.config import ModelConfig
from audit.config.options import OPTIONS, command_line_options, flag_names
from audit.ground.errors import ModelError, NothingAudited
from audit.reports.json import to_json

ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a command in an empty folder, without settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ROBAUDIT_")]:
        monkeypatch.delenv(name)

    def run(*words, **environment):
        settings = {"COLUMNS": "80", **environment}
        return CliRunner().invoke(app, [str(word) for word in words], env=settings)

    return run


@pytest.fixture
def saved(tmp_path):
    """A report with a failing, a holding and a warning limit."""
    path = tmp_path / "gated.json"
    path.write_text(to_json(report_of(EIGENVALUES, *LIMITS)))
    return str(path)


@pytest.fixture
def scans(monkeypatch):
    """Replace the scan by one that records its settings and gives `result`."""
    seen = SimpleNamespace(result=report_of(EIGENVALUES), config=None, rows=None)

    def scan(config, progress, rows, asked=None):
        seen.config, seen.rows = config, rows
        progress(1, 2)
        if rows is not None:
            rows.append({"index": np.arange(3), "kl.trace": np.ones(3)})
        if isinstance(seen.result, BaseException):
            raise seen.result
        return seen.result

    monkeypatch.setitem(sys.modules, "audit.run.scan", SimpleNamespace(scan=scan))
    return seen


def python(*words, **settings):
    command = [sys.executable, "-m", "audit", *words]
    environment = {**os.environ, "PYTHONPATH": ROOT, **settings.pop("env", {})}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, **settings
    )


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("-o", "d.npz"), "data"),
        (("-o", "./d.npz"), "data"),
        (("--witness", "link.npz"), "data"),
        (("--witness", "m"), "model"),
        (("--units", "u.npz", "-o", "r.json", "-o", "u.npz"), "--units"),
    ],
)
def test_a_scan_does_not_write_over_what_it_reads(run, scans, words, name):
    for path in ("m", "d.npz", "u.npz"):
        Path(path).write_bytes(b"of the user")
    Path("link.npz").symlink_to("d.npz")
    result = run("scan", "m", "d.npz::x", *words)
    assert result.exit_code == 2
    assert f"is the scan's own input, {name} " in " ".join(result.output.split())
    assert {Path(path).read_bytes() for path in ("m", "d.npz", "u.npz")} == {
        b"of the user"
    }


def test_an_output_may_be_the_witnesses(run, scans):
    Path("m").touch()
    np.savez("d.npz", x=np.ones((4, 3)))
    for name in ("witness.npz", "a.witness.npz"):
        run("scan", "m", "d.npz", "-o", name, "-o", "r.json")
        assert scans.config.witness == name
    result = run("scan", "m", "d.npz", "-o", "witness.npz", "--witness", "w.npz")
    assert result.exit_code == 2
    assert "in witness.npz and in w.npz" in " ".join(result.output.split())


def test_a_report_without_limits_does_not_pass_beside_a_file_of_them(run):
    saved = "free.json"
    Path(saved).write_text(to_json(report_of(EIGENVALUES)))
    limits = "max: {kl.trace.mean: 0.001}\n"
    Path("gate.yaml").write_text(limits)
    result = run("check", saved, "gate.yaml")
    assert result.exit_code == 2
    assert "'gate.yaml' was only validated" in " ".join(result.output.split())
    assert run("check", "gate.yaml").exit_code == 0
    for words in (("gate.yaml", "--config", "gate.yaml"), ("--config", "gate.yaml")):
        assert run("check", saved, *words).exit_code == 1
    Path("robaudit.yaml").write_text(limits)
    assert run("check", saved, "robaudit.yaml").exit_code == 1


# Scan: options


def test_every_option_of_the_table_reaches_the_scan(run, scans, tmp_path, monkeypatch):
    monkeypatch.setattr("audit.run.folder.check_cluster", lambda _: None)
    model = ModelConfig("m.onnx", space="parameters")
    baseline = report_of(EIGENVALUES, model=model, tau=0.5, mask="0:3")
    data = baseline.data.model_copy(update={"units": "std"})
    baseline = baseline.model_copy(update={"data": data})
    baseline.divergences["hellinger"] = baseline.divergences["kl"]
    values = {
        "family": "normal",
        "parameters": "loc=mean",
        "options": "levels=[0.5]",
        "contract": "parameters",
        "condition": "x=features",
        "held": "h=0",
        "target": "theta",
        "noise": "z:normal",
        "noise_in_graph": "3",
        "sampler": "s.onnx",
        "draws": "theta",
        "input_layout": "theta:0:4,x:4:6",
        "target_space": "rt:positive",
        "batch_axis": "1",
        "members": "1",
        "rows": "one",
        "space": "parameters",
        "classes": "cat,dog",
        "divergences": "hellinger",
        "attacks": "weak=gaussian:sigma=0.01",
        "threads": "2",
        "plan": "side=rows,chunk=8",
        "units": "std",
        "mask": "0:3",
        "top": "7",
        "tau": "0.5",
        "target_key": "theta",
        "sizes": "0.2,0.4",
        "norm": "inf",
        "bounds": "-3,3",
        "draws_per_input": "99",
        "sampling": "sobol",
        "rel_error": "0.01",
        "max_draws": "4096",
        "bottleneck": "off",
        "seed": "5",
        "dtype": "float64",
        "method": "exact",
        "verify": "0",
        "limit": "11",
        "sample": "12",
        "index": "1,2",
        "max_skipped": "9",
        "accept_unverified": None,
        "device": "cuda",
        "batch_size": "13",
        "memory": "2MB",
        "workers": "3",
        "engine": "another",
        "ray_address": "head:6379",
        "gpus_per_worker": "0.5",
        "open_timeout": "99",
        "run_dir": "run",
        "witness": "w.npz",
        "resume": None,
        "max": "hellinger.trace.max=1",
        "min": "hellinger.radius.min=1",
        "gate": "upper",
        "baseline": "old.json",
        "max_increase": "hellinger.trace.max=5%",
        "max_decrease": "hellinger.radius.min=1",
        "trust_model": None,
        "unnormalised": None,
        "exit_zero": None,
    }
    names = {*values, "model", "data"}
    # A shard writes no report: tests/test_runs.py has --shard.
    assert {*names, "shard"} == set(command_line_options())
    assert set(OPTIONS) - names == {"waivers", "shard"}
    (tmp_path / "old.json").write_text(to_json(baseline))
    words = []
    for name, value in values.items():
        words += [flag_names(name)[-1], *([value] if value else [])]
    result = run("scan", "m.onnx", "d.npz", *words)
    assert result.exit_code == 0, result.output
    assert set(scans.config.origins.values()) == {"command line"}
    assert set(scans.config.origins) == names
    assert scans.config.model.options == {"levels": [0.5]}
    assert scans.config.index == (1, 2)
    assert scans.config.exit_zero
    assert [limit.op for limit in scans.config.thresholds] == ["<=", ">="] * 2


def test_file_environment_and_command_line_are_layers(run, scans, tmp_path):
    (tmp_path / "robaudit.yaml").write_text(
        "model: a.onnx\ndata: d.npz\nseed: 1\ntop: 4"
    )
    result = run("scan", "b.onnx", ROBAUDIT_SEED="2")
    assert result.exit_code == 0, result.output
    config = scans.config
    assert (config.model.path, config.data) == ("b.onnx", "d.npz")
    assert (config.seed, config.top) == (2, 4)


def test_another_config_file_can_be_named(run, scans, tmp_path):
    (tmp_path / "ci.yaml").write_text("seed: 3")
    run("scan", "m", "d", "--config", "ci.yaml")
    assert scans.config.seed == 3
    run("scan", "m", "d", ROBAUDIT_CONFIG="ci.yaml")
    assert scans.config.origin("seed") == "ci.yaml"


# Scan: outputs


def test_a_scan_prints_the_table_on_stdout_only(run, scans):
    result = run("scan", "m", "d")
    assert result.stdout.startswith("models/[old]/net.onnx · normal(")
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("name", "start"), [("json", "{"), ("md", "## rob"), ("github", "## rob")]
)
def test_stdout_can_carry_other_formats(run, scans, name, start):
    assert run("scan", "m", "d", "-f", name).stdout.startswith(start)


def test_quiet_prints_nothing(run, scans):
    result = run("scan", "m", "d", "-q")
    assert (result.stdout, result.stderr) == ("", "")


def test_files_are_written_by_extension(run, scans, tmp_path):
    names = ["r.json", "r.md", "rows.npz", "rows.csv", "[a].json"]
    options = [word for name in names for word in ("-o", name)]
    result = run("scan", "m", "d", *options)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert json.loads((tmp_path / "r.json").read_text())["schema_version"] == "1.1"
    assert np.load(tmp_path / "rows.npz")["kl.trace"].tolist() == [1.0, 1.0, 1.0]
    assert (tmp_path / "rows.csv").read_text().startswith("index,kl.trace\n0,1.0\n")


def test_no_rows_are_kept_when_none_are_wanted(run, scans):
    run("scan", "m", "d", "-o", "r.json")
    assert scans.rows is None


# Several scans


@pytest.fixture
def two(tmp_path, scans):
    (tmp_path / "robaudit.yaml").write_text(
        "data: d.npz\nscans:\n  plain: {model: a.onnx}\n  other: {model: b.onnx}\n"
    )
    return scans


def test_all_scans_of_a_file_run_in_turn(run, two, tmp_path):
    result = run("scan", "-o", "{scan}.json", "--seed", "4")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in tmp_path.glob("*.json")) == [
        "other.json",
        "plain.json",
    ]
    last = result.stdout.splitlines()[-3:]
    assert [line.split()[0] for line in last] == ["kl", "plain", "other"]
    assert "none, exit 0" in last[2]
    assert (two.config.model.path, two.config.seed) == ("b.onnx", 4)


def test_one_of_them_can_be_chosen(run, two):
    assert run("scan", "--scan", "plain", "-f", "json").exit_code == 0
    assert two.config.model.path == "a.onnx"


def test_a_model_on_the_command_line_is_a_scan_of_its_own(run, two):
    run("scan", "c.onnx")
    assert (two.config.model.path, two.config.data) == ("c.onnx", "d.npz")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scan", "plane"], "'plane' is not among the scans of the configuration"),
        (
            ["-o", "r.json"],
            "2 scans would all write 'r.json'. Each scan has a file of its own. "
            "Put {scan} into the path",
        ),
        (["-f", "json"], "Stdout cannot carry 2 scans as json"),
        (["-o", "no/{scan}.json"], "there is no folder 'no'"),
    ],
)
def test_bad_ways_to_run_several(run, two, words, said):
    result = run("scan", *words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert two.config is None


# Scan: exit codes


@pytest.mark.parametrize(
    ("limits", "options", "code"),
    [
        (LIMITS[1:2], {}, 0),
        (LIMITS[:1], {}, 1),
        (LIMITS[:1], {"exit_zero": True}, 0),
        (LIMITS[:1], {"max_skipped": 0}, 4),
    ],
)
def test_the_report_decides_the_exit_code(run, scans, tmp_path, limits, options, code):
    scans.result = report_of(EIGENVALUES, *limits, **options)
    assert run("scan", "m", "d", "-o", "r.json").exit_code == code
    assert (tmp_path / "r.json").exists()


def test_nothing_audited_exits_5(run, scans):
    scans.result = report_of(np.array([]))
    assert run("scan", "m", "d").exit_code == 5
    scans.result = NothingAudited("key 'x' has no rows")
    result = run("scan", "m", "d")
    assert (result.exit_code, result.stderr) == (5, "robaudit: key 'x' has no rows.\n")


def test_what_cannot_be_audited_exits_3(run, scans):
    scans.result = ModelError("no", "yes", "do")
    result = run("scan", "m", "d")
    assert (result.exit_code, result.stderr) == (3, "robaudit: no. yes. do.\n")


@pytest.mark.parametrize(
    "words",
    [
        ("scan", "{}.onnx", "d"),
        ("scan", "m", "d", "-o", "{}.json"),
        ("replay", "{}", "m"),
        ("init", "-o", "{}"),
    ],
)
def test_a_name_that_no_system_holds_is_a_usage_error(run, words):
    result = run(*(word.format("a" * 300) for word in words))
    assert result.exit_code == 2
    assert "longer than the system takes. Expected the path" in result.stderr


@pytest.mark.parametrize("name", ["empty.yaml", "pyproject.toml"])
def test_a_named_configuration_without_settings_is_said(run, scans, tmp_path, name):
    (tmp_path / name).write_text("# nothing yet\n")
    for words in ({"words": ["--config", name]}, {"ROBAUDIT_CONFIG": name}):
        result = run("scan", "m", "d", *words.pop("words", ()), **words)
        assert result.exit_code == 2
        said = " ".join(result.stderr.split())
        assert f"The configuration file '{name}' holds no settings" in said
        assert ("[tool.robaudit]" in said) == name.endswith(".toml")
    result = run("scan", "m", "d")  # one that only lies there is no question
    assert "holds no settings" not in result.stderr
    (tmp_path / name).write_text(
        "[tool.robaudit]\nseed = 0\n" if "toml" in name else "seed: 0"
    )
    result = run("scan", "m", "d", "--config", name)  # a default, and a setting
    assert "holds no settings" not in result.stderr


@pytest.mark.parametrize("error", [ZeroDivisionError("x/0"), MemoryError(), OSError(5)])
def test_a_crash_exits_3_never_1(run, scans, error, tmp_path):
    scans.result = error
    result = run("scan", "m", "d", "-o", "r.json", "-o", "rows.npz")
    assert result.exit_code == 3
    assert f"internal error, {type(error).__name__}" in result.stderr
    assert "--debug for the traceback" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(run, scans):
    scans.result = ZeroDivisionError("x/0")
    assert "Traceback" in run("scan", "m", "d", "--debug").stderr
    assert "Traceback" in run("--debug", "scan", "m", "d").stderr
    assert "Traceback" in run("scan", "m", "d", ROBAUDIT_DEBUG="1").stderr


def test_an_interrupt_exits_130(run, scans):
    scans.result = KeyboardInterrupt()
    result = run("scan", "m", "d")
    assert (result.exit_code, result.stdout) == (130, "")
    assert "interrupted" in result.stderr


USAGE = [
    (["scan"], "No model is given"),
    (["scan", "m"], "No data is given"),
    (["scan", "m", "d", "--famly", "normal"], "No such option"),
    (["scan", "m", "d", "e"], "unexpected extra argument"),
    (["scan", "m", "d", "--seed", "x"], "--seed is x. Expected a whole number"),
    (["scan", "m", "d", "--param", "loc"], "--param is ['loc']. Expected NAME=TEXT"),
    (["scan", "m", "d", "-a", "gaussian=0.1"], "Expected [LABEL=]KIND:ARG=VALUE"),
    (["scan", "m", "d", "--max", "kl.trace"], "Expected KEY=V"),
    (["scan", "m", "d", "--max", "kl.trace=1"], "does not have three parts"),
    (["scan", "m", "d", "--max", "kl.trce.p95=1"], "Did you mean 'trace'"),
    (["scan", "m", "d", "--max", "kl.trace.p93=1"], "Did you mean 'p9"),
    (["scan", "m", "d", "-d", "kl", "--max", "quantile.trace.p95=1"], "divergences"),
    (["scan", "m", "d", "-f", "jsn"], "Did you mean 'json'"),
    (["scan", "m", "d", "-o", "r.jsn"], "unknown extension"),
    (["scan", "m", "d", "-o", "r.npy"], "unknown extension"),
    (["scan", "m", "d", "-o", "r.npy"], ".npz, .parquet, .pdf, .png"),
    (["scan", "m", "d", "-o", "r.npy"], "Did you mean '.npz'"),
    (["render", "r.json", "-o", "r.npz"], "was to hold rows"),
    (["check", "r.json", "-o", "r.parquet"], "while scanning"),
    (["scan", "m", "d", "-o", "no/r.json"], "there is no folder 'no'"),
    (["scan", "m", "d", "-o", "."], "unknown extension"),
    (["scan", "m", "d", "-o", "r.md", "-o", "r.md"], "given twice"),
    (["scan", "m", "d", "--config", "no.yaml"], "no configuration file 'no.yaml'"),
    (["inspect"], "No model is given"),
    (["check"], "Missing argument"),
    (["check", "no.json"], "cannot be read"),
    (["render", "no.json"], "cannot be read"),
    (["show", "no.json"], "Missing option"),
    (["explain", "tracee"], "Did you mean 'trace'"),
    (["schema", "reprot"], "There is no schema of 'reprot'"),
    (["scna"], "No such command"),
]


@pytest.mark.parametrize(("words", "said"), USAGE, ids=lambda x: " ".join(x)[:40])
def test_usage_errors_exit_2_before_anything_runs(run, scans, words, said):
    result = run(*words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert result.stdout == ""
    assert scans.config is None


# Inspect


def test_inspect_prints_what_it_is_given(run, monkeypatch):
    from dataclasses import make_dataclass

    data = {
        "format": "onnx",
        "files": ["a[b].onnx"],
        "opset": 17,
        "inputs": [("x", "float32", (None, 4))],
        "outputs": [("mean", "float32", (None, 2))],
        "contract": "parameters",
        "items": [("family", "normal", "metadata"), ("loc", "mean", "name")],
        "differentiable": "yes",
        "forward_error": 1.5e-7,
        "scan_command": "robaudit scan 'a[b].onnx' DATA --param 'loc=mean' " + "x" * 70,
        "warnings": ["the batch is fixed"],
        "ranges": {"x": (-1.0, 2.0)},
        "plan": {"rows": "sweep", "chunk": 64, "why": {"rows": "it pays", "chunk": ""}},
    }
    found = make_dataclass("Inspection", data)(**data)
    module = SimpleNamespace(inspect=lambda config: found)
    monkeypatch.setitem(sys.modules, "audit.run.inspection", module)
    text = run("inspect", "a[b].onnx", "--family", "normal").stdout
    assert "a[b].onnx · onnx, opset 17" in text
    assert "[?, 4]" in text
    assert "Forward pass: 1.5e-07 from the file's runtime" in text
    assert re.search(r"plan +value +because\nrows +sweep +it pays\nchunk +64\n", text)
    assert data["scan_command"] in text
    assert json.loads(run("inspect", "m", "--json").stdout)["opset"] == 17


# Commands on reports


def test_check_holds_a_report_against_its_own_limits(run, saved):
    result = run("check", saved, COLUMNS="100")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "✗ kl.gaussian.p95 = 0.24 > 0.05 by 380 %; 2 beyond it: 6, 5",
        "✓ kl.radius.min = 0.224 >= 0.1",
        "! borderline quantile.trace.mean = 2.77 > 2.5 by 11 %, 95 % interval [0, "
        "7.59]; 1 beyond it: 6",
        "FAIL: 1 of 3 limits broken · exit 1",
    ]


def test_check_takes_other_limits(run, saved):
    assert run("check", saved, "--max", "kl.gaussian.p95=0.25").exit_code == 0
    assert run("check", saved, "--min", "kl.gaussian.p95=0.25").exit_code == 1
    assert run("check", saved, "--exit-zero").exit_code == 0
    assert run("check", saved, "--max-skipped", "0").exit_code == 4
    assert run("check", saved, "--max", "kl.gausian.p95=1").exit_code == 2


def test_check_of_several_reports(run, saved, tmp_path):
    good = tmp_path / "good.json"
    good.write_text(to_json(report_of(EIGENVALUES, LIMITS[1])))
    result = run("check", good, saved, "--json")
    data = json.loads(result.stdout)
    assert [data[str(path)]["verdict"] for path in (good, saved)] == ["pass", "fail"]
    assert result.exit_code == 1
    assert str(good) in run("check", good, saved, COLUMNS="200").stdout


def test_check_reads_configurations_too(run, saved, tmp_path):
    good, bad = tmp_path / "a.yaml", tmp_path / "b.yml"
    scans = "scans: {one: {model: m}, two: {model: n, min: {kl.radius.p05: 1}}}\n"
    good.write_text("max: {kl.trace.max: 9}\n" + scans)
    bad.write_text("seed: 1\nmax:\n  kl.trce.max: 9\n")
    result = run("check", good)
    assert (result.exit_code, result.stdout) == (0, f"{good}: 2 scans, 3 limits\n")
    result = run("check", bad)
    assert result.exit_code == 2
    assert f"{bad}:3: In the threshold key 'kl.trce.max'" in result.stderr
    both = run("check", good, saved, COLUMNS="200")
    assert both.exit_code == 1
    assert both.stdout.startswith(f"{good}: 2 scans, 3 limits\n✗ kl.gaussian.p95")
    missing = tmp_path / "no.toml"
    assert run("check", missing).exit_code == 2


def test_render_gives_the_table_of_the_scan(run, saved, scans):
    scans.result = report_of(EIGENVALUES, *LIMITS)
    assert run("render", saved).stdout == run("scan", "m", "d").stdout


def test_render_writes_files(run, saved, tmp_path):
    result = run("render", saved, "-o", "r.md", "-o", "r.csv", "-o", "again.json")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "again.json").read_text() == Path(saved).read_text()
    assert (tmp_path / "r.csv").read_text().startswith("index,kl.alignment,")
    assert run("render", saved, "-o", "rows.npz").exit_code == 2


def test_show_prints_one_input(run, saved):
    assert "Input 6 of data.npz" in run("show", saved, "--index", "6").stdout
    values = json.loads(run("show", saved, "--index", "6", "--json").stdout)
    assert values["kl"]["eigenvalue"] == 40.0
    result = run("show", saved, "--index", "0")
    assert result.exit_code == 2
    assert "Input 0 was skipped: input 'x' holds nan at [2]" in result.stderr
    assert "has no input 77" in run("show", saved, "--index", "77").stderr
    assert "by its row" in run("show", saved, "--index", "77").stderr


def test_explain_schema_and_version(run):
    assert "√(τ / (c λ_max))" in run("explain", "radius").stdout
    assert "jensen_shannon" in run("explain").stdout
    assert json.loads(run("schema").stdout)["title"] == "Report"
    assert "attacks" in json.loads(run("schema", "config").stdout)["properties"]
    assert run("version").stdout == "robaudit 0.1.0\n"
    assert json.loads(run("version", "--json").stdout)["torch"]


# The real process


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from audit.cli import app\n"
        "try:\n"
        "    app(['--help'])\n"
        "finally:\n"
        "    heavy = {'torch', 'onnx', 'onnxruntime', 'numpy', 'pydantic'}\n"
        "    print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert is_quick(2.0, "--help")


def test_commands_on_reports_never_load_torch(saved):
    code = (
        "import sys\n"
        "from audit.cli import app\n"
        "try:\n"
        f"    app(['check', {saved!r}])\n"
        "except SystemExit as exit_:\n"
        "    heavy = {'torch', 'onnx', 'onnxruntime', 'numpy'} & set(sys.modules)\n"
        "    print(exit_.code, sorted(heavy), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stderr == "1 []\n"


def seconds_of(*words):
    """Return the CPU time of a command, which a busy machine hardly changes."""
    return cpu_of("-m", "audit", *words)


def cpu_of(*words):
    """Return the CPU time of an interpreter with some arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], capture_output=True, check=False, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


PEER = "import typer, numpy, pydantic"
"""What any such tool imports: processors differ, and the ratio hardly does."""


def is_quick(times, *words):
    """Whether one of two runs takes less than so many times the CPU time of a peer."""
    return any(seconds_of(*words) < times * cpu_of("-c", PEER) for _ in range(2))


def test_check_of_ten_thousand_inputs_is_quick(tmp_path):
    values = np.random.default_rng(0).lognormal(size=10_000)
    path = tmp_path / "large.json"
    path.write_text(to_json(report_of(values, *LIMITS)))
    assert is_quick(4.0, "check", str(path))


def test_ctrl_c_exits_130_and_leaves_nothing(tmp_path):
    code = (
        "import sys, time, types\n"
        "import numpy as np\n"
        "from audit.cli import app\n"
        "def scan(config, progress, rows):\n"
        "    rows.append({'index': np.arange(3)})\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(30)\n"
        "sys.modules['audit.run.scan'] = types.SimpleNamespace(scan=scan)\n"
        "app(['scan', 'm', 'd', '-o', 'rows.npz', '-o', 'r.json'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said == (
        "robaudit: interrupted, nothing was written. With --run-dir FOLDER it could be "
        "resumed.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_process_exits_with_the_verdict(saved):
    assert python("check", saved).returncode == 1
    assert python("check", saved, "--max", "kl.gaussian.p95=1").returncode == 0
    assert python("check", "no.json").returncode == 2
    assert python().returncode == 2


@pytest.mark.parametrize(
    ("words", "code"), [(["check"], 1), (["render", "-f", "json"], 0)]
)
def test_a_closed_pipe_does_not_change_the_exit_code(saved, words, code):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "audit", words[0], saved, *words[1:]],
        stdout=write,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (code, b"")


def test_a_closed_pipe_under_help_is_no_verdict():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "audit", "scan", "--help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_behind_stdout_is_no_verdict(saved):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "audit", "check", saved]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=ROOT)
    assert done.returncode == 3
    assert b"No space left" in done.stderr


def test_a_short_write_is_followed_by_the_rest():
    code = (
        "import sys\n"
        "from audit.cli.terminal import emit\n"
        "class Short:\n"
        "    def write(self, data):\n"
        "        taken.append(bytes(data[:7]))\n"
        "        return len(taken[-1])\n"
        "    def flush(self): pass\n"
        "class Out:\n"
        "    encoding, buffer = 'ascii', Short()\n"
        "    def flush(self): pass\n"
        "taken, real = [], sys.stdout\n"
        "sys.stdout = Out()\n"
        "emit('abcdefghijklmnopqrstuvwxyz \u03c3')\n"
        "sys.stdout = real\n"
        "print(b''.join(taken).decode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == "abcdefghijklmnopqrstuvwxyz sigma\n\n"


def test_a_terminal_that_cannot_print_greek_still_gets_the_table(saved):
    done = python("render", saved, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "tr G 60 <= von Neumann" in done.stdout


def test_no_colour_in_a_pipe_or_under_no_color(run, saved):
    assert "\x1b" not in python("render", saved, env={"FORCE_COLOR": "1"}).stdout
    assert "\x1b" not in run("render", saved, NO_COLOR="1").stdout


def test_columns_are_respected(run, saved):
    for columns in (60, 80, 100):
        done = run("render", saved, COLUMNS=str(columns))
        assert done.exit_code == 0
        assert max(map(len, done.stdout.splitlines())) <= columns


def test_diff_exits_1_only_for_a_limit(run, tmp_path):
    for name, factor in (("old", 1.0), ("new", 1.1)):
        report = report_of(factor * EIGENVALUES)
        (tmp_path / f"{name}.json").write_text(to_json(report))
    words = ("diff", "old.json", "new.json")
    assert run(*words).exit_code == 0
    result = run(*words, "--max-increase", "kl.trace.p95=5%")
    assert result.exit_code == 1
    assert "✗ kl.trace.p95 = 52.8, was 48: change = 10 % > 5 %" in result.stdout
    assert json.loads(run(*words, "--json").stdout)["n"] == 6
    assert run(*words, "--max-increase", "kl.trce.p95=5%").exit_code == 2
    assert run("diff", "old.json", "no.json").exit_code == 2


def test_check_writes_what_ci_servers_read(run, saved, tmp_path):
    result = run("check", saved, "-o", "r.junit.xml", "-o", "r.sarif")
    assert result.exit_code == 1
    assert "<testsuites" in (tmp_path / "r.junit.xml").read_text()
    assert json.loads((tmp_path / "r.sarif").read_text())["version"] == "2.1.0"
    assert "cannot hold 2 reports" in run("check", saved, saved, "-o", "r.xml").stderr


def test_init_writes_a_file_that_check_obeys(run, saved, tmp_path):
    result = run("init", "--from", saved, "--margin", "10%")
    assert (result.exit_code, result.stdout) == (0, "Wrote robaudit.yaml\n")
    checked = run("check", saved)
    assert checked.exit_code == 0
    assert "✓ kl.gaussian.p95 = 0.24 <= 0.264" in checked.stdout
    again = run("init")
    assert again.exit_code == 2
    assert "Add --force" in again.stderr
    assert run("init", "--force").exit_code == 0
