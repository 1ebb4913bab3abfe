"""The two-sided table: shares of checked inputs that reach τ, by hand."""

import numpy as np

from audit.reports.sampling import Sample
from audit.reports.two_sided import Asked, two_sided
from audit.reports.values import Values

TAU = 0.7
WHY = {"not checked": np.ones(6, bool)}


def test_an_input_at_the_level_has_reached_it_and_weighs_what_it_stands_for():
    """Of the checked inputs 0, 1, 3 and 4 one is at τ, one above it, one unknown."""
    sample = Sample(np.array([0, 1, 3, 4]), np.array([3.0, 1, 1, 1]), np.zeros(4, int))
    found = np.array([TAU, 0.999 * TAU, np.nan, 2 * TAU, np.nan, 9.0])
    columns = {
        "witness@0.1": Values.of(found, None, WHY),
        "predicted@0.1": Values.of(np.full(6, TAU)),
        "witness@0.01": Values.of(np.full(6, np.nan), None, WHY),
        "trace": Values.of(np.ones(6)),
    }
    medians = {"witness@0.1": 1.5, "predicted@0.1": TAU, "witness@0.01": None}
    small, large = two_sided(columns, medians, sample, Asked("inf", TAU))
    assert (small.size, large.size, large.norm) == (0.01, 0.1, "inf")
    assert (small.witness.n, small.witness.reason) == (0, "not checked")
    assert (large.witness.n, large.witness.p50) == (3, 1.5)
    assert large.witness.reaching == (3 + 1) / 5
    assert large.witness.reason == "not checked"
    assert (large.predicted.n, large.predicted.reaching) == (4, 1.0)
    assert large.certificate is None


def test_a_share_is_written_to_twelve_digits():
    """Sums of weights in another order would differ in the last of sixteen."""
    sample = Sample(np.arange(3), np.ones(3), np.zeros(3, int))
    columns = {"witness@1": Values.of(np.array([TAU, 2 * TAU, 0.0]))}
    (rung,) = two_sided(columns, {"witness@1": TAU}, sample, Asked("2", TAU))
    assert rung.witness.reaching == 0.666666666667
