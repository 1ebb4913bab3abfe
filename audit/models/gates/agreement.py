"""How J v agrees with central differences, as one robust number.

Every parameter counts alike: components are divided by their root mean square over the
samples. A component is left out where it cannot be judged: where noise hides it (two
steps disagree), or where the points beside the row give no finite number. That is no
agreement: `seen` says which parameters the comparison speaks of. The statistic is a
median, because a step that crosses a kink (ReLU, a spline's knot) is no error. Noise is
what two steps differ by, and at least the last digit of φ: of a large number both
differences are zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from audit.models.differences import row_sizes
from audit.models.gates.effort import FULL
from audit.models.gates.slopes import Slopes
from audit.models.network import Values

Evaluate = Callable[[Tensor, Values], Tensor]

_NOISY = 0.1  # a component whose two steps differ by more is not judged
_STILL = 1e-3  # of the usual length of J v: below, a row counts as one that rests
_SEED = 20_240_229


@dataclass(frozen=True)
class Agreement:
    """The median error of J v, and what it was held against.

    Args:
        error: median of |J v − differences| / |differences|; NaN: nothing could be
            judged.
        floor: the same between differences of two steps: their noise.
        seen: which parameters [p] were judged, or rest: both say they do not move.
    """

    error: float
    floor: float
    seen: Tensor

    def above(self, limit: float) -> bool:
        """Whether the two differ: by more than a limit, and by more than noise."""
        return self.error > max(limit, 3 * self.floor)

    def within(self, limit: float) -> bool:
        """Whether the two agree; noise that is larger than the limit is no reason."""
        return self.error <= limit


@dataclass(frozen=True)
class Differences:
    """Directional derivatives [n · K, p] of two kinds, ready to be compared.

    Args:
        theirs: central differences. ours: J v.
        wider: differences of twice the step, on the points of the first.
        rest: up to here a parameter [p] counts as one that does not move.
        rounding: what the last digit of φ [p] comes to in a difference.
    """

    theirs: Tensor
    ours: Tensor
    wider: Tensor
    rest: Tensor
    rounding: Tensor

    def agreement(self, judged: Tensor | None = None) -> Agreement:
        """Return how they agree on some parameters [p]; None: on all."""
        finite = (self.theirs + self.ours + self.wider).isfinite().all(dim=1)
        theirs, ours, wider = (t[finite] for t in (self.theirs, self.ours, self.wider))
        judged = (
            torch.ones_like(self.rest, dtype=torch.bool) if judged is None else judged
        )
        if not len(theirs):
            return Agreement(math.nan, math.nan, torch.zeros_like(judged))
        size = torch.maximum(theirs.abs(), ours.abs()).square().mean(dim=0).sqrt()
        noise = (theirs - wider).abs().median(dim=0).values
        noise = torch.maximum(noise, self.rounding)
        resting = judged & (size <= self.rest)
        clear = judged & ~resting & (noise <= _NOISY * size)
        seen = clear | resting
        if not bool(clear.any()):
            still = 0.0 if bool(resting.any()) else math.nan
            return Agreement(still, still, seen)
        theirs, ours, wider = ((t / size)[:, clear] for t in (theirs, ours, wider))
        length = theirs.norm(dim=1)
        least = _STILL * float(length.square().mean().sqrt()) + 1e-12
        length = length.clamp_min(least)
        error = ((ours - theirs).norm(dim=1) / length).median()
        floor = ((wider - theirs).norm(dim=1) / length).median()
        return Agreement(float(error), float(floor), seen)


def compare(
    function: Evaluate,
    x: Tensor,
    held: Values,
    slopes: Slopes,
    step: float,
    directions: int = FULL.directions,
    resolution: float = 0.0,
) -> Differences:
    """Return J v beside differences of `function`.

    Args:
        function: (x, held) -> φ [n, p].
        x: the rows [n, d], in the type in which points are put to the function.
        held: its other inputs.
        slopes: J of n rows.
        step: h, of a row's root mean square; a second one, 2h, gives the noise.
        directions: K, along which each row is moved.
        resolution: a parameter rests that would move by less than this part of itself
            if a row moved by its own size.
    """
    v = _directions(len(x), directions, x)
    theirs, ours, size = _differences(function, x, held, slopes, step, v)
    wider, ours_wider, _ = _differences(function, x, held, slopes, 2 * step, v)
    rounding = torch.finfo(x.dtype).eps * size / step
    near = wider - (ours_wider - ours)
    return Differences(theirs, ours, near, resolution * size, rounding)


def compare_jacobians(
    exact: Slopes, other: Slopes, x: Tensor, directions: int = FULL.directions
) -> Agreement:
    """Return how two Jacobians of rows x [n, d] agree along some directions."""
    v = _directions(len(x), directions, x)
    theirs, ours = (each.along(v).flatten(0, 1) for each in (exact, other))
    zero = theirs.new_zeros(exact.parameters)
    return Differences(theirs, ours, theirs, zero, zero).agreement()


def _differences(
    function: Evaluate,
    x: Tensor,
    held: Values,
    slopes: Slopes,
    step: float,
    v: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (φ(x+) − φ(x−)) / 2h and J (x+ − x−) / 2h, each [n · K, p].

    The points are rounded to the type the file takes before they are used, so that
    rounding of x is no error. The third tensor [p] is the size of φ over that of x.
    """
    n, d = x.shape
    count = v.shape[1]
    sizes = row_sizes(x)
    h = step * sizes[:, None, None]
    base = x.double()[:, None, :]
    above, below = (base + h * v).to(x.dtype), (base - h * v).to(x.dtype)
    many = {name: value.repeat_interleave(count, 0) for name, value in held.items()}
    values = [function(z.reshape(-1, d), many) for z in (above, below)]
    width = 2 * h.expand(n, count, 1).reshape(-1, 1)
    moved = above.double() - below.double()
    ours = slopes.along(moved).reshape(n * count, -1)
    relative = values[0].abs() / sizes.repeat_interleave(count)[:, None]
    size = relative.nan_to_num(0, 0, 0).square().mean(dim=0).sqrt()
    return (values[0] - values[1]) / width, ours / width, size


def _directions(n: int, count: int, x: Tensor) -> Tensor:
    """Return unit vectors [n, count, d] for rows like x [..., d]."""
    generator = torch.Generator().manual_seed(_SEED)
    v = torch.randn(n, count, x.shape[1], generator=generator, dtype=torch.float64)
    return functional.normalize(v, dim=-1).to(x.device)
