"""Small files on which a verdict used to be wrong, each with what is true of it.

The files of `verdicts/` were made by whoever found the faults; the expected values come
from the weights in them, by formulas of the textbooks.
"""

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from audit.cli import app

FILES = Path(__file__).parent / "verdicts"
NORMAL = ("--family", "normal")
TWO = (*NORMAL, "--param", "loc=out[:, 0:1]", "--param", "scale=exp(out[:, 1:2])")
STUDENT = ("df=exp(out[:, 0:1])", "loc=out[:, 1:2]", "scale=exp(out[:, 2:3])")


def run(folder, model, data, *words):
    """Scan two files; return exit code, text, report and rows."""
    report, rows = folder / "r.json", folder / "r.npz"
    name, _, key = data.partition("::")
    place = f"{FILES / name}::{key}" if key else str(FILES / name)
    outputs = ("-o", str(report), "-o", str(rows))
    words = ["scan", str(FILES / model), place, *words, *outputs]
    few = {"COLUMNS": "100", "ROBAUDIT_VERIFY": "4"}  # where a test does not say
    done = CliRunner().invoke(app, words, env=few)
    text = " ".join((done.stdout + done.stderr).split())
    found = json.loads(report.read_text()) if report.exists() else None
    return done.exit_code, text, found, dict(np.load(rows)) if rows.exists() else None


@pytest.fixture
def scanned(tmp_path):
    return lambda *words: run(tmp_path, *words)


def weights(model):
    graph = onnx.load(FILES / model).graph
    return {one.name: numpy_helper.to_array(one) for one in graph.initializer}


def test_infinite_rows_break_a_maximum(scanned):
    words = [w for text in STUDENT for w in ("--param", text)]
    limit = ("-d", "quantile", "--max", "quantile.gaussian.max=10", "--verify", "1")
    code, text, report, rows = scanned(
        *("student_inf.onnx", "student_inf.npz", "--family", "student_t"),
        *words,
        *limit,
    )
    (x,) = np.load(FILES / "student_inf.npz").values()
    w = weights("student_inf.onnx")
    df = np.exp((x @ w["M"] + w["b"])[:, 0])
    heavy = int((df <= 2).sum())
    assert code == 1
    assert f"quantile.gaussian.max = ∞ > 10; {heavy} beyond it" in text
    summary = report["divergences"]["quantile"]["summary"]
    for quantity in ("trace", "eigenvalue", "gaussian", "uniform_norm"):
        assert summary[quantity]["n_infinite"] == heavy == 80
        assert summary[quantity]["p50"] == "Infinity"
        np.testing.assert_array_equal(np.isinf(rows[f"quantile.{quantity}"]), df <= 2)
    np.testing.assert_array_equal(rows["quantile.radius"] == 0, df <= 2)
    reason = rows["reasons"][rows["quantile.gap.reason"]]
    assert {
        text.startswith("the variance of student_t") for text in reason[df <= 2]
    } == {True}


def test_an_overflow_is_the_most_sensitive_input(scanned):
    limit = ("-d", "kl", "--max", "kl.eigenvalue.max=1000")
    code, text, report, rows = scanned("collapse32.onnx", "collapse32.npz", *limit)
    (x,) = np.load(FILES / "collapse32.npz").values()
    collapsed = int(np.abs(x).max(axis=1).argmax())
    assert code == 1
    assert f"kl.eigenvalue.max = ∞ > 1 000; 1 beyond it: {collapsed}" in text
    assert report["worst"][0]["index"] == collapsed == 7
    assert (rows["kl.eigenvalue"][7], rows["kl.radius"][7]) == (math.inf, 0)
    assert report["data"]["n_skipped"] == 0


def mean_kl(weights, sigma):
    """E[KL(q_x ‖ q_{x+δ})] of N(b·x, e^{2w·x}) under white noise, at each x alike.

    With ρ = w·δ of variance s² and Δ = b·δ/σ₀, KL = ρ + ½ e^{−2ρ}(1 + Δ²) − ½. Under
    the weight e^{−2ρ}, of mean e^{2s²}, Δ keeps its variance and has the mean
    −2 Cov(Δ, ρ).
    """
    b, w = weights["M"].T.astype(float)

    def at(scale):
        own, shared = sigma**2 * (b @ b) / scale**2, sigma**2 * (b @ w) / scale
        return np.exp(2 * sigma**2 * (w @ w)) * (1 + own + 4 * shared**2) / 2 - 0.5

    return at


