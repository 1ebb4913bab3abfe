"""Draws that lie in the data: labelled as given, held against their density."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scans import columns, scan

from audit.ground.errors import AuditError, ConfigError
from implicit.laws import (
    X,
    assert_within,
    codes,
    config_of,
    fisher,
    log_density,
    notes_of,
    onnx_file,
    push,
    report_of,
    transport,
)

MODEL = {"draws": "posterior"}
SIZE = 1500


def drawn(size=SIZE, shift=0.0):
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.standard_normal((len(X), size, 2)))
    x = torch.from_numpy(X)
    return (
        np.stack([push(a.expand(size, 3), b) for a, b in zip(x, z, strict=True)])
        + shift
    )


@pytest.fixture(scope="module")
def density(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    inputs = {"x": 3, "theta": 2}
    return onnx_file(folder / "density.onnx", log_density, inputs, ["log_prob"])


def given(density, posterior, **options):
    return report_of(density, X, MODEL, data={"posterior": posterior}, **options)


def test_exact_draws_do_as_well_as_ones_drawn_here(density):
    report = given(density, drawn(), draws_per_input=SIZE)
    found = columns(report, "kl")
    assert_within(found, np.stack([fisher(x) for x in X]))
    assert (found["draws"] == SIZE).all()
    assert (found["score_mean"] <= 4 * found["score_mean_se"]).all()
    assert "score_mean" not in codes(report)
    assert "'posterior' of the data (given, not drawn)" in notes_of(report)


def test_draws_that_do_not_move_with_x_know_nothing_of_reverse_kl(density):
    """It is a mean over the law at x + δ; its form, which is kl's, is known."""
    report = given(density, drawn(), divergences=("kl", "reverse_kl"), verify=2)
    one, other = (report.divergences[name] for name in ("kl", "reverse_kl"))
    assert one.summary["trace"].p50 == other.summary["trace"].p50
    realised = other.summary["gaussian_realised"]
    assert realised.n == 0
    assert "no exact value of reverse_kl is known for this law" in realised.reason
    assert one.summary["gaussian_realised"].n == 2


def test_no_more_are_used_than_asked_for_or_given(density):
    for asked, used in ((100, 100), (4000, SIZE)):
        report = given(density, drawn(), draws_per_input=asked)
        assert (columns(report, "kl")["draws"] == used).all()


def test_the_report_says_how_many_were_used(density):
    assert given(density, drawn(200)).divergences["kl"].draws == 200


def test_draws_from_another_law_are_flagged(density):
    report = given(density, drawn(shift=0.3))
    assert "score_mean" in codes(report)


def test_an_error_that_given_draws_cannot_reach_is_not_trusted(density):
    report = given(density, drawn(200), rel_error=1e-3)
    assert report.exit_code == 4
    assert (columns(report, "kl")["draws"] == 200).all()


@pytest.mark.parametrize(
    ("posterior", "words"),
    [
        (np.zeros((3, 2)), r"\[3, 2\](.|\n)*inputs, draws, coordinates"),
        (np.zeros((3, 5, 2)), "at least 8 draws"),
        (np.zeros((3, 100, 4)), r"'theta' has 2 coordinates"),
        (np.zeros((5, 100, 2)), "5 rows"),
        (np.zeros((2, 100, 2)), "2 rows(.|\n)*condition has 3"),
    ],
    ids=["no axis of draws", "few", "coordinates", "many rows", "few rows"],
)
def test_draws_of_a_wrong_shape_are_refused(density, posterior, words):
    with pytest.raises(AuditError, match=words):
        given(density, posterior)


def test_a_key_that_is_not_there_is_refused_with_those_that_are(density):
    with pytest.raises(AuditError, match=r"posterior(.|\n)*x"):
        scan(config_of(density, X, MODEL))


def test_the_key_of_the_condition_may_be_named_beside(density):
    config = config_of(density, X, MODEL, data={"posterior": drawn(100)})
    named = replace(config, data=f"{config.data}::x")
    one, other = columns(scan(config)), columns(scan(named))
    np.testing.assert_array_equal(one["trace"], other["trace"])


def test_an_input_with_a_draw_that_is_not_finite_is_skipped(density):
    posterior = drawn(100)
    posterior[1, 7] = np.nan
    report = given(density, posterior, max_skipped=1)
    assert [row.index for row in report.skipped] == [1]
    assert "not finite" in report.skipped[0].reason
    clean = given(density, drawn(100))
    np.testing.assert_array_equal(
        columns(report)["trace"], columns(clean)["trace"][[0, 2]]
    )


def test_noise_may_be_given_too(tmp_path):
    path = onnx_file(tmp_path / "s.onnx", push, {"x": 3, "z": 2}, ["theta"])
    z = np.random.default_rng(1).standard_normal((len(X), SIZE, 2))
    options = {"data": {"base": z}, "draws_per_input": SIZE}
    report = report_of(path, X, {"noise": "z:base"}, **options)
    assert_within(columns(report, "quantile"), np.stack([transport(x) for x in X]))
    assert "'base' of the data (given, not drawn)" in notes_of(report, "quantile")


def test_noise_that_is_neither_a_law_nor_a_key_is_refused(tmp_path):
    path = onnx_file(tmp_path / "s.onnx", push, {"x": 3, "z": 2}, ["theta"])
    with pytest.raises(ConfigError, match="normal, uniform, logistic, or a key"):
        report_of(path, X, {"noise": "z:cauchy"})
