"""Where the log density of a law stops falling, on the way to the end of its support.

A density whose integral diverges leaves a quadrature without an answer, and the reader
without a reason. Neural likelihoods are the usual case: far from the data their log
density is flat, at a floor that training gave it or where its activations saturate, and
a constant tail over (0, ∞) holds infinite mass.

Along a coordinate, log q is looked at on distances t from a likely point, a geometric
grid of eight decades. The tail begins at the first t from which on log q falls by no
more than `SLACK` nat; it has to last for two decades. An integrable tail of a power law
falls by more than log t, hence by more than 4.6 nat over these.

Shapes: N laws, T distances, n coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from audit.nodes.coordinates import Coordinate
from audit.nodes.sights import LogDensity
from audit.nodes.space import TargetSpace

SLACK = 0.05  # nat
_DECADES, _EACH, _LASTS = 8, 24, 2
_ROUND = (1, 2, 3, 5, 10)  # leading digits of an end that is proposed
_MOST = 2**18  # points of the coarse grid
_LEAST = 1e-3  # unit of distance, of a point at zero


@dataclass(frozen=True)
class Tail:
    """A side of a coordinate on which log q does not fall.

    Args:
        column: of θ.
        sign: 1 for the upper side, −1 for the lower.
        begins: the value of the coordinate from which on it does not fall.
        level: log q there.
        rises: by how many nats it grows from there to the last value looked at.
    """

    column: int
    sign: int
    begins: float
    level: float
    rises: float

    def shown(self, space: TargetSpace) -> str:
        """Return a clause: what log q does, and where."""
        what = "is flat" if self.rises <= SLACK else "does not fall"
        side = "above" if self.sign > 0 else "below"
        name = space.coordinates[self.column].name
        return f"{what} {side} {name} = {self.begins:.3g}, at {self.level:.3g}"


def tails_of(log_density: LogDensity, phi: Tensor, space: TargetSpace) -> list[Tail]:
    """Return the sides on which some law's density does not fall.

    Args:
        log_density: θ [R, n], φ [R, p] -> log q [R].
        phi: parameters [N, p].
        space: what θ may be; only ends at infinity are looked at.

    Returns:
        One for each side, with the outermost beginning among the laws.
    """
    points, found = _likely(log_density, phi, space), []
    for column in space.continuous:
        kind = space.coordinates[column].kind
        for sign in {"real": (-1, 1), "positive": (1,)}.get(kind, ()):
            sides = _sides(log_density, phi, points, column, sign)
            if sides:
                found.append(max(sides, key=lambda tail: tail.sign * tail.begins))
    return found


def _likely(log_density: LogDensity, phi: Tensor, space: TargetSpace) -> Tensor:
    """Return a likely θ of each law [N, n]: the best of a coarse grid.

    A quadrature that diverges has its nodes where the mass is, at the end of numbers.
    """
    choices = space.choices()
    axes = [_coarse(space.coordinates[column]) for column in space.continuous]
    grid = torch.cartesian_prod(*axes).reshape(-1, len(axes))
    few = choices[:: 1 + len(choices) * len(grid) // _MOST]
    theta = space.assemble(
        grid.repeat_interleave(len(few), 0), few.repeat(len(grid), 1)
    ).to(phi.device)
    best = []
    with torch.no_grad():
        for row in phi:
            values = log_density(theta, row.expand(len(theta), -1))
            best.append(theta[values.nan_to_num(nan=-torch.inf).argmax()])
    return torch.stack(best)


def _coarse(one: Coordinate) -> Tensor:
    """Return values all over a continuous coordinate, on every scale."""
    sizes = torch.logspace(-4, 4, 33, dtype=torch.float64)
    if one.kind == "positive":
        return sizes
    if one.kind == "real":
        return torch.cat([-sizes, sizes.new_zeros(1), sizes])
    places = torch.linspace(0, 1, 35, dtype=torch.float64)[1:-1]
    return one.low + (one.high - one.low) * places


def _sides(
    log_density: LogDensity, phi: Tensor, points: Tensor, column: int, sign: int
) -> list[Tail]:
    steps = torch.logspace(0, _DECADES, _DECADES * _EACH + 1, dtype=torch.float64)
    steps = (steps / 10).to(points)  # from a tenth of the point's own size
    away = points[:, column].abs().clamp_min(_LEAST)[:, None] * steps  # [N, T]
    theta = points[:, None, :].repeat(1, len(steps), 1)
    theta[..., column] += sign * away
    rows = phi.repeat_interleave(len(steps), 0)
    with torch.no_grad():
        values = log_density(theta.flatten(0, 1), rows).reshape(len(phi), -1)
    found = []
    for place, level in zip(theta[..., column], values, strict=True):
        first = _first_still(level)
        if first is not None:
            rise = float(level[first:].max() - level[first])
            found.append(
                Tail(column, sign, float(place[first]), float(level[first]), rise)
            )
    return found


def _first_still(values: Tensor) -> int | None:
    """Return the place from which on values [T] do not fall; None if they do."""
    if not bool(torch.isfinite(values).all()):
        return None
    ahead = values.flip(0).cummin(0).values.flip(0)
    first = int((values - ahead <= SLACK).to(torch.uint8).argmax())
    return first if first <= len(values) - 1 - _LASTS * _EACH else None


def bounded_space(space: TargetSpace, tails: list[Tail]) -> TargetSpace:
    """Return the space with an end at a round number beyond where each tail begins."""
    coordinates = list(space.coordinates)
    for tail in tails:
        one = coordinates[tail.column]
        coordinates[tail.column] = _ended(one, tail)
    return replace(space, coordinates=tuple(coordinates))


def _ended(one: Coordinate, tail: Tail) -> Coordinate:
    """Return an interval; the side that nothing was found on ends as far out."""
    end = _rounded(tail.begins, tail.sign)
    if one.kind == "interval":
        known = one.low if tail.sign > 0 else one.high
    else:
        known = 0.0 if one.kind == "positive" else -end
    low, high = sorted((known, end))
    return replace(one, kind="interval", low=low, high=high)


def _rounded(value: float, sign: int) -> float:
    """Return a number of one digit beyond `value`, away from zero on that side."""
    size = max(sign * value, _LEAST)
    power = 10.0 ** math.floor(math.log10(size))
    digit = next(d for d in _ROUND if d * power >= size * (1 - 1e-12))
    return sign * float(f"{digit * power:.3g}")
