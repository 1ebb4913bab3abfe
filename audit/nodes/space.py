"""The space a target lives in: its coordinates, in the order of θ's columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from audit.ground.errors import ConfigError
from audit.nodes.coordinates import MOST, Coordinate, read_coordinates

_MARKS = re.compile(r"([,(){}])")


@dataclass(frozen=True)
class TargetSpace:
    """The coordinates of θ, in the order of its columns."""

    coordinates: tuple[Coordinate, ...]

    def __str__(self) -> str:
        """The space as --target-space reads it."""
        return ",".join(map(str, self.coordinates))

    @property
    def n(self) -> int:
        """The number of columns of θ."""
        return len(self.coordinates)

    @property
    def discrete(self) -> tuple[int, ...]:
        """The columns that are choices."""
        return tuple(i for i, c in enumerate(self.coordinates) if c.kind == "choice")

    @property
    def continuous(self) -> tuple[int, ...]:
        """The columns that are not."""
        return tuple(i for i, c in enumerate(self.coordinates) if c.kind != "choice")

    def limits(self) -> Tensor:
        """Return the ends [2, c] of u that doubles can represent."""
        ends = [self.coordinates[column].limits for column in self.continuous]
        return torch.tensor(ends, dtype=torch.float64).mT

    def to_target(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the continuous coordinates [..., c] of u [..., c] and log |dθ/du|.

        The second is the sum [...] over coordinates.
        """
        moved = [
            self.coordinates[column].from_unconstrained(u[..., i])
            for i, column in enumerate(self.continuous)
        ]
        if not moved:
            return u, u.sum(-1)
        theta, slope = zip(*moved, strict=True)
        return torch.stack(theta, -1), torch.stack(slope, -1).sum(-1)

    def from_target(self, theta: Tensor) -> Tensor:
        """Return u [..., c] of continuous coordinates [..., c]."""
        moved = [
            self.coordinates[column].to_unconstrained(theta[..., i])
            for i, column in enumerate(self.continuous)
        ]
        return torch.stack(moved, -1) if moved else theta

    def outside(self, theta: Tensor) -> str:
        """Return what a θ [..., n] breaks, "" if all of them are inside.

        Numbers that are not finite say nothing of the space.
        """
        for column, one in enumerate(self.coordinates):
            values = theta[..., column]
            values = values[values.isfinite()]
            if one.kind == "choice":
                known = torch.tensor(one.values, dtype=values.dtype)
                bad = (values.unsqueeze(-1) - known.to(values)).abs().amin(-1) > 1e-6
            elif one.kind == "real":
                continue
            else:
                high = torch.inf if one.kind == "positive" else one.high
                low = 0.0 if one.kind == "positive" else one.low
                bad = (values < low) | (values > high)
            if bool(bad.any()):
                first = float(values[bad][0])
                return f"{one.name} is {one.kind}, and {first:g} was drawn"
        return ""

    def choices(self) -> Tensor:
        """Return every combination of the discrete values [D, n − c], D ≥ 1."""
        values = [self.coordinates[i].values for i in self.discrete]
        return torch.tensor(list(product(*values)), dtype=torch.float64)

    def assemble(self, continuous: Tensor, discrete: Tensor) -> Tensor:
        """Return θ [..., n] from its parts [..., c] and [..., n − c]."""
        columns = (*self.continuous, *self.discrete)
        order = sorted(range(self.n), key=columns.__getitem__)
        return torch.cat([continuous, discrete], dim=-1)[..., order]


def real_space(n: int) -> TargetSpace:
    """Return R^n, with coordinates theta0, theta1 and so on."""
    return TargetSpace(tuple(Coordinate(f"theta{i}") for i in range(n)))


def parse_space(text: str) -> TargetSpace:
    """Read "rt:positive,choice:{-1,1}", "theta:real*3" or "a:interval(0,10)".

    Raises:
        ConfigError: the text is empty, a part is not NAME:KIND, a kind is unknown, its
            numbers are missing or in the wrong order, or a name comes twice.
    """
    found: dict[str, Coordinate] = {}
    combinations = 1
    for one in (c for part in _parts(text) for c in read_coordinates(part, text)):
        if one.name in found:
            raise ConfigError(
                f"The target space {text!r} names the coordinate {one.name!r} twice",
                "Every coordinate has its own name",
                "Rename one of them, or repeat one with *2",
            )
        found[one.name] = one
        combinations *= len(one.values) or 1
        if max(len(found), combinations) > MOST:
            raise ConfigError(
                f"The target space has {len(found)} coordinates with {combinations} "
                "combinations of choices, or more",
                f"Expected at most {MOST} of either",
                "Audit fewer coordinates, or give draws of θ",
            )
    return TargetSpace(tuple(found.values()))


def _parts(text: str) -> list[str]:
    """Cut at commas outside braces and parentheses."""
    parts, depth = [""], 0
    for piece in _MARKS.split(text):
        depth += (piece in ("(", "{")) - (piece in (")", "}") and depth > 0)
        if piece == "," and not depth:
            parts.append("")
        else:
            parts[-1] += piece
    return parts