def test_predictions_that_are_half_of_the_truth_decide_nothing(scanned):
    words = ("--param", "loc=out[:, :1]", "--param", "scale=exp(out[:, 1:])")
    limit = ("--max", "kl.gaussian.p95=100000")
    options = ("-d", "kl", "-a", "gaussian:sigma=0.2", *limit, "--verify", "64")
    code, text, report, rows = scanned(
        "gauss_d50.onnx", "gauss_d50.npz", *NORMAL, *words, *options
    )
    assert code == 4
    assert "more than 10 % apart on 64 of 64 checked inputs" in text
    assert "limit kl.gaussian_realised" in text
    w, (x,) = weights("gauss_d50.onnx"), np.load(FILES / "gauss_d50.npz").values()
    scale = np.exp((x @ w["M"] + w["b"])[:, 1].astype(float))
    truth = mean_kl(w, 0.2)(scale)
    checked = ~np.isnan(rows["kl.gaussian_realised"])
    inside = (rows["kl.gaussian_realised_lower"] <= truth) & (
        truth <= rows["kl.gaussian_realised_upper"]
    )
    assert checked.sum() == 64
    assert inside[checked].mean() >= 0.85
    found = report["divergences"]["kl"]["verification"]["gaussian"]
    ratio = np.exp(np.log(truth / rows["kl.gaussian"])[checked].mean())
    assert found["pooled_ci95"][0] <= ratio <= found["pooled_ci95"][1]
    accepted, text, report, _ = scanned(
        "gauss_d50.onnx",
        "gauss_d50.npz",
        *NORMAL,
        *words,
        *options,
        "--accept-unverified",
    )
    assert accepted == 0
    assert "decided by --accept-unverified although" in text
    assert report["config"]["accept_unverified"]["value"] is True
    assert report["checks"][0]["accepted"] is True


def test_rows_at_rest_have_an_infinite_radius(scanned):
    attack = ("-d", "kl", "-a", "fixed_norm:norm=0.1", "--verify", "64")
    code, text, report, rows = scanned("kink.onnx", "kink.npz", *TWO, *attack)
    (x,) = np.load(FILES / "kink.npz").values()
    still = (x @ weights("kink.onnx")["M"] <= 0).all(axis=1)
    assert still.sum() == 80
    assert code == 0
    assert "80 of 100 inputs are at rest" in text
    assert not re.search(r"norm 0\.333 \(median\)", text)
    summary = report["divergences"]["kl"]["summary"]["radius"]
    assert (summary["p50"], summary["n_at_rest"], summary["n"]) == ("Infinity", 80, 100)
    np.testing.assert_array_equal(np.isinf(rows["kl.radius"]), still)
    assert (
        report["inputs"]["outcomes"]["kl"]["at_rest"] == np.flatnonzero(still).tolist()
    )
    found = report["divergences"]["kl"]["verification"]["fixed_norm"]
    checked = still & ~np.isnan(rows["kl.fixed_norm_realised"])
    moved = rows["kl.fixed_norm_realised"] > 0
    assert found["parted"] >= int((checked & moved).sum())
    assert found["n"] + found["unknown"] == 64
    assert any(
        "80 of 100 inputs the form is zero" in w["message"] for w in report["warnings"]
    )


def test_the_upper_gate_needs_an_interval(scanned):
    gate = ("-d", "kl", "--gate", "upper", "--max", "kl.gaussian.p95=0.16")
    code, text, *_ = scanned("upper.onnx", "upper.npz", *TWO, *gate)
    assert code == 4
    assert (
        "--gate upper needs a 95 % interval: p95 needs 72 inputs, there are 40" in text
    )


