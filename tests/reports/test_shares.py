"""Means of zeros and ones in a report: intervals of shares."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from audit.reports.build import build_report
from audit.reports.sampling import Sample
from audit.reports.values import Values
from reports.synthetic import CONFIG, measured_of

KEY = "gaussian_parted"


def summary(k, n, weights=None):
    """Return the summary of a column with k ones among n inputs."""
    measured = measured_of(np.arange(1.0, n + 1))
    measured.columns["kl"][KEY] = Values.of((np.arange(n) < k).astype(float))
    weights = np.ones(n) if weights is None else weights
    strata = np.unique(weights, return_inverse=True)[1]
    sample = Sample(np.arange(n), weights, strata)
    asked = {**measured.checks.quantities, "kl": (KEY,)}
    measured.checks = replace(measured.checks, sample=sample, quantities=asked)
    return build_report(measured, CONFIG).divergences["kl"].summary[KEY]


@pytest.mark.parametrize(("k", "n"), [(0, 10), (0, 300), (4, 60), (60, 60)])
def test_of_all_inputs_it_is_that_of_the_binomial_law(k, n):
    exact = stats.binomtest(k, n).proportion_ci(method="exact")
    assert summary(k, n).ci95.mean == pytest.approx((exact.low, exact.high), abs=1e-9)


@pytest.mark.parametrize("k", [0, 80])
def test_a_sample_that_is_all_alike_is_not_certain_of_the_others(k):
    found = summary(k, 80, np.repeat([1.0, 3.3], 40))
    assert (found.mean, found.ci95.mean) == (pytest.approx(k / 80), None)
