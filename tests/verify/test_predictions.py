"""Predictions of every registered family, as they are drawn."""

from contextlib import suppress

import numpy as np
import pytest
from families.examples import EXAMPLES, each
from scipy import stats

from audit.nodes.noise import Noise
from audit.verify.predictions import LEVELS, side_by_side

NOISE = Noise(0, np.array([7, 7]), 1024, "auto")


def pair_of(example):
    return side_by_side(example.family, example.phi, NOISE)


@each(EXAMPLES)
def test_every_family_is_drawn_or_says_why(example):
    pair = pair_of(example)
    assert (pair.kind is None) == bool(pair.unpictured)
    assert pair.unpictured in ("", "no prediction is drawn: 2 places with classes each")
    assert set(pair.before.parameters) == set(example.values)
    for law in (pair.before, pair.after):
        if law.quantiles is not None:
            assert law.quantiles.shape[0] == len(LEVELS)
            assert (np.diff(law.quantiles, axis=0) >= 0).all()


@each(EXAMPLES)
def test_one_coordinate_has_its_whole_mass_where_it_is_drawn(example):
    one = None
    with suppress(Exception):  # some have no law of one coordinate
        one = example.first_coordinate
        assert one.family.size
    if one is None:
        pytest.skip("its coordinates are not independent")
    try:
        family, phi = one.family, one.phi
    except Exception:
        pytest.skip("its coordinates are not independent")
    pair = side_by_side(family, phi, NOISE)
    if pair.kind == "masses":
        for law in (pair.before, pair.after):
            assert 0.98 < law.density.sum() < 1 + 1e-6
    if pair.kind == "density":
        (grid,) = pair.axes
        for law in (pair.before, pair.after):
            middle = np.interp(law.quantiles[2, 0], grid, law.density)
            if law.density.max() > 8 * middle:
                continue  # trapezoids overstate the mass beside a pole
            steps = np.diff(grid) * (law.density[1:] + law.density[:-1]) / 2
            finite = np.isfinite(steps)
            assert 0.93 < steps[finite].sum() < 1.05
            below = np.concatenate([[0.0], np.cumsum(np.where(finite, steps, 0.0))])
            found = np.interp(law.quantiles[:, 0], grid, below)
            np.testing.assert_allclose(found, LEVELS, atol=0.06)


def scaled(law):
    return lambda loc=0.0, scale=1.0: law(loc, scale)


QUANTILES = {
    "cauchy": scaled(stats.cauchy),
    "exponential": lambda rate: stats.expon(0, 1 / rate),
    "gumbel": scaled(stats.gumbel_r),
    "half_normal": scaled(stats.halfnorm),
    "laplace": scaled(stats.laplace),
    "normal": scaled(stats.norm),
    "pareto": lambda alpha, scale: stats.pareto(alpha, 0, scale),
    "uniform": lambda low, high: stats.uniform(low, high - low),
}
INVERTED = [one for one in EXAMPLES if one.family_name in QUANTILES]


@each(INVERTED)
def test_quantiles_of_coordinates_that_are_inverted_are_those_of_scipy(example):
    pair = pair_of(example)
    assert pair.how == "quantiles in closed form"
    for row, law in enumerate((pair.before, pair.after)):
        values = {name: np.array(v)[row] for name, v in example.values.items()}
        known = QUANTILES[example.family_name](**(values | example.options))
        expected = known.ppf(np.array(LEVELS)[:, None])
        np.testing.assert_allclose(law.quantiles, expected, rtol=1e-9, atol=1e-12)


def test_every_law_that_scipy_inverts_here_is_among_the_examples():
    assert {one.family_name for one in INVERTED} == set(QUANTILES)
