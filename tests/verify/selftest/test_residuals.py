"""When another reading is called a mistake: nats that it has to gain, in numbers.

The rows are normal laws whose θ are quantiles: log-likelihoods are sums by hand.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from audit.families.location_scale import Normal
from audit.verify.selftest.pairing import strangers
from audit.verify.selftest.pairs import Rows, rows_with_theta
from audit.verify.selftest.readings import Reading
from audit.verify.selftest.residuals import _as_meant, _better, _explains, _gain
from audit.verify.selftest.rivals import _FACTORS
from audit.verify.selftest.units import Other


@pytest.mark.parametrize("unknown", [0, 1])
def test_twenty_rows_with_x_and_theta_are_judged_and_fewer_are_not(unknown):
    """A row whose θ is no number is none, nor one whose x, its own law's φ, is 0."""
    x = torch.linspace(1, 2, 22, dtype=torch.float64).repeat(2, 1).T
    x[3, 1] = 0.0
    theta = np.arange(22.0)
    theta[7 : 8 + unknown] = np.nan
    model = SimpleNamespace(
        inputs=SimpleNamespace(finite=lambda index: np.isfinite(x[index, 0].numpy())),
        rows=lambda index: (x[index], {}),
        density=SimpleNamespace(parameter_map=lambda own, held: own),
        space="input",
    )
    family = Normal({"loc": (), "scale": ()})
    it = SimpleNamespace(family=family, model=model, spread=lambda most: np.arange(22))
    it.index = np.arange(22)
    found = rows_with_theta(it, theta)
    if unknown:
        assert found == "too few rows are members of the family"
        theta[1:3] = np.nan
        assert rows_with_theta(it, theta).startswith("18 rows have x and θ: fewer")
        return
    assert len(found.phi) == 20
    assert found.theta.tolist() == [v for v in range(22) if v not in (3, 7)]


@pytest.mark.parametrize(
    ("count", "gain", "paid", "enough"),
    [
        (20, 1.2, 0.0, False),  # 24 nats in all
        (20, 1.3, 0.0, True),  # 26
        (20, 1.7, 10.0, False),  # 34, and 35 are asked for
        (20, 1.8, 10.0, True),
        (200, 0.24, 0.0, False),  # 48 in all, too little of each
        (200, 0.26, 0.0, True),
    ],
)
def test_a_reading_gains_a_quarter_of_a_nat_a_row_and_25_in_all(
    count, gain, paid, enough
):
    stated = torch.linspace(-3, -1, count, dtype=torch.float64)
    meant = stated + gain
    rows = SimpleNamespace(phi=None, expected=lambda phi: float(stated.mean()))
    assert _explains(rows, stated, meant, float(meant.mean()), paid) is enough


@pytest.mark.parametrize(("off", "enough"), [(0.49, True), (0.51, False)])
def test_a_reading_is_what_its_law_expects_to_half_a_nat(off, enough):
    stated = torch.full((40,), -4.0, dtype=torch.float64)
    rows = SimpleNamespace(phi=None, expected=lambda phi: -4.0)
    assert _explains(rows, stated, stated + 2, -2.0 - off) is enough
    far = SimpleNamespace(phi=None, expected=lambda phi: 96.0)  # 100 off: 2 are allowed
    assert _explains(far, stated, stated + 2, -2.0 - 4 * off) is enough


def rows_of(factor, count=400):
    """Rows of N(0, 1) whose θ are the quantiles of N(0, f²), with that mean square."""
    levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    theta = torch.from_numpy(stats.norm.ppf(levels.numpy())).unsqueeze(1)
    theta = theta * factor / theta.square().mean().sqrt()
    family = Normal({"loc": (1,), "scale": (1,)})
    phi = torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(count, 2)
    return Rows(family, phi, theta, theta)


@pytest.mark.parametrize(
    ("place", "mistake"),
    [(64, False), (65, False), (67, True), (69, True), (71, True)],
)
def test_where_a_factor_is_all_a_tie_counts_from_a_factor_of_two_on(place, mistake):
    """Read as the best constant factor has it, θ are as likely, to the last bit."""
    factor = float(_FACTORS[place])
    assert mistake == (factor >= 2)
    rows = rows_of(factor)
    stated = rows.log_likelihood(rows.phi)
    reading = Reading("scale", lambda v: factor * v, "another unit", "multiply")
    gain = _gain(rows, "scale", reading, stated)
    if not mistake:
        assert gain is None
        return
    # ½ (f² − 1) − log f, as the mean of θ² is f²
    assert gain == pytest.approx((factor**2 - 1) / 2 - math.log(factor), rel=1e-9)


