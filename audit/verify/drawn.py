"""Draws of two laws, or their weighted nodes: quantiles, grids, ends and atoms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from audit.measure.columns import plain
from audit.reports.values import Floats

MOST_COUNTS = 64
_EDGE = 2e-3  # of a law, beyond the grid on either side
_ROOM = 0.05  # of the grid, beside that
_SPACINGS = 5  # of the outermost draws: an edge is not farther beyond them
_TIES = 0.01  # of the draws: more are atoms


@dataclass(frozen=True)
class Draws:
    """θ of two laws [S, 2, C], with weights [S, 2] where they are no draws.

    And log q there [S, 2], where that is known already.
    """

    theta: Tensor
    weights: Tensor | None
    log_density: Tensor | None = None

    def quantiles(self, row: int, levels: tuple[float, ...] | list[float]) -> Floats:
        """Return quantiles of one law [L, C]: the least θ with that much below it."""
        asked = np.asarray(levels) - 1e-12
        found = np.empty((len(levels), self.theta.shape[2]))
        for k, (column, below) in enumerate(self._ordered[row]):
            places = np.searchsorted(below, asked)
            found[:, k] = column[places.clip(max=len(column) - 1)]
        return found

    @cached_property
    def _ordered(self) -> list[list[tuple[Floats, Floats]]]:
        """Each coordinate of each law, ascending [S], with the weight up to there."""
        theta, even = plain(self.theta), np.full(len(self.theta), 1 / len(self.theta))
        weights = None if self.weights is None else plain(self.weights)
        return [
            [
                _ascending(column, even if weights is None else weights[:, row])
                for column in theta[:, row].T
            ]
            for row in (0, 1)
        ]

    def _ends(self) -> Floats:
        """Return the ends of each coordinate [2, C], of both laws together."""
        ends = [self.quantiles(row, (_EDGE, 1 - _EDGE)) for row in (0, 1)]
        return np.stack(
            [np.minimum(ends[0][0], ends[1][0]), np.maximum(ends[0][1], ends[1][1])]
        )

    def axis(self, k: int, even: int, at_quantiles: int) -> Floats:
        """Return even steps and quantiles of both laws in a coordinate, ascending."""
        low, high = self._ends()[:, k]
        room = _ROOM * (high - low)
        levels = [(j + 0.5) / at_quantiles for j in range(at_quantiles)]
        own = [self.quantiles(row, levels)[:, k] for row in (0, 1)]
        steps = np.linspace(low - room, high + room, even)
        edges = [self._edge(row, k, steps) for row in (0, 1)]
        joined: Floats = np.unique(np.concatenate([steps, *own, *edges]))
        return joined

    def _edge(self, row: int, k: int, steps: Floats) -> Floats:
        """Return the outermost draws of a law and points beyond, by their spacing.

        Where a support ends with a jump of the density, it is there: without these the
        curve would slope up to it from the last even step outside.
        """
        column = self._ordered[row][k][0]
        first, last = column[0], column[-1]
        near = column[min(_SPACINGS, len(column) - 1)] - first
        far = last - column[-1 - min(_SPACINGS, len(column) - 1)]
        found = np.array([first - near, first, last, last + far])
        kept: Floats = found[(found >= steps[0]) & (found <= steps[-1])]
        return kept

    def whole(self) -> Floats | None:
        """Return the counts that both laws cover; None where they are too many."""
        low, high = self._ends()[:, 0].round()
        if high - low >= MOST_COUNTS:
            return None
        return np.arange(low, high + 1)

    def bounded(self) -> bool:
        """Tell whether what the draws reach over is a number."""
        reach = self.theta.amax((0, 1)) - self.theta.amin((0, 1))
        return bool(torch.isfinite(reach).all())

    def repeated(self) -> bool:
        """Tell whether draws repeat themselves: a law has atoms."""
        if self.weights is not None:
            return False
        kinds = [
            1 + np.count_nonzero(column[1:] != column[:-1])
            for own in self._ordered
            for column, _ in own
        ]
        return bool(min(kinds) < (1 - _TIES) * len(self.theta))


def _ascending(column: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return numbers in order [S], and the share of the weight up to each."""
    order = np.argsort(column, kind="stable")
    return column[order], np.cumsum(weights[order]) / weights.sum()
