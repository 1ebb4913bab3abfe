"""Quantile functions of laws on panels.

Where a law has some level u solves C(y) = u. The panel is found by bisection over the
edges, the place in it by Newton's method on the Chebyshev series of C and of its
derivative, kept inside a bracket and begun between the two nodes whose levels enclose
u. Levels above the median are counted from the top, so that 1 − u never loses its
digits.

Newton's method is quadratic: after a step of 1e-8 of a panel the next is 1e-16. Levels
that have converged are left alone. So are, where they were begun, those beyond which
there is less than `NEGLIGIBLE` of the second moment: of a heavy tail a mass of 1e-22
still holds a good part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor

from audit.nodes.lines import Line
from audit.nodes.panels import ORDER, Panels
from audit.nodes.special import times

NEWTON_STEPS = 12  # at most
CONVERGED = 1e-8  # of a panel's half width, in the last step but one
RESOLVED = 1e-15  # of a law's mass, in a panel
HALVINGS = 4  # at most, for that
NEGLIGIBLE = 1e-22  # of the second moment
BLOCK = 2**14  # levels at a time, whose series a cache holds


@dataclass(frozen=True)
class Placed:
    """Laws [M] on panels that resolve them, with the levels of the nodes [M, K]."""

    panels: Panels
    density: Tensor
    below: Tensor
    above: Tensor
    matters: Tensor

    @classmethod
    def of(cls, line: Line, rows: Tensor, panels: Panels) -> Placed:
        """Return laws [M, q] on their panels, or on halves of them."""
        panels, density = _resolving(line, rows, panels)
        masses = panels.cumulative(density.unsqueeze(-1))
        below, above = (part[..., 0] for part in masses)
        share = _second_moment_share(line, panels, density, below, above)
        return cls(panels, density, below, above, share > NEGLIGIBLE)

    def __getitem__(self, places: Tensor) -> Placed:
        """Return those of some laws."""
        panels, *rest = (getattr(self, part.name) for part in fields(self))
        return Placed(Panels(panels.edges[places]), *(part[places] for part in rest))

    @property
    def levels(self) -> Levels:
        """Those of the nodes."""
        return Levels(self.below, self.above, self.matters)

    @cached_property
    def coefficients(self) -> tuple[Tensor, Tensor]:
        """Chebyshev series of the density and its integral [k, M E], [k + 1, M E]."""
        series = self.panels.series(self.density)
        density, integral = (part.flatten(0, 1).T.contiguous() for part in series)
        return density, integral

    @cached_property
    def edge_levels(self) -> Levels:
        """Those of the edges."""
        weighted = self.panels.weights * self.density
        mass = weighted.reshape(len(weighted), -1, ORDER).sum(-1)
        under = torch.nn.functional.pad(mass.cumsum(-1), (1, 0))
        over = torch.nn.functional.pad(mass.flip(-1).cumsum(-1).flip(-1), (0, 1))
        return Levels(under, over, torch.ones_like(under, dtype=torch.bool))


def _resolving(line: Line, rows: Tensor, panels: Panels) -> tuple[Panels, Tensor]:
    """Return panels on which the density is its series to rounding, and the density.

    Panels integrate a density to rounding before their polynomials are it at every
    place, and the more so where one bulk falls steeply into another that is flat.
    Levels within a panel are taken of the polynomials, and where a quantile steps over
    a gap a mass of 1e-7 may be all that counts.
    """
    for rounds in range(HALVINGS + 1):
        density = line.log_density(panels.nodes, rows.unsqueeze(1)).exp()
        coarse = panels.coarse(density, RESOLVED)
        if rounds == HALVINGS or not bool(coarse.any()):
            break
        panels = panels.halved(coarse)
    return panels, density


def _second_moment_share(
    line: Line, panels: Panels, density: Tensor, below: Tensor, above: Tensor
) -> Tensor:
    """Return what the tail beyond each node holds of mass and second moment, about."""
    weight, point = panels.weights * density, line.chart.point(panels.nodes)
    mean = times(weight, point).sum(-1, keepdim=True)
    square = (point - mean).square()
    typical = times(weight, square).sum(-1, keepdim=True)
    tail = torch.minimum(below, above)
    return torch.maximum(tail, times(tail, square / typical))


@dataclass(frozen=True)
class Levels:
    """Levels u [M, K] of laws.

    Args:
        below, above: u and 1 − u.
        matters: whether there is enough beyond them for them to matter.
    """

    below: Tensor
    above: Tensor
    matters: Tensor

    def gather(self, places: Tensor) -> Levels:
        """Return those at places [M, K']."""
        parts = (self.below, self.above, self.matters)
        return Levels(*(part.gather(-1, places) for part in parts))


def invert(law: Placed, at: Levels) -> Tensor:
    """Return y [M, K] where a law has those levels."""
    panels, below, above = law.panels, at.below, at.above
    half, edges = panels.half_widths.squeeze(-1), law.edge_levels
    under, over, last = edges.below, edges.above, half.shape[-1] - 1
    from_below = torch.searchsorted(under, below.contiguous(), right=True) - 1
    counted = torch.searchsorted(over.flip(-1).contiguous(), above.contiguous())
    from_above = last + 1 - counted
    low = below < above
    index = torch.where(low, from_below, from_above).clamp(0, last)
    width, left = half.gather(-1, index), panels.edges[:, :-1].gather(-1, index)
    row = torch.arange(len(index), device=index.device).unsqueeze(-1)
    panel = (row * (last + 1) + index).flatten()
    goal = torch.where(low, below, above) / width
    base = torch.where(low, under.gather(-1, index), over.gather(-1, index)) / width
    sign = torch.where(low, 1.0, -1.0).to(below)
    start = (_between_nodes(law, at, low) - left) / width - 1
    found = start.clamp(-1, 1).flatten()
    for some in torch.split(at.matters.flatten().nonzero()[:, 0], BLOCK):
        place = Place(
            *(part.flatten()[some] for part in (goal, base, sign)),
            *(_columns(part, panel[some]) for part in law.coefficients),
        )
        found[some] = _inside(place, found[some])
    return left + width * (1 + found.reshape(index.shape))


def _between_nodes(law: Placed, at: Levels, low: Tensor) -> Tensor:
    """Return about where a law has levels [M, K]: between two of its nodes.

    There the place is taken for a cubic in the logarithm of the tail's mass, with the
    slope mass over density at both nodes (Hermite's).
    """
    last = law.below.shape[-1] - 1
    after = torch.searchsorted(law.below, at.below.contiguous())
    counted = torch.searchsorted(law.above.flip(-1), at.above.contiguous(), right=True)
    after = torch.where(low, after, last + 1 - counted).clamp(1, last)
    goal = torch.where(low, at.below, at.above).log()
    sign = torch.where(low, 1.0, -1.0).to(goal)
    ends = []
    for index in (after - 1, after):
        below, above = (part.gather(-1, index) for part in (law.below, law.above))
        mass = torch.where(low, below, above)
        slope = sign * mass / law.density.gather(-1, index)
        ends.append((mass.log(), law.panels.nodes.gather(-1, index), slope))
    (first, left, rise), (second, right, fall) = ends
    width, run = right - left, second - first
    share = ((goal - first) / run).nan_to_num(0.5).clamp(0, 1)
    bend = (1 - share) * (rise * run - width) - share * (fall * run - width)
    bent = (share + share * (1 - share) * bend / width).nan_to_num(-1.0)
    inside = (bent >= 0) & (bent <= 1)
    return left + torch.where(inside, bent, share) * width


@dataclass(frozen=True)
class Place:
    """What is looked for in a panel, in units of its half width, for n levels.

    Args:
        goal: the mass in the tail beyond the place, on the side it is counted from [n].
        base: that mass at the panel's left edge [n].
        sign: 1 where it is counted from below, and grows with the place; −1 else [n].
        density, integral: the Chebyshev series in the panel [k, n], [k + 1, n].
    """

    goal: Tensor
    base: Tensor
    sign: Tensor
    density: Tensor
    integral: Tensor

    def take(self, chosen: Tensor) -> Place:
        """Return some of the levels."""
        places = chosen.nonzero()[:, 0]
        return Place(*(_columns(getattr(self, f.name), places) for f in fields(self)))

    def mass(self, place: Tensor) -> Tensor:
        """Return the mass [n] in the tail beyond places [n]."""
        return self.base + self.sign * chebyshev(self.integral, place)


def _inside(at: Place, near: Tensor) -> Tensor:
    """Solve for the places [n] in [-1, 1] by Newton's method on the logarithm.

    A tail is close to exponential within a panel, so the logarithm of its mass is
    close to linear. Where it ends, the mass itself is: its Newton step is taken where
    the logarithm's leaves the bracket, and half of the bracket where both do.
    """
    one = torch.ones_like(near)
    before_panel = at.sign * (at.base - at.goal) >= 0
    after_panel = at.sign * (at.base + at.sign * at.integral.sum(0) - at.goal) <= 0
    low = torch.where(after_panel, one, -one)
    high = torch.where(before_panel, -one, one)
    place = near.clamp(low, high)
    found, active = place.clone(), torch.arange(len(place), device=place.device)
    moving = torch.ones_like(place, dtype=torch.bool)
    for _ in range(NEWTON_STEPS):
        mass = at.mass(place)
        short = at.sign * (mass - at.goal) < 0
        low, high = torch.where(short, place, low), torch.where(short, high, place)
        slope = at.sign * chebyshev(at.density, place)
        step = (low + high) / 2
        for change in ((mass - at.goal), (mass / at.goal).log() * mass):
            newton = place - change / slope
            inside = (newton >= low) & (newton <= high)
            step = torch.where(inside, newton, step)
        before, place = place, torch.where(moving, step, place)
        found[active] = place
        moving = moving & ~((place - before).abs() <= CONVERGED)
        count = int(moving.sum())
        if not count:
            break
        if 2 * count < len(moving):
            at, low, high = at.take(moving), low[moving], high[moving]
            place, active = place[moving], active[moving]
            moving = moving[moving]
    return found


def _columns(values: Tensor, places: Tensor) -> Tensor:
    """Return values[..., places]; to gather is several times as fast as to index."""
    return values.gather(-1, places.expand(*values.shape[:-1], -1))


def chebyshev(coefficients: Tensor, x: Tensor) -> Tensor:
    """Return Σ c_l T_l(x) [n] from coefficients [k, n], by Clenshaw's recurrence."""
    twice = 2 * x
    now, after = coefficients[-1], torch.zeros_like(x)
    for each in coefficients[1:-1].flip(0):
        now, after = torch.addcmul(each - after, twice, now), now
    return torch.addcmul(coefficients[0] - after, x, now)
