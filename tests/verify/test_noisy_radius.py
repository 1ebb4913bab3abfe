"""A radius with an interval: what noise hides, and what it does not.

The exact divergence is a function of the test's own, along one axis: D(r) = r / a with
an error that moves its crossings with τ = 1 to chosen places.
"""

from types import SimpleNamespace

import pytest
import torch
from scipy import stats

from audit.verify.critical import HIDDEN, Critical, critical_radius

Z = stats.norm.ppf(0.975)


class Drawn:
    """D and its error on rays of n inputs: values(r) and errors(r), each [n, K]."""

    laws = SimpleNamespace(sampled=True)

    def __init__(self, values, errors, n):
        self.values, self.errors = values, errors
        self.site = SimpleNamespace(lengths=lambda: torch.ones(n).double())

    def __call__(self, rows, u):
        r = u.norm(dim=-1)
        return self.values(rows, r), self.errors(rows, r)


def found(values, errors, n, guess=1.0):
    along = torch.zeros(n, 2).double()
    along[:, 0] = 1
    local = SimpleNamespace(
        worst=along,
        directed=torch.ones(n, dtype=torch.bool),
        radius=lambda tau: torch.full((n,), guess).double(),
    )
    return critical_radius(Drawn(values, errors, n), local, 1.0)


def between(lower, upper):
    """Return the radii of a D whose interval reaches 1 at `lower` and at `upper`."""
    low, high = (torch.tensor(end).double() for end in (lower, upper))
    middle = 2 / (1 / low + 1 / high)

    def values(rows, r):
        return r / middle[rows, None]

    def errors(rows, r):
        return r * (1 / low - 1 / high)[rows, None] / (2 * Z)

    return found(values, errors, len(lower), float(low.min())), middle


@pytest.mark.parametrize("unit", [0.01, 1.0, 30.0])
def test_an_interval_within_a_factor_of_four_says_something_in_any_unit(unit):
    lower, upper = [unit * end for end in (1, 1, 1, 1)], [1.01, 3.9, 4.1, 9.0]
    critical, middle = between(lower, [unit * end for end in upper])
    assert critical.hidden.tolist() == [False, False, True, True]
    for name, wanted in (("value", middle), ("lower", lower), ("upper", upper)):
        ends = getattr(critical, name)
        assert ends[2:].isnan().all()
        scale = unit if name == "upper" else 1.0
        for k in (0, 1):
            assert float(ends[k]) == pytest.approx(scale * float(wanted[k]), rel=3e-6)
    radius = critical.columns(1.0)["critical_radius"]
    assert [radius.reason(k) == HIDDEN for k in range(4)] == critical.hidden.tolist()


def test_noise_hides_nothing_where_a_level_is_reached_at_once_or_never():
    """Both ends of such an interval are 0, or ∞: as narrow as can be."""
    levels = torch.tensor([torch.inf, 0.0, 0.5]).double()

    def values(rows, r):
        return levels[rows, None] + 0 * r

    critical = found(values, lambda rows, r: 0.1 + 0 * r, 3)
    for ends in (critical.value, critical.lower, critical.upper):
        assert ends.tolist() == [0.0, torch.inf, torch.inf]
    assert not critical.hidden.any()
    shown = critical.columns(1.0)
    assert set(shown) == {
        "critical_radius",
        "critical_radius_lower",
        "critical_radius_upper",
    }
    assert "not reached" in shown["critical_radius"].reason(1)


def test_what_is_found_at_the_same_radius_is_no_nearer():
    """The first direction is kept, but where a smaller radius, or a first, is found."""
    here = torch.tensor([1.0, 1.0, torch.nan, torch.inf], dtype=torch.float64)
    there = torch.tensor([1.0, 0.5, 2.0, torch.inf], dtype=torch.float64)
    flags = torch.zeros(4, dtype=torch.bool)
    own, other = torch.ones(4, 2).double(), torch.zeros(4, 2).double()
    critical = Critical(here, here, here, flags, flags, False, own)
    found = critical.lowered_to(there, other)
    assert found.value.tolist() == [1.0, 0.5, 2.0, torch.inf]
    assert found.u[:, 0].tolist() == [1.0, 0.0, 0.0, 1.0]


def test_noise_hides_a_crossing_that_its_lower_end_never_makes():
    def values(rows, r):
        return 1.1 - torch.exp(-r)

    critical = found(values, lambda rows, r: 0.1 + 0 * r, 1)
    assert critical.hidden.tolist() == [True]
    assert critical.value.isnan().all()