@pytest.mark.parametrize(("short", "mistake"), [(4.9, True), (5.1, False)])
def test_from_a_factor_of_three_on_a_reading_may_fall_five_nats_short(short, mistake):
    """At f e^a it lacks n (a + (e^−2a − 1) / 2) nats of the best factor f."""
    count, factor = 400, float(_FACTORS[72])
    low, high = 0.0, 1.0
    for _ in range(60):
        a = (low + high) / 2
        lacks = count * (a + math.expm1(-2 * a) / 2)
        low, high = (a, high) if lacks < short else (low, a)
    rows = rows_of(factor, count)
    reading = Reading("scale", lambda v: factor * math.exp(low) * v, "unit", "multiply")
    gain = _gain(rows, "scale", reading, rows.log_likelihood(rows.phi))
    assert (gain is not None) is mistake


def test_data_in_other_units_gain_what_they_are_more_likely_by():
    """Read as N(0, f²), with a Jacobian of e^½ that counts as well."""
    factor = 3.0
    rows = rows_of(factor)
    stated = rows.log_likelihood(rows.phi)
    meant = rows.with_phi(rows.changed("scale", lambda v: factor * v))
    other = Other("theta", "other units", "divide", meant, 0.5)
    found = _as_meant(rows, stated, other)
    wanted = (factor**2 - 1) / 2 - math.log(factor) + 0.5
    assert found.gain == pytest.approx(wanted, rel=1e-9)
    assert (found.name, found.what, found.todo) == ("theta", "other units", "divide")
    assert _as_meant(rows, stated, other._replace(paid=400 * wanted)) is None


def test_a_factor_below_one_counts_as_its_inverse():
    """θ are a third of what N(0, 1) says: ½ (f² − 1) − log f nats a row."""
    factor = max(f for f in map(float, _FACTORS) if f < 1 / 3)
    rows = rows_of(factor)
    reading = Reading("scale", lambda v: factor * v, "another unit", "divide")
    gain = _gain(rows, "scale", reading, rows.log_likelihood(rows.phi))
    assert gain == pytest.approx((factor**2 - 1) / 2 - math.log(factor), rel=1e-9)


def law_of(off, scale):
    """Rows of N(0, s²), s from .05 to .4, whose θ are `off` beside its quantiles."""
    count = 400
    s = torch.logspace(math.log10(0.05), math.log10(0.4), count, dtype=torch.float64)
    levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    z = torch.from_numpy(stats.norm.ppf(levels.numpy()))
    z = z[torch.randperm(count, generator=torch.Generator().manual_seed(1))]
    phi = torch.stack([torch.zeros(count, dtype=torch.float64), scale(s)], dim=1)
    family = Normal({"loc": (1,), "scale": (1,)})
    return Rows(family, phi, (off + s * z).unsqueeze(1), s.unsqueeze(1))


SQRT = Reading("scale", torch.sqrt, "a variance is read", "write sqrt")


@pytest.mark.parametrize("off", [0.5, -1.0])
def test_a_law_that_is_off_is_not_misread(off):
    """√s is nearer to what θ are off than s is, and a law in its place nearer."""
    rows = law_of(off, lambda s: s)
    stated = rows.log_likelihood(rows.phi)
    wider = rows.log_likelihood(rows.changed("scale", torch.sqrt))
    assert float((wider - stated).sum()) > 400
    assert _gain(rows, "scale", SQRT, stated) is None


@pytest.mark.parametrize("off", [0.0, 0.02])
def test_a_variance_that_is_read_as_a_deviation_is_named_beside_its_rivals(off):
    rows = law_of(off, torch.square)
    assert _gain(rows, "scale", SQRT, rows.log_likelihood(rows.phi)) > 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (torch.rsqrt, "a precision is read as a standard deviation"),
        (torch.reciprocal, "an inverse scale"),
    ],
)
def test_a_precision_is_told_from_a_deviation(change, words):
    rows = law_of(0.0, lambda s: s ** (-2 if change is torch.rsqrt else -1))
    stated = rows.log_likelihood(rows.phi)
    better = max(_better(rows, stated), key=lambda found: found.gain)
    assert better.what.startswith(words)
    right = rows.log_likelihood(law_of(0.0, lambda s: s).phi)
    assert better.gain == pytest.approx(float((right - stated).mean()), rel=1e-9)


@pytest.mark.parametrize("off", [1.0, 3.0])
def test_a_law_beside_its_theta_is_neither_swapped_nor_that_of_other_rows(off):
    """The location follows x, with a spread as large as the scales."""
    rows = law_of(0.0, lambda s: s)
    loc = torch.linspace(-1, 1, 400, dtype=torch.float64)
    own = torch.stack([loc, rows.phi[:, 1]], dim=1)
    theta = rows.theta + loc.unsqueeze(1) - off
    it = Rows(rows.family, own, theta, own)
    assert not list(_better(it, it.log_likelihood(own)))
    assert strangers(it) is None
