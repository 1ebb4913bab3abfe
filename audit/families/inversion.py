"""Quantile functions of laws on panels, and the distance between two of them.

E(T − T')² is an integral over the levels u of the first law, whose nodes already know
their levels; the second law's quantile there solves C'(y) = u. The panel is found by
bisection over the edges, the place in it by Newton's method on the Legendre expansion
of C', kept inside a bracket. Levels above the median are counted from the top, so that
1 − u never loses its digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.families.lines import Line, by_chunks
from audit.families.panels import Panels
from audit.families.special import times
from audit.families.survey import Survey, panels_of, survey, where_known

NEWTON_STEPS = 12  # at most; 8 give rounding
CONVERGED = 4e-15  # of a panel's half width


def quantile_distance(line: Line, left: Tensor, right: Tensor) -> Tensor:
    """Return E(T − T')² [M] of the increasing maps of two laws on the line."""

    def distance(left: Tensor, right: Tensor, ours: Survey, theirs: Survey) -> Tensor:
        panels, others = panels_of(ours), panels_of(theirs)
        density = line.log_density(panels.nodes, left.unsqueeze(1)).exp()
        masses = panels.cumulative(density.unsqueeze(-1))
        below, above = (part[..., 0] for part in masses)
        foreign = line.log_density(others.nodes, right.unsqueeze(1)).exp()
        y = invert(others, foreign, below, above, panels.nodes)
        gap = line.chart.point(panels.nodes) - line.chart.point(y)
        return times(panels.weights * density, gap.square()).sum(-1)

    def chunk(left: Tensor, right: Tensor) -> Tensor:
        ours, theirs = survey(line, left, 2), survey(line, right, 2)
        lost = ours.lost | theirs.lost
        return where_known(distance, lost, left, right, ours, theirs)

    return by_chunks(chunk, line, left, right, copies=20)


def invert(
    panels: Panels, density: Tensor, below: Tensor, above: Tensor, near: Tensor
) -> Tensor:
    """Return y [M, K] where the integral of `density` [M, E k] has those values."""
    expansion = panels.expansion(density)  # [M, E, k], of the density in each panel
    mass = expansion[..., 0] * panels.half_widths.squeeze(-1) * 2
    under = torch.nn.functional.pad(mass.cumsum(-1), (1, 0))  # at the edges
    over = torch.nn.functional.pad(mass.flip(-1).cumsum(-1).flip(-1), (0, 1))
    from_below = torch.searchsorted(under, below.contiguous(), right=True) - 1
    from_above = (
        over.shape[-1]
        - 1
        - torch.searchsorted(
            over.flip(-1).contiguous(), above.contiguous(), right=False
        )
    )
    low = below < above
    index = torch.where(low, from_below, from_above).clamp(0, mass.shape[-1] - 1)
    place = Place(
        torch.where(low, below, above) / half_of(panels, index),
        torch.where(low, under.gather(-1, index), over.gather(-1, index))
        / half_of(panels, index),
        torch.where(low, 1.0, -1.0).to(below),
        near,
    )
    return _inside(panels, expansion, index, place)


@dataclass(frozen=True)
class Place:
    """What is looked for in a panel, in units of its half width, each [M, K].

    Args:
        goal: the mass in the tail beyond the place, on the side it is counted from.
        base: that mass at the panel's left edge.
        sign: 1 where it is counted from below, and grows with the place; −1 else.
        near: a guess of y.
    """

    goal: Tensor
    base: Tensor
    sign: Tensor
    near: Tensor


def half_of(panels: Panels, index: Tensor) -> Tensor:
    """Return the half widths [M, K] of the panels `index`."""
    return panels.half_widths.squeeze(-1).gather(-1, index)


def _inside(panels: Panels, expansion: Tensor, index: Tensor, at: Place) -> Tensor:
    """Solve for the place in panel `index` [M, K] by Newton's method on the logarithm.

    A tail is close to exponential within a panel, so the logarithm of its mass is
    close to linear.
    """
    order = expansion.shape[-1]
    by_degree = expansion.movedim(-1, 0).contiguous()  # [k, M, E]
    coefficients = by_degree.gather(2, index.expand(order, -1, -1))
    one = torch.ones_like(at.goal)
    before_panel = at.sign * (at.base - at.goal) >= 0
    whole = at.base + at.sign * _legendre(coefficients, one)[1]
    after_panel = at.sign * (whole - at.goal) <= 0
    low = torch.where(after_panel, one, -one)
    high = torch.where(before_panel, -one, one)
    left = panels.edges[:, :-1].gather(-1, index)
    half = half_of(panels, index)
    place = ((at.near - left) / half - 1).clamp(low, high)
    for _ in range(NEWTON_STEPS):
        density, integral = _legendre(coefficients, place)
        mass = at.base + at.sign * integral
        short = at.sign * (mass - at.goal) < 0
        low, high = torch.where(short, place, low), torch.where(short, high, place)
        step = place - at.sign * (mass / at.goal).log() * mass / density
        inside = (step >= low) & (step <= high)
        before, place = place, torch.where(inside, step, (low + high) / 2)
        if bool(((place - before).abs() <= CONVERGED).all()):
            break
    return left + half * (1 + place)


def _legendre(coefficients: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Return Σ c_l P_l and its integral from −1, by the three-term recurrence.

    The integral of P_l from −1 is (P_{l+1} − P_{l−1}) / (2l + 1).
    """
    before, now = torch.ones_like(place), place
    value = coefficients[0]
    integral = value * (1 + place)
    for degree in range(1, len(coefficients)):
        after = ((2 * degree + 1) * place * now - degree * before) / (degree + 1)
        value = value + coefficients[degree] * now
        integral = integral + coefficients[degree] * (after - before) / (2 * degree + 1)
        before, now = now, after
    return value, integral
