"""What pairs of perturbations do: in float64, or in the file's digits and corrected.

A walk of many pairs asks the network for as many values. Where the file is faster in
its own float32, D₃₂ (`rough`) stands for D there, and a few pairs say what it is off
by:

    E[w D] = E[w D₃₂] + E[w (D − D₃₂)].

The second mean is that of the walk's first pairs, which every input has anyway, taken
both ways. Each of the others gets it added, so their mean has no bias, whatever D₃₂ is;
its standard error is an error of all of them, and is in the interval. Where it is more
than `CLOSE` of the mean of these pairs, which rounding alone is not, and where D₃₂ is
no finite number, values stay those of float64.

Reference:
    Giles, Multilevel Monte Carlo path simulation, Operations Research 56 (2008), for
    two levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from audit.ground.student import student_quantile
from audit.linalg.intervals.means import Interval
from audit.linalg.intervals.pilots import LEVELS

CLOSE = 1e-4  # of the mean: a hundredth of the half width that is wanted, and less


@dataclass(frozen=True)
class Evaluated:
    """What perturbations do: D, its own error, the local law Q, and Q along its axes.

    Each [n, K].
    """

    values: Tensor
    errors: Tensor
    form: Tensor
    axes: tuple[Tensor, ...] = ()

    def paired(self, weights: Tensor) -> Tensor:
        """Return means over pairs [4 + axes, n, M]: w D, w times its error, w, Q, axes.

        Args:
            weights: w [n, M], M = K / 2; the mirrors are last.
        """
        parts = torch.stack([self.values, self.errors, self.form, *self.axes])
        means = parts.reshape(*parts.shape[:2], 2, -1).mean(dim=2)
        weights = weights.to(means)
        return torch.stack([*(means[:2] * weights), weights, *means[2:]])


Evaluate = Callable[[Tensor, Tensor], Evaluated]  # rows [n], δ [n, K, size]


class Walk:
    """The values of pairs, one chunk after the other from the first.

    Args:
        exact: in float64.
        rough: in the file's own digits; None: not at all.
        needed: how many pairs each of N inputs needs [N].
    """

    def __init__(
        self,
        exact: Evaluate,
        rough: Evaluate | None = None,
        needed: Tensor | None = None,
    ) -> None:
        self.exact, self.rough = exact, rough
        self._both: list[tuple[Tensor, Tensor]] = []  # w D and w D₃₂ of the first
        if needed is None or not bool((needed > LEVELS[0]).any()):
            self.rough = None
        else:
            self.many = (needed > LEVELS[0]).to(torch.bool)

    def __call__(
        self, rows: Tensor, drawn: Tensor, weights: Tensor, start: int
    ) -> Tensor:
        """Return means over pairs [4 + axes, n, M] of some inputs.

        Args:
            rows: of the inputs [n].
            drawn: the pairs, mirrors last [n, 2 M, size].
            weights: w [n, M].
            start: how many pairs came before.
        """
        if self.rough is None:
            return self.exact(rows, drawn).paired(weights)
        if start < LEVELS[0]:
            found = self.exact(rows, drawn).paired(weights)
            at = self.many[rows].nonzero()[:, 0]
            own = at.to(drawn.device)
            other = self.rough(rows[at], drawn[own]).paired(weights[own])
            self._both.append((found[0, at], other[0]))
            return found
        return self._corrected(rows, drawn, weights)

    def widened(self, mean: Interval) -> Interval:
        """Return the interval of a mean with the error of what corrects it."""
        return mean if self.rough is None else mean.widened(self._correction[1])

    def _corrected(self, rows: Tensor, drawn: Tensor, weights: Tensor) -> Tensor:
        assert self.rough is not None
        shift, _, close = self._correction
        at = close[rows].nonzero()[:, 0]
        parts = list[tuple[Tensor, Tensor]]()
        left = torch.ones_like(close[rows])
        if len(at):
            own = at.to(drawn.device)
            found = self.rough(rows[at], drawn[own]).paired(weights[own])
            found[0] += shift[rows[at]].unsqueeze(1)
            finite = torch.isfinite(found).flatten(2).all(dim=2).all(dim=0)
            parts.append((at[finite], found[:, finite]))
            left[at[finite]] = False
        at = left.nonzero()[:, 0]
        if len(at):
            own = at.to(drawn.device)
            found = self.exact(rows[at], drawn[own]).paired(weights[own])
            parts.append((at, found))
        whole = parts[0][1].new_empty(len(parts[0][1]), *weights.shape)
        for at, found in parts:
            whole[:, at] = found
        return whole

    @cached_property
    def _correction(self) -> tuple[Tensor, Tensor, Tensor]:
        """What is added to w D₃₂, its standard error, and where that is small [N]."""
        exact, rough = (
            torch.cat(part, dim=1) for part in zip(*self._both, strict=True)
        )
        off, count = exact - rough, exact.shape[1]
        few = student_quantile(count - 1) / student_quantile(math.inf)
        error = few * off.std(dim=1) / count**0.5
        close = torch.isfinite(exact).all(dim=1) & (
            error <= CLOSE * exact.mean(dim=1).abs()
        )
        found = torch.zeros(3, len(self.many)).to(off)
        parts = torch.stack([off.mean(dim=1), error, close.to(off)])
        found[:, self.many] = torch.where(close, parts, 0.0)
        return found[0], found[1], found[2] > 0
