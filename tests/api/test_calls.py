"""The Python door: what it returns, what it refuses, and that it opens at once."""

import doctest
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from scans import SAMPLES
from torch import distributions as td
from torch import nn
from typer.testing import CliRunner

import audit
import audit.api
from audit.api.words import said
from audit.cli import app
from audit.config.options import OPTIONS

MODEL, DATA = SAMPLES / "heteroscedastic.onnx", SAMPLES / "heteroscedastic.npz"
torch.manual_seed(0)  # outputs of both signs, which are no probabilities
NET = nn.Linear(4, 1)
X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")


def law(x):
    return td.Normal(NET(x), 1.0)


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.mark.parametrize("mode", MODES)
def test_what_the_caller_asked_of_torch_changes_no_number(mode):
    w = NET.weight.detach().numpy()[0].astype(float)
    with MODES[mode]():
        asked_with = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
        found = audit.scan(law, X, divergences=["kl"], verify=0)
        form = audit.local_form(law, X[:2], "kl")
        now = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
    assert asked_with == now
    np.testing.assert_allclose(found.rows["kl.trace"], w @ w, rtol=1e-5)
    step = torch.tensor([[0.1, 0.2, 0.0, -0.3]], dtype=torch.float64).expand(2, -1)
    expected = (step.numpy() @ w) ** 2 / 2
    np.testing.assert_allclose(form(step).numpy(), expected, rtol=1e-5)


@pytest.fixture(scope="module")
def report():
    return audit.scan(MODEL, DATA, limit=12, verify="all", top=2)


def test_the_examples_of_the_documentation_run():
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    found = doctest.testmod(audit.api, optionflags=flags)
    assert found.attempted > 10
    assert not found.failed


@pytest.mark.parametrize("path", ["README.md", "audit/formats/pages/python.md"])
def test_the_example_of_the_documentation_runs(path, tmp_path, monkeypatch):
    text = (SAMPLES.parent / path).read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(import numpy.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert (tmp_path / "report.html").is_file()


def test_importing_the_package_takes_no_library_and_no_time():
    script = (
        "import sys, time; a = time.process_time(); import audit; dir(audit); "
        "print(time.process_time() - a, *sys.modules)"
    )
    fastest = 1.0
    for _ in range(3):
        seconds, *loaded = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.split()
        assert not {"torch", "numpy", "pydantic", "audit.ground"} & set(loaded)
        fastest = min(fastest, float(seconds))
    assert fastest < 0.03


def test_every_public_name_is_there_and_no_other():
    for name in audit.__all__:
        assert getattr(audit, name) is not None
        assert name in dir(audit)
    with pytest.raises(AttributeError, match="no attribute 'scam'"):
        _ = audit.scam


def test_a_file_is_scanned_as_on_the_command_line(report, tmp_path, monkeypatch):
    words = ["scan", str(MODEL), str(DATA), "--limit", "12", "--verify", "all"]
    words += ["--top", "2", "-q", "-o", "r.json", "-o", "rows.npz", "-o", "rows.csv"]
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, words).exit_code == 0
    ours, theirs = (
        report.record,
        type(report.record).model_validate_json((tmp_path / "r.json").read_text()),
    )
    assert ours.fingerprint == theirs.fingerprint
    assert ours.divergences == theirs.divergences
    assert ours.inputs == theirs.inputs
    assert {s.origin for s in ours.config.values()} == {"call", "default"}
    for name in ("rows.npz", "rows.csv"):
        report.save(tmp_path / f"own.{name}")
        assert (tmp_path / f"own.{name}").read_bytes() == (tmp_path / name).read_bytes()
    with np.load(tmp_path / "rows.npz") as saved:
        own = {n: v for n, v in report.rows.items() if not n.endswith(".reason")}
        assert set(own) == {n for n in saved if not n.endswith(("reason", "reasons"))}
        for name, values in own.items():
            np.testing.assert_array_equal(values, saved[name])


def test_rows_hold_every_column_and_summaries_are_theirs(report):
    rows = report.rows
    assert rows["kl.directions"].shape == (12, 2, 10)
    summary = report.summary("kl", "trace")
    assert summary.max == pytest.approx(rows["kl.trace"].max(), rel=1e-12)
    assert report.summary(None, "trace") == summary
    assert report.summary("kl")["trace"] == summary
    assert report.summary()["kl"]["trace"] == summary
    assert "nat" in report._repr_html_()
    assert len(report._repr_html_()) < 10_000
    assert repr(report).startswith("<audit.Report verdict none: A perturbation of norm")


