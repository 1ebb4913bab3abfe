"""A report as a run of MLflow, read back from a local store; models by reference."""

import json
import math
import shutil

import pytest
from reports.synthetic import EIGENVALUES, LIMITS, report_of
from scans import SAMPLES
from typer.testing import CliRunner

import audit
from audit.cli import app
from audit.formats.logged import LEFT_OUT, logged, metric_name
from audit.ground import tracking
from audit.ground.errors import ConfigError, ModelError
from audit.reports.json import to_json

NEEDED = "mlflow is not installed (pip install 'robaudit[mlflow]')"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The module mlflow, with a store of its own in a folder."""
    mlflow = pytest.importorskip("mlflow", reason=NEEDED)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri((tmp_path / "store").as_uri())
    mlflow.set_experiment("Default")  # which another test may have changed
    monkeypatch.setattr(tracking, "_fetched", {})
    return mlflow


@pytest.fixture
def report():
    return report_of(EIGENVALUES, *LIMITS)


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)))


def scan(reference, output):
    data = SAMPLES / "heteroscedastic.npz"
    words = ("--limit", 8, "--verify", 2, "-o", output, "-q")
    return run("scan", reference, data, *words)


# What is logged


def test_every_finite_statistic_is_a_metric_and_the_others_are_counted(report):
    found = logged(report)
    plain = json.loads(to_json(report))
    wanted, others = {}, 0
    for divergence, part in plain["divergences"].items():
        for quantity, summary in part["summary"].items():
            for statistic in ("mean", "std", "min", "p01", "p05", "p50", "p95", "p99"):
                value = summary[statistic]
                if isinstance(value, (int, float)):
                    wanted[f"{divergence}.{quantity}.{statistic}"] = value
                else:
                    others += 1
            others += not isinstance(summary["max"], (int, float))
    assert wanted.items() <= found.metrics.items()
    assert found.tags[LEFT_OUT] == str(others)
    assert all(math.isfinite(value) for value in found.metrics.values())
    assert found.tags["robaudit.verdict"] == plain["verdict"]


def test_an_infinite_number_is_no_metric(report):
    summary = report.divergences["kl"].summary["trace"]
    before = logged(report)
    summary.max = math.inf
    after = logged(report)
    assert "kl.trace.max" in before.metrics
    assert "kl.trace.max" not in after.metrics
    assert int(after.tags[LEFT_OUT]) == int(before.tags[LEFT_OUT]) + 1


def test_names_hold_what_mlflow_takes_and_never_meet(report):
    assert metric_name("kl.gaussian.p95") == "kl.gaussian.p95"
    assert metric_name("kl.witness@0.1.p95") == "kl.witness at 0.1.p95"
    assert metric_name("renyi:alpha=0.5.trace.max") == "renyi alpha 0.5.trace.max"
    found = report.divergences["kl"]
    report.divergences["a:b"] = report.divergences["a=b"] = found
    with pytest.raises(ConfigError, match="both be the metric 'a b"):
        logged(report)


def test_without_mlflow_or_a_place_the_command_says_what_to_do(
    report, tmp_path, monkeypatch
):
    path = tmp_path / "report.json"
    path.write_text(to_json(report))
    done = run("log", path)
    assert done.exit_code == 2
    assert "Add --mlflow" in done.stderr
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    for words in (("log", path, "--mlflow"), ("inspect", "models:/a/1")):
        done = run(*words)
        assert done.exit_code == 2
        assert "mlflow is not installed" in done.stderr
        assert "pip install 'robaudit[mlflow]'" in done.stderr


def test_a_logged_report_is_read_back(store, report, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(to_json(report))
    done = run("log", path, "--mlflow", "--experiment", "audits")
    assert done.exit_code == 0, done.stderr
    name = done.stdout.split()[-1]
    found = store.get_run(name)
    assert found.data.metrics == dict(logged(report).metrics)
    assert found.data.tags["robaudit.verdict"] == report.verdict
    assert found.data.tags["robaudit.fingerprint"] == report.fingerprint
    assert found.data.params["robaudit.seed"] == "0"
    assert store.get_experiment(found.info.experiment_id).name == "audits"
    kept = store.artifacts.load_text(f"runs:/{name}/robaudit/report.json")
    assert kept == to_json(report)
    page = store.artifacts.load_text(f"runs:/{name}/robaudit/report.html")
    assert page.startswith("<!doctype html>")


def test_a_report_joins_the_run_of_the_training(store, report, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(to_json(report))
    with store.start_run() as training:
        store.log_metric("loss", 1.5)
    done = run("log", path, "--mlflow", "--run-id", training.info.run_id)
    assert done.stdout.split()[-1] == training.info.run_id
    metrics = store.get_run(training.info.run_id).data.metrics
    assert metrics["loss"] == 1.5
    assert metrics["kl.trace.mean"] == logged(report).metrics["kl.trace.mean"]


def test_a_run_that_does_not_exist_is_refused_in_words(store, report, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(to_json(report))
    done = run("log", path, "--mlflow", "--run-id", "none")
    assert done.exit_code == 3
    assert "cannot be logged" in done.stderr
    assert "--run-id" in done.stderr


# Models by reference


@pytest.fixture
def kept(store):
    """A run of the store that holds a model's file, and a version that names it."""
    with store.start_run() as active:
        store.log_artifact(str(SAMPLES / "heteroscedastic.onnx"), "model")
    client = store.MlflowClient()
    client.create_registered_model("diabetes")
    source = f"{active.info.artifact_uri}/model"
    client.create_model_version("diabetes", source, run_id=active.info.run_id)
    return active.info.run_id


