"""A search that never improves on its starts says so, where these are too low."""

import numpy as np
import pytest
import torch
from scans import sample, scan, written

X = np.random.default_rng(2).uniform(-0.2, 0.2, size=(6, 3))
SIDE = torch.tensor([[1.0, -2.0, 0.5]]).double()
NORMAL = {
    "family": "normal",
    "parameters": {"loc": "output", "scale": "exp(0*output)"},
}


def ending(x):
    """A place that moves with x · w up to ±1 and no further."""
    return (x @ SIDE.T).clamp(-1, 1)


def notes(report):
    return [w.message for w in report.warnings if w.code.startswith("stuck_")]


def reported(folder, function, **options):
    asked = {"verify": "all", "sizes": (0.1, 30.0), "divergences": ("kl",), **options}
    return scan(written(folder, function, X, NORMAL, **asked))


@pytest.mark.parametrize("divergence", ["kl", "reverse_kl"])
def test_where_every_start_is_on_a_plain_the_report_says_so(tmp_path, divergence):
    """At 30 both signs of v are where the place moves no more: KL is at most 2."""
    report = reported(tmp_path, ending, divergences=(divergence,))
    (said,) = notes(report)
    assert said.startswith(f"{divergence}: on 6 of 6 inputs the ascent never improved")
    found = np.array(report.inputs.columns[divergence]["witness@30"])
    moved = ending(torch.from_numpy(X)).numpy()[:, 0]
    np.testing.assert_allclose(found, 0.5 * (1 + abs(moved)) ** 2, rtol=1e-6)


def test_small_steps_gain_nothing_and_are_not_low(tmp_path):
    """Up to the edge KL is a form: its start is the best there is, and no news."""
    assert notes(reported(tmp_path, ending, sizes=(0.1,))) == []


def test_a_start_that_is_the_optimum_is_no_news():
    asked = {"sizes": (0.1, 3.0), "verify": 8, "divergences": ("kl", "reverse_kl")}
    for norm in ("2", "inf", "1"):
        assert notes(scan(sample("linear_gaussian", norm=norm, **asked))) == []


def test_a_valid_range_that_cuts_every_step_is_no_news(tmp_path):
    """KL of a linear map, at the corner of the range that is worst: a form still."""
    report = reported(
        tmp_path, lambda x: x @ SIDE.T, sizes=(30.0,), bounds="-0.2,0.2", norm="inf"
    )
    assert notes(report) == []


def test_a_search_that_gains_is_no_news(tmp_path):
    """Past the edge of one hill the ascent finds the next one."""
    report = reported(tmp_path, lambda x: torch.sin(3 * x @ SIDE.T), sizes=(1.0,))
    assert notes(report) == []