def test_singular_values_keep_what_squares_lose(scanned):
    words = ("-d", "kl", "--dtype", "float64")
    code, _, _, rows = scanned("tiny.onnx", "tiny.npz", *TWO, *words)
    w, (x,) = weights("tiny.onnx"), np.load(FILES / "tiny.npz").values()
    scale = np.exp((x @ w["M"] + w["b"])[:, 1])
    root = np.stack([w["M"][:, 0] / scale[0], math.sqrt(2) * w["M"][:, 1]])
    singular = np.linalg.svd(root.astype(float), compute_uv=False)
    assert code == 0
    assert (singular[0] / singular[1]) ** 2 > 1e13
    np.testing.assert_allclose(rows["kl.eigenvalues"][0], singular**2, rtol=1e-6)
    assert singular[1] ** 2 == pytest.approx(2.0, rel=1e-6)
    assert rows["kl.rank"][0] == 2


def test_integer_products_have_no_derivative(scanned):
    limit = ("--max", "kl.gaussian.p95=0.001")
    code, text, *_ = scanned("dynquant_b1.onnx", "x5.npz", *limit)
    assert code == 3
    assert "DynamicQuantizeLinear" in text or "MatMulInteger" in text


def test_an_input_with_a_default_is_an_input(scanned):
    code, _, report, _ = scanned("default_input.onnx", "x5_gain.npz")
    summary = report["divergences"]["kl"]["summary"]["eigenvalue"]
    assert code == 0
    assert summary["p50"] == pytest.approx(1.325, rel=2e-3)
    assert summary["max"] == pytest.approx(3.395, rel=2e-3)


def test_an_output_called_like_a_number_is_ambiguous(scanned):
    words = (*NORMAL, "--param", "loc=21", "--param", 'scale=exp("23")')
    code, text, *_ = scanned("torch_names.onnx", "dot.npz", *words)
    assert code == 2
    assert "21" in text


def test_weights_inside_a_branch_are_weights(tmp_path):
    hashes = []
    for name in ("subw_a.onnx", "subw_b.onnx"):
        code, _, report, _ = run(tmp_path, name, "x5.npz")
        assert code == 0
        hashes.append(report["model"]["weights_sha256"])
    assert hashes[0] != hashes[1]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("model", ["dens_plain.onnx", "dens_self_unnorm.onnx"])
def test_a_density_that_is_not_normalised_leaves_no_verdict(scanned, model):
    words = ("--target", "theta", "--limit", "8", "--verify", "1")
    limit = ("--max", "kl.trace.mean=1000")
    code, *_ = scanned(model, "heteroscedastic.npz", *words, *limit)
    assert code == 4
    code, *_ = scanned(model, "heteroscedastic.npz", *words, *limit, "--unnormalised")
    assert code == 0


def test_a_softmax_that_underflows_is_measured(scanned):
    words = ("--family", "categorical", "--param", "probs=probs")
    code, _, report, rows = scanned(
        "A03_softmax_probs_op13.onnx", "A03_softmax.npz::x", *words, "-d", "kl"
    )
    assert code == 0
    assert report["data"]["n_skipped"] == 0
    assert np.isfinite(rows["kl.trace"]).all()


@dataclass(frozen=True)
class Wrong:
    """Bad input: what is asked, the exit code, and words that have to be said."""

    words: tuple[str, ...]
    code: int
    said: str
    data: str = "upper.npz"
    model: str = "upper.onnx"
    head: tuple[str, ...] = field(default=TWO)


WRONG = {
    "a statistic that one input does not have": Wrong(
        ("--index", "3", "--max", "kl.trace.std=1"), 4, "std does not exist for 1 value"
    ),
    "a column without values": Wrong(
        (
            *("-d", "renyi:alpha=0.5", "--verify", "0"),
            *("--max", "renyi:alpha=0.5.gaussian.p95=1"),
        ),
        4,
        "it is a second-order number that was not checked",
    ),
    "a quantity that is not measured": Wrong(
        ("-d", "kl", "--max", "kl.linear.p95=1"), 4, "did not measure kl.linear"
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_limits_that_cannot_decide_say_why(scanned, name):
    case = WRONG[name]
    code, text, *_ = scanned(case.model, case.data, *case.head, *case.words)
    assert code == case.code, text
    assert case.said in text
