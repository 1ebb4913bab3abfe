"""Charts of a plane or a line, lattices in them, and what hides between the points.

A chart u = center + root sinh(t) is linear over its scale and geometric beyond it. The
root is triangular: on a plane it undoes a correlation.

A law may hide between the points of a lattice, beside a point that is higher than its
neighbours. On a line the chords of a concave log q tell how much higher; for others
that is a guess, and it is doubled. On a plane a ridge that runs aslant looks like a
peak along both axes: there the parabola along the better axis tells.

Shapes: M laws, K points, c ∈ {1, 2} coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Field = Callable[[Tensor], Tensor]  # u [M, K, c] -> its log density [M, K]


@dataclass(frozen=True)
class SinhChart:
    """u = center + root sinh(t), with centers [M, c] and triangular roots [M, c, c]."""

    center: Tensor
    root: Tensor

    @property
    def scale(self) -> Tensor:
        """The diagonal of the root [M, c]."""
        return self.root.diagonal(dim1=-2, dim2=-1)

    def place(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return u [M, K, c] and log |du/dt| [M, K] of t [M, K, c]."""
        sinh, size = t.sinh(), t.abs()
        cosh = size + torch.log1p((-2 * size).exp()) - math.log(2)
        columns = [
            sinh[..., i, None] * self.root[:, None, :, i] for i in range(t.shape[-1])
        ]
        u = self.center.unsqueeze(1) + torch.stack(columns).sum(0)
        return u, (self.scale.log().unsqueeze(1) + cosh).sum(-1)

    def density(self, field: Field) -> Field:
        """Return the log density of t for that of u."""

        def of_t(t: Tensor) -> Tensor:
            u, slope = self.place(t)
            return field(u) + slope

        return of_t

    def find(self, u: Tensor) -> Tensor:
        """Return t [M, K, c] of points u [M, K, c]."""
        away = (u - self.center.unsqueeze(1)).mT
        sinh: Tensor = torch.linalg.solve_triangular(self.root, away, upper=False)
        return sinh.mT.asinh()


def places(at: Tensor, like: Tensor) -> Tensor:
    """Return places [M, K], as wide as what they are of [M, P] or [M, P, c]."""
    return at.unsqueeze(-1).expand(*at.shape, like.shape[-1]) if like.dim() > 2 else at


def picked(values: Tensor, at: Tensor) -> Tensor:
    """Return values [M, P] or [M, P, c] at places [M, K] of each law."""
    return values.gather(1, places(at, values))


def lattice(axes: Tensor) -> Tensor:
    """Return all combinations [M, L^c, c] of the axes' points [M, L, c]."""
    if axes.shape[-1] == 1:
        return axes
    laws, points, _ = axes.shape
    rows = axes[:, :, None, 0].expand(laws, points, points)
    columns = axes[:, None, :, 1].expand(laws, points, points)
    return torch.stack([rows, columns], dim=-1).flatten(1, 2)


def hidden(values: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much higher than each point a peak beside it may be, and how wide.

    Args:
        values: log density on a lattice [M, k] or [M, k, k]; may be -inf.
        nodes: where the points are, ascending [k], the same on both axes.

    Returns:
        The rise, 0 where the point is no peak, and √(2π) standard deviations of the
        peak along the axis on which it is wider, infinite where nobody knows.
    """
    total, peak = torch.zeros_like(values), torch.ones_like(values, dtype=torch.bool)
    width = torch.zeros_like(values) if values.dim() == 3 else total + torch.inf
    for axis in range(1, values.dim()):
        along = values.movedim(axis, -1)
        if values.dim() == 2:
            higher = _doubled_hull(along, nodes)
        else:
            higher, wide = _vertex(along, nodes)
            width = torch.maximum(width, wide.movedim(-1, axis))
        rise = along.diff(dim=-1).nan_to_num(0.0, 0.0, 0.0)
        top = (_pad(rise, (1, 0), 0.0) >= 0) & (_pad(rise, (0, 1), 0.0) <= 0)
        peak = peak & top.movedim(-1, axis)
        total = torch.maximum(total, higher.nan_to_num(0.0, 0.0, 0.0).movedim(-1, axis))
    if values.dim() == 3:  # on a ridge that runs aslant a neighbour is higher
        around = torch.nn.functional.max_pool2d(values, 3, stride=1, padding=1)
        peak = peak & (values >= around)
    return torch.where(peak, total, 0.0), width


def _vertex(values: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much higher the parabola through three points is [..., k].

    And √(2π) standard deviations of the bell that it is the logarithm of.
    """
    gaps, spans = nodes.diff(), nodes[2:] - nodes[:-2]
    slopes = values.diff(dim=-1) / gaps
    bend = slopes.diff(dim=-1) / spans
    inner = slopes[..., :-1] + bend * gaps[:-1]
    first = (slopes[..., :1] - bend[..., :1] * gaps[0]).clamp_min(0)
    last = (slopes[..., -1:] + bend[..., -1:] * gaps[-1]).clamp_max(0)
    bend = torch.cat([bend[..., :1], bend, bend[..., -1:]], dim=-1)
    higher = torch.cat([first, inner, last], dim=-1).square() / (-4 * bend)
    width = torch.where(bend < 0, (math.pi / -bend).sqrt(), torch.inf)
    return torch.where(bend < 0, higher, 0.0), width.nan_to_num(torch.inf)


def _doubled_hull(values: Tensor, nodes: Tensor) -> Tensor:
    """Return twice how much higher than each point the hull beside it is [..., k]."""
    hull = _hull(values, nodes.diff())
    beside = torch.maximum(_pad(hull, (1, 0)), _pad(hull, (0, 1)))
    return 2 * (beside - values).clamp_min(0)


def _hull(values: Tensor, gaps: Tensor) -> Tensor:
    """Return the height [..., k - 1] under which a concave curve stays in each gap.

    The chords on both sides of a gap, drawn on into it, lie above the curve (Gilks and
    Wild, Adaptive rejection sampling, 1992); at the ends there is one.
    """
    slopes = (values.diff(dim=-1) / gaps).nan_to_num(0.0, 0.0, 0.0)
    up, down = slopes.clamp_min(0), (-slopes).clamp_min(0)
    left = values[..., 1:-1] + up[..., :-1] * gaps[1:]
    right = values[..., 1:-1] + down[..., 1:] * gaps[:-1]
    return torch.minimum(_pad(left, (1, 0), torch.inf), _pad(right, (0, 1), torch.inf))


def _pad(values: Tensor, sides: tuple[int, int], filler: float = -torch.inf) -> Tensor:
    return torch.nn.functional.pad(values, sides, value=filler)