def test_the_worst_inputs_are_those_of_the_record_and_move_by_their_radius(report):
    worst = report.worst(3)
    assert [one.index for one in worst] == [w.index for w in report.record.worst[:3]]
    x = np.load(DATA)["x"]
    for one in worst:
        np.testing.assert_array_equal(one.x, x[one.index])
        assert np.linalg.norm(one.direction) == pytest.approx(1)
        assert one.exact
        np.testing.assert_allclose(one.above - one.x, one.x - one.below, atol=1e-6)
        assert np.linalg.norm(one.above - one.x) == pytest.approx(one.radius, rel=1e-5)


def test_a_worst_input_moves_in_the_units_of_the_data():
    spread = X * [1, 10, 100, 1000]
    report = audit.scan(lambda x: td.Normal(x.sum(1), 1.0), spread, units="std")
    (worst,) = report.worst(1)
    step = (worst.above - worst.x) / spread.std(0, ddof=1)
    np.testing.assert_allclose(step, worst.radius * worst.direction, rtol=1e-4)


def test_a_limit_judges_now_and_later(report, tmp_path):
    limits = {"kl.eigenvalue.max": 1e-6}
    judged = audit.check(report, max=limits)
    assert (judged.verdict, judged.exit_code) == ("fail", 1)
    assert judged.record.checks[0].source == "max={'kl.eigenvalue.max': 1e-06}"
    assert judged.rows is report.rows
    report.save(tmp_path / "r.json")
    saved = audit.check(tmp_path / "r.json", max=limits)
    assert saved.record.checks == judged.record.checks
    np.testing.assert_allclose(saved.rows["kl.trace"], report.rows["kl.trace"])
    assert audit.check(report.record, max={"kl.eigenvalue.max": 1e6}).exit_code == 0
    with pytest.raises(audit.ConfigError, match="no saved report holds"):
        saved.worst()


@pytest.mark.parametrize("suffix", ["html", "md", "xml", "sarif", "json", "txt"])
def test_a_report_is_saved_in_the_format_of_its_name(report, suffix, tmp_path):
    report.save(tmp_path / f"report.{suffix}")
    assert (tmp_path / f"report.{suffix}").stat().st_size > 100


def test_a_frame_has_the_scalars_by_input(report):
    pandas = pytest.importorskip("pandas")
    frame = report.frame()
    assert isinstance(frame, pandas.DataFrame)
    np.testing.assert_array_equal(frame["kl.trace"], report.rows["kl.trace"])


