"""What a whole scan says of estimated numbers: intervals, few draws, assumed tails."""

import numpy as np
import onnxruntime
import pytest

from audit.config import ModelConfig, ScanConfig
from audit.formats import table
from tests.scans import SAMPLES, columns, sample, scan

INPUTS = 6


@pytest.fixture(scope="module", params=[12, 64])
def sampled(request):
    """A sampled report, and the number of draws of each input."""
    settings = ScanConfig(
        model=ModelConfig(path=str(SAMPLES / "linear_posterior.onnx")),
        data=str(SAMPLES / "linear_posterior.npz"),
        index=tuple(range(INPUTS)),
        divergences=("kl",),
        draws_per_input=request.param,
        verify=0,
    )
    return scan(settings), request.param


def test_a_sampled_trace_stands_in_its_interval(sampled):
    report, draws = sampled
    found = columns(report)
    assert (found["units"] == draws).all()
    assert (found["trace_lower"] < found["trace"]).all()
    assert (found["trace"] < found["trace_upper"]).all()


def test_few_draws_are_a_warning(sampled):
    report, draws = sampled
    found = [w for w in report.warnings if w.code == "few_draws_kl"]
    assert bool(found) == (draws < 20)
    if found:
        assert "12 independent units of draws" in found[0].message
        assert "--draws-per-input" in found[0].message


@pytest.fixture(scope="module")
def deciles():
    return scan(
        sample(
            "sunspots_quantiles", index=tuple(range(INPUTS)), divergences=("quantile",)
        )
    )


def test_the_assumed_share_of_a_quantile_head(deciles):
    """Against differences of the file: linear between levels, constant beyond them."""
    path = SAMPLES / "sunspots_quantiles.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with np.load(SAMPLES / "sunspots.npz") as data:
        x = data["x"][:INPUTS].astype(np.float32)
    moved = []
    for step in np.eye(x[0].size, dtype=np.float32).reshape(-1, *x.shape[1:]) * 0.02:
        up, down = (session.run(None, {"x": x + s})[0] for s in (step, -step))
        moved.append((up.astype(float) - down) / 0.04)
    left, right = np.stack(moved)[..., :-1], np.stack(moved)[..., 1:]
    inside = 0.1 * (left**2 + left * right + right**2).sum(axis=(0, 2)) / 3
    tails = 0.1 * (left[..., 0] ** 2 + right[..., -1] ** 2).sum(axis=0)
    share = columns(deciles, "quantile")["tail_share"]
    np.testing.assert_allclose(share, tails / (tails + inside), rtol=5e-3)


def test_the_table_names_what_is_assumed(deciles):
    share = np.median(columns(deciles, "quantile")["tail_share"])
    said = " ".join(table.render(deciles).split())
    assert (
        f"{100 * share:.0f} % of the trace is assumed, beyond the outer levels" in said
    )
