"""Standard errors and intervals that hold, over 200 repetitions.

Noise is keyed by the index of a row, so 200 copies of one row are 200 repetitions. Two
numbers of noise are integrated over, not drawn: it is KL that has errors here.
"""

import numpy as np
import pytest
from scans import columns

from implicit.laws import (
    NORMAL,
    X,
    codes,
    fisher,
    log_density,
    onnx_file,
    push,
    report_of,
)

REPEATED = np.repeat(X[:1], 200, axis=0)
TRUTH = fisher(X[0]).numpy()
KL = {"divergences": ("kl",)}
SAMPLINGS = ("random", "antithetic", "sobol")


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    return onnx_file(
        tmp_path_factory.mktemp("coverage") / "flow.onnx",
        lambda x, theta, z: (log_density(x, theta), push(x, z)),
        {"x": 3, "theta": 2, "z": 2},
        ["log_prob", "sample"],
    )


def shares(found, truth):
    """Return how often the trace's interval and the bracket contain the truth."""
    trace, largest = np.trace(truth), np.linalg.eigvalsh(truth)[-1]
    close = np.abs(found["trace"] - trace) <= 1.96 * found["trace_se"]
    inside = found["eigenvalue_lower"] <= largest
    inside &= largest <= found["eigenvalue_upper"]
    return close.mean(), inside.mean()


def assert_covered(report):
    close, inside = shares(columns(report, "kl"), TRUTH)
    assert 0.90 <= close <= 0.99
    assert inside >= 0.95


@pytest.mark.sweep(2)
@pytest.mark.parametrize("draws", [256, 1024])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_intervals_cover_the_truth_as_often_as_they_say(flow, sampling, draws):
    options = KL | {"sampling": sampling, "draws_per_input": draws}
    assert_covered(report_of(flow, REPEATED, NORMAL, **options))


@pytest.mark.sweep(2)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_bracket_contains_the_truth_as_often_as_it_says(flow, sampling):
    """To a percent, with 1500 repetitions: squares have long upper tails."""
    rows, options = np.repeat(X[1:2], 1500, axis=0), KL | {"draws_per_input": 256}
    report = report_of(flow, rows, NORMAL, sampling=sampling, **options)
    _, inside = shares(columns(report, "kl"), fisher(X[1]).numpy())
    assert 0.95 <= inside < 1


@pytest.mark.sweep(2)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_they_do_so_when_draws_are_doubled_until_they_suffice(flow, sampling):
    options = KL | {"sampling": sampling, "draws_per_input": 256, "max_draws": 1024}
    report = report_of(flow, REPEATED, NORMAL, rel_error=0.05, **options)
    assert_covered(report)
    draws = columns(report, "kl")["draws"]
    assert set(draws) <= {256.0, 512.0, 1024.0}


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_traces_have_no_bias_that_their_errors_do_not_tell(flow, sampling):
    options = KL | {"sampling": sampling, "draws_per_input": 256}
    report = report_of(flow, REPEATED, NORMAL, **options)
    found = columns(report, "kl")
    error = found["trace"].std() / np.sqrt(len(REPEATED))
    assert abs(found["trace"].mean() - np.trace(TRUTH)) < 3.5 * error
    assert found["trace_se"].mean() == pytest.approx(found["trace"].std(), rel=0.2)


def test_few_draws_are_centred_without_bias(flow):
    options = KL | {"sampling": "random", "draws_per_input": 8}
    report = report_of(flow, REPEATED, NORMAL, **options)
    found = columns(report, "kl")
    error = found["trace"].std() / np.sqrt(len(REPEATED))
    assert abs(found["trace"].mean() - np.trace(TRUTH)) < 3.5 * error


# --rel-error


def test_draws_are_doubled_row_by_row_until_the_error_is_small(flow):
    tame = np.concatenate([REPEATED[:2], 3 * X])
    options = KL | {"sampling": "random", "draws_per_input": 64, "max_draws": 65536}
    report = report_of(flow, tame, NORMAL, rel_error=0.02, **options)
    assert report.exit_code == 0
    assert "monte_carlo_error" not in codes(report)
    found = columns(report, "kl")
    for quantity in ("trace", "eigenvalue"):
        assert (found[f"{quantity}_se"] <= 0.02 * found[quantity]).all()
    assert set(np.log2(found["draws"] / 64) % 1) == {0.0}
    assert len(set(found["draws"])) > 1


def test_too_few_draws_for_the_error_asked_for_are_not_trusted(flow):
    options = {"draws_per_input": 256, "max_draws": 512, "rel_error": 1e-4}
    report = report_of(flow, X, NORMAL, **options)
    assert report.exit_code == 4
    assert "monte_carlo_error" in codes(report)
    assert (columns(report, "kl")["draws"] == 512).all()


def test_the_numbers_of_the_last_round_are_those_of_so_many_draws(flow):
    options = {"draws_per_input": 256, "max_draws": 1024, "rel_error": 1e-4}
    doubled = report_of(flow, X, NORMAL, **options)
    at_once = report_of(flow, X, NORMAL, draws_per_input=1024)
    one, other = columns(doubled, "kl"), columns(at_once, "kl")
    for quantity in ("trace", "trace_se", "eigenvalue", "eigenvalue_upper"):
        np.testing.assert_array_equal(one[quantity], other[quantity])
