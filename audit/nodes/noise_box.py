"""Where an expectation over base noise lives: the box to integrate over, and its ends.

The Jacobian of a map θ = T(φ, z) may be large where its noise z is rare: that of a
log-normal sampler is largest some standard deviations out, where a thousand draws do
not come. So what is integrated is not the noise alone but

    f(s) = ρ(s) (1 + ‖∂T/∂φ‖² / c),       c about E‖∂T/∂φ‖²,

ρ the density of the coordinates s (`base_laws`): a rule for f is one for the law and
for the trace of the transport tensor. The box ends where f has fallen by `DROP` on a
lattice, or where T no longer gives numbers.

Two signs tell that an integrand has no integral: it does not fall at the end of the
box, though much of it is there; or it rises, and its logarithm is convex, all the way
from 2.5 to 4.5 standard deviations. The second one is needed because a file's
arithmetic may hide the first: 1 − Φ(z), and with it every heavy tail made of it, has no
digits beyond z = 8, or 5 in single precision. A tail that falls at the end of the box
is drawn on with its slope.

Shapes: N inputs, K points, L lines of the lattice, E ends, m ∈ {1, 2} numbers of noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.nodes.base_laws import BaseLaw
from audit.nodes.charts import lattice

Speed = Callable[[Tensor], Tensor]  # z [N, K, m] -> ‖∂T/∂φ‖² [N, K]

LATTICE = {1: 257, 2: 33}  # lines on an axis
DROP = {1: 34.0, 2: 24.0}  # nats: e^-24 = 4e-11, what is left out of a tail
LOST = 1e-6  # of the noise: T may give no number there
HOLDS = 1e-8  # of an integral: an end that holds less is none
STEEP = 0.05  # nats in a unit of s: a tail that falls less has no end
STEP = 0.25  # of s, over which the slope of a tail is taken
ON_FACE = 9  # points on a side of a square


@dataclass(frozen=True)
class Field:
    """log f(s); where T gives no number only the noise counts."""

    law: BaseLaw
    speed: Speed
    scale: Tensor  # c [N]

    def __call__(self, s: Tensor) -> Tensor:
        """Return log f [N, K] at s [N, K, m]."""
        return self.of(s, self.speed(self.law.place(s)))

    def of(self, s: Tensor, speed: Tensor) -> Tensor:
        """Return log f [N, K] from ‖∂T/∂φ‖² [N, K] at s."""
        known = torch.where(speed < torch.inf, speed, 0.0)
        return self.log_law(s) + torch.log1p(known / self.scale.unsqueeze(-1))

    def log_law(self, s: Tensor) -> Tensor:
        """Return log ρ [N, K]."""
        return self.law.log_density(s).sum(dim=-1)


@dataclass(frozen=True)
class Sight:
    """f on a lattice, and the box in which it lives.

    Args:
        field: f.
        axis: the lines of the lattice, the same on each axis [L].
        log_f: log f on it [N, L^m], -inf where T is out of reach.
        low, high: the ends of the box [N, m].
    """

    field: Field
    axis: Tensor
    log_f: Tensor
    low: Tensor
    high: Tensor


def sight(law: BaseLaw, size: int, speed: Speed, inputs: int) -> Sight:
    """Return the sight of f for each of N inputs.

    Args:
        law: of each number of noise; they are independent.
        size: how many there are, m.
        speed: z [N, K, m] -> ‖∂T/∂φ‖² [N, K], perhaps not finite.
        inputs: N.
    """
    first, last = math.asinh(law.low), math.asinh(law.high)
    axis = torch.linspace(first, last, LATTICE[size], dtype=torch.float64).sinh()
    s = lattice(axis[None, :, None].expand(inputs, -1, size))
    speeds = speed(law.place(s))
    usable = speeds < torch.inf
    mass = law.log_density(s).sum(dim=-1).exp() * _trapezoids(axis, size)
    known = torch.where(usable, mass, 0.0)
    moved = (known * torch.where(usable, speeds, 0.0)).sum(dim=-1)
    mean = moved / known.sum(dim=-1)
    field = Field(law, speed, torch.where((mean > 0) & (mean < torch.inf), mean, 1.0))
    lost = mass.sum(dim=-1) - known.sum(dim=-1)
    reach = _reach(usable | (lost > LOST).unsqueeze(-1), axis, size)
    log_f = field.of(s, speeds).masked_fill(~reach, -torch.inf)
    return Sight(field, axis, log_f, *_box(log_f, axis, size))


def _trapezoids(axis: Tensor, size: int) -> Tensor:
    """Return the weights of the trapezoidal rule on the lattice [L^m]."""
    gaps = torch.nn.functional.pad(axis.diff(), (1, 1))
    widths = (gaps[1:] + gaps[:-1]) / 2
    return lattice(widths[None, :, None].expand(1, -1, size)).prod(dim=-1)[0]


def _reach(usable: Tensor, axis: Tensor, size: int) -> Tensor:
    """Return the part of the lattice [N, L^m] that T reaches.

    That is up to where it no longer gives numbers, from the middle of the noise
    outwards along each axis.
    """
    middle, parts = int(axis.abs().argmin()), []
    whole = usable.reshape(len(usable), *[len(axis)] * size)
    for dimension in range(size):
        line = whole if size == 1 else whole.select(2 - dimension, middle)
        below = line[:, : middle + 1].flip(1).long().cumprod(dim=1).flip(1)
        above = line[:, middle:].long().cumprod(dim=1)
        parts.append(torch.cat([below[:, :-1], above], dim=1))
    inside = lattice(torch.stack(parts, dim=-1).double())
    return inside.amin(dim=-1) > 0


def _box(log_f: Tensor, axis: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the ends [N, m] of the box outside which f has fallen."""
    height = log_f - log_f.amax(dim=-1, keepdim=True) + DROP[size]
    height = height.reshape(len(log_f), *[len(axis)] * size)
    lows, highs = [], []
    for dimension in range(size):
        along = height if size == 1 else height.amax(dim=2 - dimension)
        lows.append(-_crossing(along.flip(1), -axis.flip(0)))
        highs.append(_crossing(along, axis))
    return torch.stack(lows, dim=1), torch.stack(highs, dim=1)


