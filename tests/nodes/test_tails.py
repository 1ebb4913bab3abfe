"""Where a log density stops falling, found on densities whose floors are known."""

import math

import pytest
import torch

from audit.nodes.space import parse_space
from audit.nodes.tails import bounded_space, tails_of

PHI = torch.zeros(2, 1, dtype=torch.float64)


def floored(theta, phi):
    """A standard normal law above a floor of e^-8: it ends at |θ| = √(16 − log 2π)."""
    log_q = -0.5 * theta[:, 0] ** 2 - 0.5 * math.log(2 * math.pi)
    return log_q.clamp_min(-8.0)


def test_a_floor_is_found_on_every_open_side():
    space = parse_space("a:real")
    found = tails_of(floored, PHI, space)
    edge = math.sqrt(16 - math.log(2 * math.pi))
    assert [tail.sign for tail in found] == [-1, 1]
    for tail in found:
        assert tail.level == pytest.approx(-8, abs=0.05)
        assert 0.85 * edge < tail.sign * tail.begins < 1.15 * edge
        assert tail.rises <= 0.05
    assert str(bounded_space(space, found)) == "a:interval(-5,5)"


@pytest.mark.parametrize("space", ["a:unit", "a:interval(0,30)"])
def test_a_side_that_ends_is_not_looked_at(space):
    assert tails_of(floored, PHI, parse_space(space)) == []


@pytest.mark.parametrize(
    "law",
    [
        lambda t, p: -0.5 * t[:, 0] ** 2,
        lambda t, p: -t[:, 0].abs(),
        lambda t, p: -torch.log1p(t[:, 0] ** 2),  # Cauchy
        lambda t, p: -1.1 * torch.log1p(t[:, 0].abs()),  # barely integrable
    ],
)
def test_an_integrable_tail_is_no_flat_one(law):
    assert tails_of(law, PHI, parse_space("a:real")) == []


def test_a_density_that_rises_again_is_said_to():
    def law(theta, phi):
        t = theta[:, 0]
        return torch.maximum(-((t - 2) ** 2), 0.1 * (t - 300))

    (tail,) = tails_of(law, PHI, parse_space("rt:positive"))
    assert "does not fall above rt" in tail.shown(parse_space("rt:positive"))


def test_other_coordinates_stay_and_the_end_is_beyond_the_tail():
    def law(theta, phi):
        rt = theta[:, 0]
        log_q = -((rt.log() + theta[:, 1]) ** 2) - (theta[:, 2] - 0.5) ** 2
        return torch.where(theta[:, 1] > 0, log_q, -60.0).clamp_min(-9.0)

    space = parse_space("rt:positive,choice:{-1,1},w:unit")
    (tail,) = tails_of(law, PHI, space)
    assert (tail.column, tail.sign) == (0, 1)
    assert 0.85 * math.exp(2) < tail.begins < 1.15 * math.exp(2)
    assert str(bounded_space(space, [tail])) in (
        "rt:interval(0,10),choice:{-1,1},w:unit",
    )


@pytest.mark.parametrize(
    "text", ["rt:positive,choice:{-1,1}", "a:interval(-0.5,30),b:unit", "c:{0,1,2.5}"]
)
def test_a_space_is_written_as_it_is_read(text):
    assert str(parse_space(text)) == text