def test_a_frame_without_pandas_says_what_to_install(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(audit.ConfigError, match="pip install pandas"):
        report.frame()


def test_an_inspection_says_how_a_live_model_is_read():
    found = audit.inspect(law, X)
    assert (found.format, found.differentiable) == ("live", "yes")
    assert dict(item[:2] for item in found.items)["family"] == "normal"
    assert "fresh copy" in found.gates["referee"]
    assert "audit.scan(model, data)" in repr(found)
    blind = " ".join(repr(audit.inspect(NET)).split())
    assert "family='normal'" in blind
    assert "Its outputs are not known without data" in blind
    assert "--" not in blind
    assert audit.inspect(MODEL).contract == "parameters"
    assert "robaudit scan" in repr(audit.inspect(MODEL))


def test_the_form_of_a_linear_gaussian_is_known():
    w = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
    form = audit.local_form(lambda x: td.Normal(x @ w.to(x).mT, 2.0), np.ones((3, 2)))
    delta = torch.tensor([[0.3, -0.2]], dtype=torch.float64).expand(3, 2)
    expected = (w.double() @ delta[0]).square().sum() / (2 * 4)
    torch.testing.assert_close(form(delta), expected.expand(3))


def test_the_form_takes_arrays_of_either_precision_and_one_shape():
    """½ · (3 · 0.1)² + ½ · (3 · 0.2)² = 0.225 for δ = (0.1, 0.2)."""
    form = audit.local_form(
        lambda x: td.Normal(3 * x, torch.ones_like(x)), np.ones((2, 2))
    )
    for delta in ([[0.1, 0.2]] * 2, np.array([[0.1, 0.2]] * 2, "float32")):
        np.testing.assert_allclose(form(delta).numpy(), 0.225, rtol=1e-6)
        assert form(delta).dtype == torch.float64
    for wrong in (np.ones(2), np.ones((2, 3)), np.ones((1, 2)), "text", None):
        with pytest.raises(audit.ConfigError, match=r"Expected \[2, 2\], or"):
            form(wrong)


def test_the_form_agrees_with_the_scan(report):
    form = audit.local_form(MODEL, DATA, "kl", index=[5])
    gram = form.root.gram()
    trace = torch.diagonal(gram.dense() if hasattr(gram, "dense") else gram, 0, 1, 2)
    assert trace.sum().item() == pytest.approx(report.rows["kl.trace"][5], rel=1e-6)


class Copied(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 1)
        self.kept = self.lin(torch.zeros(1, 4))

    def forward(self, x):
        return td.Normal(self.lin(x), 1.0)


REFUSED = {
    "no model": (None, X, {}, "The model is None"),
    "a number": (3, X, {}, "of the type int"),
    "a class": (nn.Linear, X, {}, "the class Linear"),
    "no path": ("nope", X, {}, "no model file 'nope'"),
    "empty path": ("", X, {}, "empty text"),
    "no family": (NET, X, {}, "family='normal'"),
    "no data": (law, None, {}, "The data are None"),
    "a number of data": (law, 3, {}, "of the type int"),
    "no data file": (law, "nope.npz", {}, "no data file 'nope.npz'"),
    "objects": (law, np.array([object()] * 2), {}, "Python objects"),
    "empty": (law, X[:0], {}, "has no rows"),
    "another shape": (law, X[:, :3], {}, "cannot be run"),
    "complex": (law, X.astype("complex64"), {}, "dtype complex64"),
    "ragged": (law, [[1.0], [1.0, 2.0]], {}, "unequal rows"),
    "nothing": (law, {}, {}, "an empty dict"),
    "hidden": (law, np.ma.masked_greater(X, 1), {}, "a masked array that hides"),
    "no numbers": (law, torch.empty(2, 4, device="meta"), {}, "not hold plain"),
    "units": (law, X, {"units": [-1, 1, 1, 1]}, "Use mask= for features"),
    "an order": (law, X, {"bounds": (1, 0)}, "bounds='1.0,0.0' leave"),
    "nothing back": (lambda x: None, X, {}, "its outputs hold no tensor"),
    "not finite": (law, X * np.nan, {}, "holds NaN"),
    "a typing error": (law, X, {"famly": "normal"}, "Did you mean 'family'"),
    "no number": (law, X, {"top": "many"}, "top= is many"),
    "no divergence": (law, X, {"divergences": ["kll"]}, "Did you mean 'kl'"),
    "no key": (law, X, {"max": {"kl.gausian.p95": 1}}, "max={'kl.gausian.p95': 1}"),
    "no input": (law, X, {"index": np.flatnonzero(X[:, 0] > 1e9)}, "index= is []"),
    "no size": (law, X, {"sizes": []}, "one size at least"),
    "an array": (law, X, {"condition": X[0]}, "condition= is"),
    "no end": (law, X, {"bounds": np.array("low")}, "bounds= was given a ndarray"),
    "NUL": (law, X, {"run_dir": "a\0b"}, "the character NUL"),
    "a long path": ("m" * 300, X, {}, "longer than the system takes"),
    "no change": (law, X, {"baseline": "none.json"}, "no limit is on a change"),
    "workers": (law, X, {"workers": 2}, "workers=2 was given"),
    "a folder": (law, X, {"run_dir": "runs"}, "run_dir= was given"),
    "a shard": (law, X, {"shard": "1/2"}, "shard='1/2'"),
    "graphs": (NET, X, {"method": "straight-through"}, "no file"),
    "tensors": (NET, X, {"parameters": {"loc": "@h"}}, "'@h'"),
    "copies": (Copied(), X, {}, "cannot be copied"),
    "no forward": (nn.Module(), X, {}, "has no forward"),
    "no names": (torch.relu, X, {}, "does not say what inputs"),
    "an exception": (lambda x: x / 0 + y, X, {}, "cannot be run"),  # noqa: F821
    "a text": (lambda x: "text", X, {}, "is a str"),
    "one for all": (lambda x: td.LKJCholesky(3), X, {}, "one row for each row"),
    "chance": (lambda x: td.Normal(torch.rand(len(x), 1), 1.0), X, {}, "random"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said_in_three_parts(name):
    model, data, settings, words = REFUSED[name]
    with pytest.raises(audit.AuditError) as caught:
        audit.scan(model, data, **settings)
    error = caught.value
    assert words in str(error)
    assert error.given
    assert error.expected
    assert error.next_step
    assert "robaudit-" not in str(error)
    assert "--" not in str(error)


def test_a_check_takes_limits_alone(report):
    for wrong in ({"seed": 1}, {"max": {"kl.trac.max": 1}}):
        with pytest.raises(audit.ConfigError, match="Did you mean"):
            audit.check(report, **wrong)
    with pytest.raises(audit.ConfigError, match="type NoneType"):
        audit.check(None)
    with pytest.raises(audit.ConfigError, match="Did you mean 'trace'"):
        report.summary("kl", "trac")
    with pytest.raises(audit.ConfigError, match="divergences"):
        report.summary("kll")
    with pytest.raises(audit.ConfigError, match="at least 1"):
        report.worst(0)


def test_a_masked_array_that_hides_nothing_is_an_array():
    whole = audit.scan(law, np.ma.masked_greater(X, 1e9), verify=0)
    assert whole.record.fingerprint == audit.scan(law, X, verify=0).record.fingerprint


def test_a_sparse_tensor_is_its_numbers():
    found = audit.scan(law, torch.from_numpy(X).to_sparse(), verify=0)
    assert found.record.fingerprint == audit.scan(law, X, verify=0).record.fingerprint


def test_a_report_is_made_of_a_record_and_saved_under_known_names(report, tmp_path):
    with pytest.raises(audit.ConfigError, match=r"audit\.check\('report\.json'\)"):
        audit.Report("report.json")
    with pytest.raises(audit.ConfigError, match=r"\.npz, \.parquet"):
        report.save(tmp_path / "report.npy")
    with pytest.raises(audit.ConfigError, match=r"given a int.*name of a file"):
        report.save(3)
    with pytest.raises(audit.ConfigError, match=r"the character NUL.*name of a file"):
        report.save("a\0.html")


@pytest.mark.parametrize("name", [0, b"kl", [], {}, np.zeros(2)])
def test_a_summary_is_asked_for_by_names(report, name):
    for asked in ((name,), ("kl", name)):
        with pytest.raises(audit.ConfigError, match=r"names of a divergence"):
            report.summary(*asked)


def test_settings_take_the_numbers_of_numpy_and_torch():
    settings = {"index": np.array([1, 3]), "top": np.int64(1), "tau": torch.tensor(2.0)}
    report = audit.scan(law, X, verify=0, **settings)
    assert report.rows["index"].tolist() == [1, 3]
    assert report.record.config["tau"].value == 2.0


@pytest.mark.parametrize("name", [n for n in OPTIONS if not OPTIONS[n].file_only])
def test_every_flag_has_its_keyword(name):
    from audit.config.options import POSITIONAL, flag_names

    if name not in POSITIONAL:
        for flag in flag_names(name):
            assert said(f"Leave out {flag}, please", {}).count(f"{name}=") == 1


def test_what_a_shell_quotes_is_quoted_once_in_python():
    text = "Read a tensor before it, --param NAME='@x', where it is"
    assert said(text, {}) == "Read a tensor before it, parameters={'NAME': '@x'}" + (
        ", where it is"
    )


def test_the_next_word_of_a_sentence_is_no_value():
    text = "Pass --family and --param, or use --condition for one of them"
    assert (
        said(text, {})
        == "Pass family= and parameters=, or use condition= for one of them"
    )


def test_several_parameters_are_one_dictionary_in_python():
    flags = "Pass --family normal --param loc=mu --param scale=sigma if so"
    keywords = "family='normal' parameters={'loc': 'mu', 'scale': 'sigma'}"
    assert said(flags, {}) == f"Pass {keywords} if so"


def test_a_live_model_is_called_one_where_a_file_would_be_named():
    assert str(audit.inspect(law, X)).startswith("a live model · live")


def test_a_live_scan_is_about_as_fast_as_its_file(tmp_path):
    module = torch.jit.load(SAMPLES / "heteroscedastic.pt")
    options = {
        "family": "normal",
        "parameters": {"loc": "loc", "scale": "exp(log_scale)"},
    }
    audit.scan(module, DATA, limit=2, verify=0, **options)
    began = time.perf_counter()
    audit.scan(SAMPLES / "heteroscedastic.pt", DATA, limit=30, verify=0)
    middle = time.perf_counter()
    audit.scan(module, DATA, limit=30, verify=0, **options)
    assert time.perf_counter() - middle < 3 * (middle - began) + 1