def test_a_reference_gives_the_numbers_of_the_file_it_names(kept, tmp_path):
    path = SAMPLES / "heteroscedastic.onnx"
    file = f"runs:/{kept}/model/heteroscedastic.onnx"
    expected = {
        path: str(path),
        file: file,
        "models:/diabetes/1": "models:/diabetes/1/heteroscedastic.onnx",
        f"runs:/{kept}/model": f"runs:/{kept}/model/heteroscedastic.onnx",
    }
    read = []
    for reference, name in expected.items():
        done = scan(reference, tmp_path / "out.json")
        assert done.exit_code == 0, done.stderr
        found = json.loads((tmp_path / "out.json").read_text())
        assert found["config"]["model"]["value"] == str(reference)
        assert [one["path"] for one in found["model"]["files"]] == [name]
        read.append((found["fingerprint"], found["divergences"], found["worst"]))
    assert read.count(read[0]) == len(expected)


def test_shards_of_a_reference_are_merged(kept, tmp_path):
    data = SAMPLES / "heteroscedastic.npz"
    words = ("--limit", 6, "--verify", 2, "-q", "--run-dir", "parts")
    for shard in ("1/2", "2/2"):
        done = run("scan", "models:/diabetes/1", data, *words, "--shard", shard)
        assert done.exit_code == 0, done.stderr
    assert run("merge", "parts", "-q", "-o", "merged.json").exit_code == 0
    done = run("scan", "models:/diabetes/1", data, *words[:5], "-o", "plain.json")
    assert done.exit_code == 0, done.stderr
    merged, plain = (
        json.loads((tmp_path / f"{name}.json").read_text())
        for name in ("merged", "plain")
    )
    assert merged | {"run": {}} == plain | {"run": {}}


def test_a_reference_stands_in_python_too(kept):
    report = audit.scan(
        "models:/diabetes/1", SAMPLES / "heteroscedastic.npz", limit=4, verify=0
    )
    (file,) = report.record.model.files
    assert file.path == "models:/diabetes/1/heteroscedastic.onnx"


def test_what_was_fetched_is_in_one_folder_of_this_process(kept, tmp_path):
    reference = f"runs:/{kept}/model/heteroscedastic.onnx"
    file = tracking.located(reference)
    assert tracking.located(reference) == file
    assert file.read_bytes() == (SAMPLES / "heteroscedastic.onnx").read_bytes()
    folder, _ = tracking._fetched[reference]
    folder.remove()
    assert not file.exists()


@pytest.mark.parametrize("reference", ["models:/none/1", "runs:/none/model.onnx"])
def test_a_reference_that_leads_nowhere_is_refused_in_three_parts(store, reference):
    done = run("inspect", reference)
    assert done.exit_code == 3
    assert f"'{reference}' cannot be fetched" in done.stderr
    assert "MLFLOW_TRACKING_URI" in done.stderr


def logged_folder(store, folder):
    with store.start_run() as active:
        store.log_artifacts(str(folder), "model")
    return f"runs:/{active.info.run_id}/model"


def test_a_folder_of_the_flavour_onnx_is_its_file(store, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    shutil.copy(SAMPLES / "heteroscedastic.onnx", folder / "model.onnx")
    shutil.copy(SAMPLES / "counts.onnx", folder / "other.onnx")
    card = "flavors:\n  onnx:\n    data: model.onnx\n    onnx_version: 1.23.2\n"
    (folder / "MLmodel").write_text(card)
    assert tracking.located(logged_folder(store, folder)).name == "model.onnx"


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (None, "is a folder of a.onnx, b.onnx"),
        ("flavors: {python_function: {loader_module: x}}", "is a folder of a.onnx"),
        ("flavors: {onnx: {data: ../../../secret.onnx}}", "names a file that it lacks"),
        ("flavors: {onnx: {data: gone.onnx}}", "names a file that it lacks"),
        ("flavors: [", "'MLmodel' of 'runs:"),
        ("{}", "'MLmodel' of 'runs:"),
    ],
)
def test_a_folder_in_which_no_file_is_the_model_is_refused(card, said, store, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    (tmp_path / "secret.onnx").write_bytes(b"x")
    for name in ("a.onnx", "b.onnx"):
        (folder / name).write_bytes(b"x")
    if card is not None:
        (folder / "MLmodel").write_text(card)
    with pytest.raises(ModelError, match=said) as caught:
        tracking.located(logged_folder(store, folder))
    assert caught.value.expected
    assert caught.value.next_step
