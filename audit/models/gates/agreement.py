"""How J v agrees with central differences, as one robust number.

Every parameter counts alike: components are divided by their root mean square over the
samples, and those that the noise hides (two steps disagree) are left out. The statistic
is a median, because a step that crosses a kink (ReLU, a spline's knot) is no error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from audit.models.network import Values

Evaluate = Callable[[Tensor, Values], Tensor]

DIRECTIONS = 8
_NOISY = 0.1  # a component whose two steps differ by more is not judged
_STILL = 1e-3  # of the usual length of J v: below, a row counts as one that rests
_SEED = 20_240_229


@dataclass(frozen=True)
class Agreement:
    """The median error of J v, and the noise of the differences it was held against."""

    error: float
    floor: float

    def above(self, limit: float) -> bool:
        """Whether the error is above a limit and above the noise."""
        return not self.error <= max(limit, 3 * self.floor)


def compare(
    function: Evaluate,
    x: Tensor,
    held: Values,
    jacobian: Tensor,
    step: float,
) -> Agreement | None:
    """Return how J v agrees with differences of `function`; None if noise hides all.

    Args:
        function: (x, held) -> φ [n, p].
        x: the rows [n, d], in the type in which points are put to the function.
        held: its other inputs.
        jacobian: J [n, p, d].
        step: h, of a row's root mean square; a second one, 2h, gives the noise.
    """
    theirs, ours = _differences(function, x, held, jacobian, step)
    wider, ours_wider = _differences(function, x, held, jacobian, 2 * step)
    return _agreement(theirs, ours, wider - (ours_wider - ours))


def compare_jacobians(exact: Tensor, other: Tensor) -> Agreement | None:
    """Return how two Jacobians [n, p, d] agree along the directions."""
    theirs, ours = _along(exact), _along(other)
    return _agreement(theirs, ours, theirs)


def _differences(
    function: Evaluate,
    x: Tensor,
    held: Values,
    jacobian: Tensor,
    step: float,
) -> tuple[Tensor, Tensor]:
    """Return (φ(x+) − φ(x−)) / 2h and J (x+ − x−) / 2h, each [n · K, p].

    The points are rounded to the type the file takes before they are used, so that
    rounding of x is no error.
    """
    n, d = x.shape
    v = _directions(n, d, x.device)
    h = step * _sizes(x)[:, None, None]
    base = x.double()[:, None, :]
    above, below = (base + h * v).to(x.dtype), (base - h * v).to(x.dtype)
    many = {
        name: value.repeat_interleave(DIRECTIONS, 0) for name, value in held.items()
    }
    values = [function(z.reshape(-1, d), many) for z in (above, below)]
    width = 2 * h.expand(n, DIRECTIONS, 1).reshape(-1, 1)
    moved = (above.double() - below.double()).mT
    ours = (jacobian @ moved).mT.reshape(n * DIRECTIONS, -1)
    return (values[0] - values[1]) / width, ours / width


def _agreement(theirs: Tensor, ours: Tensor, wider: Tensor) -> Agreement | None:
    finite = (theirs + ours + wider).isfinite().all(dim=1)
    theirs, ours, wider = theirs[finite], ours[finite], wider[finite]
    if not len(theirs):
        return None
    size = torch.maximum(theirs.abs(), ours.abs()).square().mean(dim=0).sqrt()
    noise = (theirs - wider).abs().median(dim=0).values
    clear = (size > 0) & (noise <= _NOISY * size)
    if not bool(clear.any()):
        return None
    theirs, ours, wider = ((t / size)[:, clear] for t in (theirs, ours, wider))
    length = theirs.norm(dim=1)
    length = length.clamp_min(_STILL * float(length.square().mean().sqrt()) + 1e-12)
    error = ((ours - theirs).norm(dim=1) / length).median()
    floor = ((wider - theirs).norm(dim=1) / length).median()
    return Agreement(float(error), float(floor))


def _along(jacobian: Tensor) -> Tensor:
    """Return J v [n · K, p] along the same directions for every Jacobian [n, p, d]."""
    n, p, d = jacobian.shape
    return (jacobian @ _directions(n, d, jacobian.device).mT).mT.reshape(-1, p)


def _directions(n: int, d: int, device: torch.device) -> Tensor:
    """Return unit vectors [n, K, d]."""
    generator = torch.Generator().manual_seed(_SEED)
    v = torch.randn(n, DIRECTIONS, d, generator=generator, dtype=torch.float64)
    return functional.normalize(v, dim=-1).to(device)


def _sizes(x: Tensor) -> Tensor:
    """Return each row's root mean square, 1 for a row of zeros."""
    rms = x.double().square().mean(dim=1).sqrt()
    return torch.where(rms > 0, rms, 1.0)
