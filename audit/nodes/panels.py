"""Composite Gauss-Legendre rules on a line, one set of panels for each law.

A density on a line has a bulk of some width h around a centre and tails that reach
R ≫ h away. Edges at centre ± h sinh(t) are equal near the centre and geometric far
away; t steps so that within a panel neither the distance grows by more than a factor
e^GROWTH nor the log density falls by more than FALL. A panel [a, 2a] integrates x^-s,
and a fall of 10 nats, to machine precision with 16 nodes (Trefethen, Approximation
Theory and Approximation Practice, 2013, chapter 19). Sorting the edges of several laws
together resolves all of them.

Shapes: M laws, E panels, k = 16 nodes in each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial import chebyshev, legendre
from torch import Tensor

from audit.nodes.special import times

ORDER = 16
DROP = 46.0  # nats: e^-46 = 1e-20, what a tail may hold of the whole
GROWTH = 1.2  # at most, in t, the log of the distance
FALL = 10.0  # nats, at most
DEEPEST = 3e3  # nats below the peak, stands for no density at all
MOST = 1000  # panels on a side
SURVEY = 65  # points at which the fall is looked up
REFINE = 17  # a tail that ends 40 nats too late has no digits left
SOON = 12  # of the exponents, within which most tails end
EXPONENTS = (*range(-4, 60, 2), *range(60, 1000, 40))


class Rule(NamedTuple):
    """What is done with values at the k nodes of [-1, 1]."""

    nodes: Tensor  # [k]
    weights: Tensor  # [k]
    expansion: Tensor  # values -> Legendre coefficients [k, k]
    series: Tensor  # values -> Chebyshev coefficients [k, k]
    integral: Tensor  # values -> those of the integral from -1 [k + 1, k]
    cumulative: Tensor  # values -> integrals from -1 to each node [k, k]


@lru_cache(maxsize=1)
def gauss_legendre() -> Rule:
    """Return the Gauss-Legendre rule with k nodes."""
    nodes, weights = legendre.leggauss(ORDER)
    basis = legendre.legvander(nodes, ORDER - 1)  # [node, degree]
    expansion = (np.arange(ORDER) + 0.5)[:, None] * basis.T * weights
    integrals = [legendre.legint(row, lbnd=-1) for row in np.eye(ORDER)]
    antiderivative = np.stack([legendre.legval(nodes, c) for c in integrals], axis=1)
    series = np.linalg.inv(chebyshev.chebvander(nodes, ORDER - 1))
    integral = np.stack([chebyshev.chebint(c, lbnd=-1) for c in series.T], axis=1)
    parts = (nodes, weights, expansion, series, integral, antiderivative @ expansion)
    return Rule(*(torch.from_numpy(part) for part in parts))


class Series(NamedTuple):
    """Chebyshev coefficients of a function on panels, and of its integral."""

    density: Tensor  # [M, E, k]
    integral: Tensor  # from the left edge, over the half width [M, E, k + 1]


@dataclass(frozen=True)
class Panels:
    """Panels between consecutive edges [M, E + 1], ascending."""

    edges: Tensor

    @property
    def _rule(self) -> Rule:
        return Rule(*(part.to(self.edges) for part in gauss_legendre()))

    @cached_property
    def half_widths(self) -> Tensor:
        """Half the widths [M, E, 1]."""
        return self.edges.diff(dim=-1).unsqueeze(-1) / 2

    @cached_property
    def nodes(self) -> Tensor:
        """The points [M, E k], ascending."""
        unit = self._rule.nodes
        middle = (self.edges[:, 1:] + self.edges[:, :-1]).unsqueeze(-1) / 2
        return (middle + self.half_widths * unit).flatten(1)

    @cached_property
    def weights(self) -> Tensor:
        """The weights [M, E k] of the points."""
        return (self.half_widths * self._rule.weights).flatten(1)

    def expansion(self, values: Tensor) -> Tensor:
        """Return Legendre coefficients [M, E, k] of values [M, E k] in each panel."""
        by_panel = values.reshape(len(values), -1, ORDER)
        return torch.matmul(by_panel, self._rule.expansion.mT)

    def series(self, values: Tensor) -> Series:
        """Return the Chebyshev series of values [M, E k] in each panel."""
        by_panel = values.reshape(len(values), -1, ORDER)
        rule = self._rule
        return Series(by_panel @ rule.series.mT, by_panel @ rule.integral.mT)

    def coarse(self, values: Tensor, tolerance: float) -> Tensor:
        """Return which panels [M, E] do not resolve an integrand ≥ 0 [M, E k].

        Its last Legendre coefficients are not small beside the integral, times the
        tolerance. What is not finite is left as it is.
        """
        expansion = self.expansion(torch.where(values.isfinite(), values, 0.0))
        width = 2 * self.half_widths.squeeze(-1)
        doubt = expansion[..., -2:].abs().amax(-1) * width
        whole = (expansion[..., 0] * width).sum(-1, keepdim=True)
        known = values.isfinite().reshape(len(values), -1, ORDER).all(-1)
        return (doubt > tolerance * whole) & known

    def halved(self, chosen: Tensor) -> Panels:
        """Return the panels with some [M, E] cut in two; others keep their edges."""
        left = self.edges[:, :-1]
        middle = torch.where(chosen, left + self.half_widths.squeeze(-1), left)
        first = chosen.to(torch.uint8).argsort(dim=-1, descending=True, stable=True)
        count = int(chosen.sum(-1).max())
        middle = middle.gather(-1, first[:, :count])
        return Panels(torch.cat([self.edges, middle], -1).sort(dim=-1).values)

    def cumulative(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the integrals of values [M, E k, q] below and above each node."""
        total, within = self._masses(values)
        shift, rest = torch.nn.functional.pad, total.unsqueeze(2) - within
        before = shift(total.cumsum(1)[:, :-1], (0, 0, 1, 0))
        after = shift(total.flip(1).cumsum(1)[:, :-1], (0, 0, 1, 0)).flip(1)
        sums = before.unsqueeze(2) + within, after.unsqueeze(2) + rest
        return sums[0].flatten(1, 2), sums[1].flatten(1, 2)

    def _masses(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the integrals of values [M, E k, q] over panels, and up to nodes.

        Shapes: [M, E, q], and [M, E, k, q] from the left edge of a node's panel.
        """
        by_panel = values.reshape(len(values), -1, ORDER, values.shape[-1])
        inside = by_panel * self.half_widths.unsqueeze(-1)
        total = torch.einsum("mekq,k->meq", inside, self._rule.weights)
        return total, torch.einsum("mekq,jk->mejq", inside, self._rule.cumulative)

    def scaled_cumulative(
        self, values: Tensor, log_scale: Tensor, log_unit: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the integrals of values · e^scale below and above each node.

        Args:
            values: integrand over e^scale [M, E k, q].
            log_scale: one number for each panel [M, E].
            log_unit: one number for each panel [M, E]; results are over e^unit of the
                panel they are in, so that no tail is too thin to have digits.
        """
        total, within = self._masses(values)
        rest = total.unsqueeze(2) - within
        flipped = _running(total.flip(1), log_scale.flip(1))
        below, above = _running(total, log_scale), [part.flip(1) for part in flipped]
        sums = []
        for part, (earlier, scale) in ((within, below), (rest, above)):
            largest = torch.maximum(scale, log_scale)
            before, here = (scale - largest).exp(), (log_scale - largest).exp()
            whole = earlier.unsqueeze(2) * _lifted(before) + part * _lifted(here)
            whole = times(whole, _lifted((largest - log_unit).exp()))
            sums.append(whole.flatten(1, 2))
        return sums[0], sums[1]


def unresolved(terms: Tensor) -> Tensor:
    """Return what panels of an integrand may be wrong by, at the most of them [M].

    Its last two Legendre coefficients, times the width of the panel.

    Args:
        terms: weight × integrand at the nodes [M, E k].
    """
    rule = gauss_legendre()
    last = (2 * rule.expansion[-2:] / rule.weights).to(terms)
    by_panel = terms.reshape(len(terms), -1, ORDER)
    return torch.matmul(by_panel, last.mT).abs().amax((-2, -1))


def _lifted(values: Tensor) -> Tensor:
    return values[..., None, None]


def _running(totals: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums [M, E, q] of all earlier totals, and their log scale [M, E].

    That is the largest scale so far, so that no sum is more than numbers hold.
    """
    sums, scales = [torch.zeros_like(totals[:, 0])], [log_scale[:, 0]]
    for panel in range(log_scale.shape[-1] - 1):
        before, own = scales[-1], log_scale[:, panel]
        largest = torch.maximum(before, own)
        kept, added = ((s - largest).exp().unsqueeze(-1) for s in (before, own))
        sums.append(sums[-1] * kept + totals[:, panel] * added)
        scales.append(largest)
    return torch.stack(sums, dim=1), torch.stack(scales, dim=1)


class Grading(NamedTuple):
    """How many panels one side of a law takes, as far as each of some points.

    Args:
        t: the points, distances being width · sinh t [M, S].
        cost: panels as far as there [M, S], not whole; what is too deep counts little.
    """

    t: Tensor
    cost: Tensor

    @property
    def total(self) -> Tensor:
        """Panels on the whole side [M]."""
        return self.cost[:, -1]

    def at(self, t: Tensor) -> Tensor:
        """Return how many panels lie before places [M, K]; t is evenly spaced."""
        count = self.t.shape[-1] - 1
        place = (t / self.t[:, -1:] * count).clamp(0, count)
        low = place.long().clamp_max(count - 1)
        ends = self.cost.gather(-1, low), self.cost.gather(-1, low + 1)
        return torch.lerp(*ends, place - low)


def grade(
    log_density: Callable[[Tensor], Tensor], width: Tensor, reach: Tensor
) -> Grading:
    """Return the grading of one side of a law.

    Args:
        log_density: distances [M, K] -> log density at them.
        width: the width of the bulk [M].
        reach: the length of the tail [M].
    """
    unit = torch.linspace(0, 1, SURVEY, dtype=width.dtype, device=width.device)
    t = torch.asinh(reach / width).unsqueeze(-1) * unit
    fall = log_density(width.unsqueeze(-1) * torch.sinh(t))
    fall = torch.maximum(fall, fall.amax(-1, keepdim=True) - DEEPEST).diff(dim=-1)
    cost = (t.diff(dim=-1) / GROWTH + fall.abs() / FALL).cumsum(-1)
    return Grading(t, torch.nn.functional.pad(cost, (1, 0)))


def graded_edges(width: Tensor, grading: Grading) -> Tensor:
    """Return distances [M, E + 1] from 0 to the end, edges of one side of a law."""
    t, cost = grading
    count = int(torch.nan_to_num(grading.total).clamp(1, MOST).max().ceil())
    shares = torch.linspace(0, 1, count + 1, dtype=t.dtype, device=t.device)
    edges = _interpolate(shares * cost[:, -1:], cost, t)
    return width.unsqueeze(-1) * torch.sinh(edges)


def _interpolate(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return y [M, K] at increasing x [M, S], linearly, where x = at [M, K]."""
    after = torch.searchsorted(x, at).clamp(1, x.shape[-1] - 1)
    low, high = x.gather(-1, after - 1), x.gather(-1, after)
    share = ((at - low) / (high - low)).clamp(0, 1)
    return torch.lerp(y.gather(-1, after - 1), y.gather(-1, after), share)


def tail_reach(
    log_mass: Callable[[Tensor], Tensor], width: Tensor, limit: float
) -> Tensor:
    """Return how far a tail reaches [M]; infinite where it does not end.

    Args:
        log_mass: distances [M, K] -> log of (density × distance) at them.
        width: the width of the bulk [M].
        limit: no reach is longer than this.
    """
    powers = torch.tensor(EXPONENTS, dtype=width.dtype, device=width.device).exp2()
    for count in (SOON, len(EXPONENTS)):  # an end is one whatever lies beyond it
        steps = (width.unsqueeze(-1) * powers[:count]).clamp_max(limit)
        mass = log_mass(steps)
        peak = mass.cummax(-1).values
        ended = (mass < peak - DROP) | (steps >= limit)
        if bool(ended.any(-1).all()):
            break
    first = ended.to(torch.uint8).argmax(-1, keepdim=True)
    reach, before = (steps.gather(-1, i) for i in (first, (first - 1).clamp_min(0)))
    shares = torch.linspace(0, 1, REFINE, dtype=width.dtype, device=width.device)
    finer = before * (reach / before) ** shares
    late = log_mass(finer) < peak.gather(-1, first) - DROP
    late[..., -1] = True
    tight = finer.gather(-1, late.to(torch.uint8).argmax(-1, keepdim=True))
    return torch.where(ended.any(-1), tight.squeeze(-1), torch.inf)
