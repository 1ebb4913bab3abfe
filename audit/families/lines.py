"""Laws on a line, and the panels that resolve them.

A law is known by its log density in a chart y of its support (x, log x or logit x),
where its tails fall at least exponentially, and by where its bulks are: one for a
simple law, one for each component of a mixture.

Shapes: M laws, K nodes, B bulks, q parameters; `rows` [M, q] is one φ for each law.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from audit.families.panels import ORDER, Panels, graded_edges, tail_reach

CHUNK = 1_500_000  # numbers [laws, nodes, parameters] at once
PANELS = 36  # around one bulk, about
LONGEST = 1e150  # of a tail, in y
FINEST = 1e-9  # width of a bulk over its distance from zero: rounding moves its nodes


@dataclass(frozen=True)
class Chart:
    """A coordinate y of the support."""

    point: Callable[[Tensor], Tensor]  # x(y)
    log_slope: Callable[[Tensor], Tensor]  # log dx/dy
    log_size: Callable[[Tensor, Tensor], Tensor]  # (step of y, width) -> log |x| grown


REAL = Chart(
    lambda y: y, torch.zeros_like, lambda step, width: (step / width).abs().log()
)
POSITIVE = Chart(torch.exp, lambda y: y, lambda step, width: step)
UNIT = Chart(
    torch.sigmoid,
    lambda y: logsigmoid(y) + logsigmoid(-y),
    lambda step, width: torch.zeros_like(step),
)


class Line(Protocol):
    """A family of laws on a line."""

    @property
    def chart(self) -> Chart:
        """The coordinate y in which densities are given."""

    @property
    def limit(self) -> float:
        """How far y may be from the first centre: π on a circle, else infinity."""

    def bulk(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return centres and widths [M, B] of the bulks of a law, in y."""

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return log f [M, K] at y [M, K], for parameters [M, 1 or K, q]."""

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return ∂ log f / ∂φ [M, K, q] at y [M, K], for parameters [M, q]."""


@dataclass(frozen=True)
class Side:
    """One side of one bulk, seen from its centre by distances [M, K]."""

    line: Line
    log_density: Callable[[Tensor], Tensor]  # of y [M, K]
    center: Tensor  # [M]
    width: Tensor  # [M]
    sign: int

    def at(self, steps: Tensor) -> Tensor:
        """Return the log density [M, K] at distances [M, K]."""
        return self.log_density(self.center.unsqueeze(-1) + self.sign * steps)

    def reach(self, moment: int) -> Tensor:
        """Return how far the tail of that moment reaches [M]; infinite if it does."""

        def log_mass(steps: Tensor) -> Tensor:
            size = self.line.chart.log_size(self.sign * steps, self.width.unsqueeze(-1))
            return self.at(steps) + steps.log() + moment * size.clamp_min(0)

        return tail_reach(log_mass, self.width, self.line.limit)

    def edges(self, reach: Tensor) -> Tensor:
        """Return edges [M, E + 1] from the centre as far as `reach`."""
        steps = graded_edges(self.at, self.width, reach)
        return self.center.unsqueeze(-1) + self.sign * steps


def sides_of(
    line: Line, rows: Tensor, log_density: Callable[[Tensor], Tensor] | None = None
) -> Iterator[Side]:
    """Yield both sides of every bulk, of the law or of another density there."""

    def own(y: Tensor) -> Tensor:
        return line.log_density(y, rows.unsqueeze(1))

    for center, width in zip(*(b.unbind(-1) for b in line.bulk(rows)), strict=True):
        for sign in (-1, 1):
            yield Side(line, log_density or own, center, width, sign)


def edges_of(line: Line, rows: Tensor, moment: int = 0) -> Tensor:
    """Return edges [M, E], unsorted; tails are cut where their moment is nothing."""
    return torch.cat(
        [s.edges(s.reach(moment).clamp_max(LONGEST)) for s in sides_of(line, rows)], -1
    )


def unresolved(line: Line, rows: Tensor, moment: int = 0) -> Tensor:
    """Return where [M] no panels are right.

    A bulk is narrower than numbers of its size can tell, or the mass (or moment) of a
    tail lies beyond `LONGEST`.
    """
    center, width = line.bulk(rows)
    lost = ~(width >= FINEST * center.abs()).all(-1)
    for side in sides_of(line, rows):
        lost = lost | ~(side.reach(moment) <= LONGEST)
    return lost


def panels_of(line: Line, rows: Tensor, *edges: Tensor, moment: int = 0) -> Panels:
    """Return panels that resolve the laws and whatever else has those edges."""
    first = line.bulk(rows)[0][:, :1]
    every = torch.cat([edges_of(line, rows, moment), *edges], dim=-1)
    inside = every.clamp(first - line.limit, first + line.limit)
    return Panels(inside.sort(dim=-1).values)


def by_chunks(
    function: Callable[..., Tensor], line: Line, *tables: Tensor, copies: int = 1
) -> Tensor:
    """Apply `function` to a few laws at a time, so that memory stays bounded.

    Args:
        function: rows of each table [m, ...] -> [m, ...].
        line: whose laws they are.
        tables: parameters and the like, each [M, ...].
        copies: how many numbers `function` keeps for each law and node.
    """
    bulks = line.bulk(tables[0][:1])[0].shape[1]
    size = max(1, CHUNK // (PANELS * ORDER * bulks * copies))
    starts = range(0, len(tables[0]), size)
    return torch.cat([function(*(t[i : i + size] for t in tables)) for i in starts])
