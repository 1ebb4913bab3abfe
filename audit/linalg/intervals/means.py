"""Hall's intervals for the means of draws, many at a time (`ground.means`).

Below `LEAST` draws neither skewness nor kurtosis is known well enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from audit.ground.means import hall_ends, skewness_factor
from audit.ground.student import interpolated_quantiles, student_quantile

LEAST = 20  # numbers, for an interval that covers as often as it says


@dataclass(frozen=True)
class Interval:
    """A mean, its standard error and its 95 % interval; tensors of the same shape."""

    value: Tensor
    lower: Tensor
    upper: Tensor
    standard_error: Tensor

    def widened(self, error: Tensor) -> Interval:
        """Return the interval with an independent normal error added.

        What is infinite without doubt stays so.
        """
        reach = student_quantile(math.inf) * error
        known = torch.isfinite(self.value)
        down = torch.where(known, self.value - self.lower, 0.0)
        up = torch.where(known, self.upper - self.value, 0.0)
        return Interval(
            self.value,
            torch.where(known, self.value - torch.hypot(down, reach), self.lower),
            torch.where(known, self.value + torch.hypot(up, reach), self.upper),
            torch.hypot(self.standard_error, torch.where(known, error, 0.0)),
        )

    def at(self, place: int) -> Interval:
        """Return one of several that stand along axis 1."""
        return Interval(*(getattr(self, part.name)[:, place] for part in fields(self)))

    def at_least_zero(self) -> Interval:
        """Return the interval of what cannot be negative."""
        value, lower = self.value.clamp_min(0), self.lower.clamp_min(0)
        return Interval(value, lower, self.upper.clamp_min(0), self.standard_error)

    def infinite_where(self, known: Tensor) -> Interval:
        """Return the interval, infinite without doubt where that is known."""
        value, lower, upper = (
            part.masked_fill(known, torch.inf)
            for part in (self.value, self.lower, self.upper)
        )
        return Interval(value, lower, upper, self.standard_error.masked_fill(known, 0))


def mean_interval(
    samples: Tensor, level: float = 0.975, kurtosis: float = 1.0
) -> Interval:
    """Return the mean of independent samples [..., n] with its interval [...].

    Equal samples have an interval without width. A sample that is not finite leaves
    neither interval nor error, and one sample alone has none either: NaN.

    Args:
        samples: [..., n].
        level: of each end; 0.975 for an interval of 95 %.
        kurtosis: of the law they are of, at least; few samples show less of it.
    """
    n = samples.shape[-1]
    value = samples.mean(dim=-1)
    centred = samples - value.unsqueeze(-1)
    scale = centred.abs().amax(dim=-1)
    z = centred / torch.where(scale > 0, scale, 1.0).unsqueeze(-1)
    squares = z.square()
    powers = (squares, squares * z, squares.square())
    second, third, fourth = (power.mean(dim=-1) for power in powers)
    second = torch.where(scale > 0, second, 1.0)
    error = scale * (second / (n - 1)).sqrt() if n > 1 else scale * torch.nan
    tails = (fourth / second.square()).clamp_min(kurtosis) - 1
    t = _quantiles(2 * n / tails, n - 1, level)
    return _about(value, error, t, third / second.pow(1.5) * skewness_factor(n))


def skewed_interval(
    value: Tensor, error: Tensor, freedom: int, skewness: Tensor
) -> Interval:
    """Return the 95 % interval of a mean, its error and skewness known otherwise.

    Args:
        value: the mean [...].
        error: its standard error [...].
        freedom: degrees of freedom of the error.
        skewness: of the mean itself [...].
    """
    t = torch.full_like(value, student_quantile(freedom))
    return _about(value, error, t, skewness)


def _about(value: Tensor, error: Tensor, t: Tensor, c: Tensor) -> Interval:
    parts = [part.detach().cpu().numpy() for part in (value, error, t, c)]
    low, high = (torch.from_numpy(np.asarray(end)) for end in hall_ends(*parts))
    return Interval(value, low.to(value), high.to(value), error)


def _quantiles(freedom: Tensor, most: int, level: float) -> Tensor:
    """Return Student's quantiles at ν, kept between 1 and `most`."""
    kept = freedom.clamp(1, max(most, 1)).cpu()
    found = interpolated_quantiles(kept.double().flatten().numpy(), level)
    return torch.from_numpy(found).reshape(kept.shape).to(freedom)
