"""The validity radius and the skew as columns: by onnxruntime, formulas, and words."""

import math

import numpy as np
import pytest
import torch
from scans import columns, sample, scan, written

from audit.config import Threshold
from audit.reports.rows import RowsWriter
from verify.independent import Plain

NORMAL = {"family": "normal", "parameters": {"loc": "output", "scale": "exp(0*output)"}}


def test_by_plain_torch_both_sides_are_within_ten_percent_up_to_it(tmp_path):
    """And one of them is just off at it; the skew says which side is worse."""
    config = sample("heteroscedastic", ".pt", divergences=("kl",), verify="all")
    with RowsWriter(str(tmp_path / "rows.npz")) as rows:
        scan(config, rows=rows)
    found = dict(np.load(tmp_path / "rows.npz"))
    r = torch.from_numpy(found["kl.validity_radius"]).double()
    v = torch.from_numpy(found["kl.directions"][:, 0]).double()
    half = torch.from_numpy(found["kl.eigenvalue"]).double() / 2
    plain = Plain("heteroscedastic", len(r))

    def ratio(share):
        s = (share * r).unsqueeze(1)
        both = plain.value(torch.stack([s * v, -s * v])).detach().reshape(2, -1)
        return both / (half * s.squeeze(1) ** 2)

    assert bool((r > 0).all() and r.isfinite().all())
    for share in torch.linspace(0.05, 0.99, 12).double():
        assert float((ratio(share) - 1).abs().max()) <= 0.1005
    assert bool(((ratio(1.02) - 1).abs().amax(dim=0) >= 0.0995).all())
    up, down = ratio(1.0)
    np.testing.assert_allclose(
        found["kl.skew"], (up - down) / (up + down), atol=1e-5, rtol=1e-4
    )


def test_a_limit_on_the_validity_radius_decides(tmp_path):
    """KL = ½ (u + a u²)²: 10 % off at (√1.1 − 1) / a, first on the side of +x."""
    expected = (math.sqrt(1.1) - 1) * 4
    limits = [
        Threshold("kl.validity_radius.min", ">=", share * expected)
        for share in (0.99, 1.01)
    ]
    config = written(
        tmp_path,
        lambda x: x + x * x / 4,
        np.zeros((3, 1)),
        NORMAL,
        divergences=("kl",),
        thresholds=tuple(limits),
    )
    report = scan(config)
    summary = report.divergences["kl"].summary
    assert summary["validity_radius"].p50 == pytest.approx(expected, rel=2e-3)
    ar = math.sqrt(1.1) - 1
    assert summary["skew"].p50 == pytest.approx(2 * ar / (1 + ar * ar), rel=2e-3)
    assert [check.status for check in report.checks] == ["pass", "fail"]


def test_a_law_that_is_exact_is_valid_at_every_radius():
    report = scan(sample("linear_gaussian", divergences=("kl",), verify=8))
    found = report.divergences["kl"].summary["validity_radius"]
    assert (found.p50, found.n_infinite) == (math.inf, 8)
    assert "within 10 %" in found.infinite_reason
    assert abs(report.divergences["kl"].summary["skew"].p50) < 1e-6


def test_an_input_at_rest_has_neither_and_says_why(tmp_path):
    x = np.array([[-50.0], [2.0]])
    report = scan(written(tmp_path, torch.relu, x, NORMAL, divergences=("kl",)))
    found = columns(report)
    assert np.isnan(found["validity_radius"][0])
    assert np.isnan(found["skew"][0])
    beyond = 2 / math.sqrt(0.9)  # the kink at 2: D is 2 from there on
    assert found["validity_radius"][1] == pytest.approx(beyond, rel=2e-3)
    assert "at rest" in report.divergences["kl"].summary["skew"].reason


def mixed(x):
    """Mixtures of two normals in the plane: their KL is a mean over draws."""
    loc = torch.stack([x, -x], dim=1)
    return {"logits": x, "loc": loc, "scale": torch.exp(0.1 * loc)}


def test_means_over_draws_are_refused_in_words(tmp_path):
    """Nor are they climbed: the radius stays that of ±v, with its interval."""
    x = np.random.default_rng(0).normal(size=(3, 2))
    model, options = {"family": "mixture:normal"}, {"draws_per_input": 64}
    options |= {"divergences": ("kl",), "sizes": (0.1,)}
    summary = scan(written(tmp_path, mixed, x, model, **options)).divergences["kl"]
    found = summary.summary
    for name in ("validity_radius", "skew"):
        assert found[name].n == 0
        assert "means over draws" in found[name].reason
    assert found["witness@0.1"].n == 3
    assert "critical_radius_upper" in found
    assert "critical_radius_along" not in found