def _crossing(height: Tensor, axis: Tensor) -> Tensor:
    """Return where heights [N, L] fall below zero for the last time [N].

    Where they never do, or are not known behind it, the last line above zero.
    """
    back = (height > 0).flip(1).to(torch.uint8).argmax(dim=1, keepdim=True)
    at = len(axis) - 1 - back
    after = (at + 1).clamp_max(len(axis) - 1)
    here, there = height.gather(1, at), height.gather(1, after)
    share = torch.where(there.isfinite() & (there < here), here / (here - there), 0.0)
    return (axis[at] + share.clamp(0, 1) * (axis[after] - axis[at])).squeeze(1)


@dataclass(frozen=True)
class Outlook:
    """Points at which an integrand tells whether its tails end.

    Args:
        z: of the faces of a box, of a step inside, and far out, [R, N, m].
        weights: ρ there, and for the faces times the width of each [R, N].
        faces: E.
        far: how far out the last ones lie, in s.
    """

    z: Tensor
    weights: Tensor
    faces: int
    far: tuple[float, ...]

    def take(self, rows: Tensor) -> Outlook:
        """Return the outlook of some inputs."""
        return Outlook(self.z[:, rows], self.weights[:, rows], self.faces, self.far)

    def tails(self, values: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """Return what lies outside the box [N], and where an integral has no end.

        Args:
            values: the integrand over ρ at the points [R, N].
            total: its integral within the box [N].
        """
        weighted = self.weights * values
        outer, inner = weighted[: 2 * self.faces].reshape(2, self.faces, -1)
        matters = outer > HOLDS * total
        slope = (inner / outer).log() / STEP
        held = torch.where(matters & (slope > STEEP), outer / slope, 0.0).sum(dim=0)
        endless = (matters & ~(slope > STEEP)).any(dim=0)
        beyond = weighted[2 * self.faces :].reshape(len(self.far), -1, len(total))
        gaps = torch.tensor(self.far).to(beyond).diff()[:, None, None]
        slopes = beyond.log().diff(dim=0) / gaps
        bends = (slopes > 0).all(dim=0) & (slopes.diff(dim=0) > 0).all(dim=0)
        return held, endless | bends.any(dim=0)


def outlook(seen: Sight) -> Outlook:
    """Return the points that tell of the tails beyond a box."""
    field, law, low = seen.field, seen.field.law, seen.low
    size = low.shape[1]
    faces, widths = _faces(low, seen.high)
    far = torch.zeros(len(low), len(law.far), 2, size, size, dtype=low.dtype)
    for axis in range(size):
        for side, sign in enumerate((-1, 1)):
            far[:, :, side, axis, axis] = sign * torch.tensor(law.far).to(low)
    s = torch.cat([faces.flatten(1, 2), far.flatten(1, 3)], dim=1)
    ones = torch.ones(far.flatten(1, 3).shape[:2], dtype=low.dtype)
    weights = field.log_law(s).exp() * torch.cat([widths, widths, ones], dim=1)
    z = law.place(s).transpose(0, 1)
    return Outlook(z, weights.T, widths.shape[1], law.far)


def _faces(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return points on the faces of a box and a step inside [N, 2, E, m].

    With them the width of the face that each stands for [N, E].
    """
    size = low.shape[1]
    count = 1 if size == 1 else ON_FACE
    middles = (torch.arange(count) + 0.5).to(low) / count
    spread = low.unsqueeze(1) + (high - low).unsqueeze(1) * middles[:, None]
    points, widths = [], []
    for axis in range(size):
        others = (high - low).prod(dim=1) / (high - low)[:, axis] / count
        for end, step in ((low, STEP), (high, -STEP)):
            sides = spread.unsqueeze(1).repeat(1, 2, 1, 1)
            sides[..., axis] = end[:, axis, None, None]
            sides[:, 1, :, axis] += step
            points.append(sides)
            widths.append(others[:, None].expand(-1, count))
    return torch.cat(points, dim=2), torch.cat(widths, dim=1)
