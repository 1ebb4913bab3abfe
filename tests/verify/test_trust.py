"""What makes numbers doubtful: each limit itself is still held, what is beyond is said.

The limits are written out here as the warnings print them.
"""

import numpy as np
import pytest

from audit.reports.values import Values
from audit.verify.trust import _above, trust_warnings

UP, DOWN = np.inf, -np.inf


def codes(rel_error=None, **columns):
    """Return the codes that are said of one input with these columns."""
    values = {"eigenvalue": 1.0, **columns}
    table = {
        name: Values.of(np.array([float(value)])) for name, value in values.items()
    }
    return {code for code, _ in trust_warnings("kl", table, rel_error)}


@pytest.mark.parametrize(
    ("quantity", "limit", "worse", "code", "others"),
    [
        ("quadrature_error", 1e-3, UP, "quadrature_kl", {}),
        ("rhat", 1.05, UP, "chains_kl", {}),
        ("direction_angle", 30.0, UP, "unresolved_kl", {"rank": 2}),
        ("trace_share", 0.1, UP, "heavy_tails_kl", {"draws": 64}),
        ("units", 20, DOWN, "few_draws_kl", {}),
        ("trace_se", 0.25, UP, "monte_carlo_error", {"trace": 2.5, "rel_error": 0.1}),
        ("score_mean", 0.75, UP, "score_mean", {"trace": 0.0, "score_mean_se": 0.1875}),
    ],
)
def test_a_limit_is_held_and_what_is_beyond_is_said(
    quantity, limit, worse, code, others
):
    assert code not in codes(**{quantity: limit, **others})
    beyond = np.nextafter(float(limit), worse)
    assert code in codes(**{quantity: beyond, **others})


def test_of_few_draws_one_may_carry_much():
    for draws, said in ((63, False), (64, True)):
        assert ("heavy_tails_kl" in codes(trace_share=0.5, draws=draws)) == said


def test_a_mean_score_is_beside_the_size_of_one():
    """4 deviations are no news below a twentieth of √(trace + mean²)."""
    for mean, said in ((0.0500, False), (0.0502, True)):
        found = codes(score_mean=mean, score_mean_se=0.0, trace=1.0)
        assert ("score_mean" in found) == said  # 0.05/√(1 − 0.05²) = 0.05006


@pytest.mark.parametrize(("rank", "said"), [(1, False), (2, True)])
def test_one_direction_alone_is_the_worst_however_small_the_gap(rank, said):
    assert ("isotropic_kl" in codes(gap=0.0, rank=rank)) == said
    assert ("unresolved_kl" in codes(direction_angle=80.0, rank=rank)) == said


def test_a_standard_error_is_held_against_the_share_that_was_asked_for():
    """Of the trace, and of the eigenvalue, where they have one: either is enough."""
    columns = {
        "trace": np.array([10.0, 10.0, 10.0, 0.1]),
        "trace_se": np.array([0.9, 1.0, 1.1, 0.5]),
        "eigenvalue": np.array([4.0, 4.0, 4.0, 4.0]),
    }
    assert _above(columns, 0.1).tolist() == [False, False, True, True]
    columns["eigenvalue_se"] = np.array([0.5, 0.1, 0.1, 0.1])
    assert _above(columns, 0.1).tolist() == [True, False, True, True]
