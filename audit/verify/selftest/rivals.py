"""What explains θ as well as another reading does, without any mistake in the reading.

A model may be over- or under-confident by a constant factor, and off in its place by a
constant. A law that lies half a unit beside its θ has errors far above its σ, and √σ
fits them better than any factor of σ does. The rivals of another reading are fitted to
these θ:

    f scale    f from 10⁻³ to 10³
    loc + b    b the mean or the median of θ − loc, or 0

A reading with nothing fitted that still beats all of them is no chance. A
number that is fitted beside the factor gains something by chance (half of a χ², under
the true law), so each pays 5 nats, which one gains in 2 of 1,000 samples.

An error that a model misses is no rival: √(σ² + c²) is near to σ^½ wherever σ is read
as σ², and would excuse that in any model that is not perfect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from audit.families.interface import Family
from audit.verify.selftest.pairs import Rows

_FACTORS = torch.logspace(-3, 3, 121, dtype=torch.float64).tolist()
_LOC, _SCALE = "loc", "scale"
_PAID = 5.0  # nats, for each number that is fitted
_OF_LOG = ("log_normal",)
"""Laws whose place is that of log θ."""


def rescaled(rows: Rows, name: str) -> tuple[float, Tensor]:
    """Return the best constant factor of a parameter, and log q(θ) [n] of all rivals.

    Args:
        rows: as they are read.
        name: of the parameter.
    """
    scaled = [(f, rows.log_likelihood(_times(rows, name, f))) for f in _FACTORS]
    best = max(scaled, key=lambda found: float(found[1].sum()))
    others = [best[1], *_fitted(rows, name)]
    return best[0], max(others, key=lambda found: float(found.sum()))


def scale_of(family: Family) -> str | None:
    """Return the parameter whose rivals stand beside any reading of a law."""
    return _SCALE if {_LOC, _SCALE} <= set(family.parameters) else None


def moved(rows: Rows) -> Iterator[Rows]:
    """Yield the rows with the law's place moved by what θ are off, mean and median."""
    off = _off(rows)
    if off is None:
        return
    for shift in (off.mean(0), off.median(0).values):
        if not bool(shift.any()):
            continue
        yield rows.with_phi(rows.changed(_LOC, _plus(shift)))


def _fitted(rows: Rows, name: str) -> Iterator[Tensor]:
    """Yield log q(θ) [n] of the law in another place, less what that costs."""
    paid = _PAID * rows.theta[0].numel() / len(rows.theta)
    for placed in moved(rows):
        for factor in _FACTORS:
            yield placed.log_likelihood(_times(placed, name, factor)) - paid


def _off(rows: Rows) -> Tensor | None:
    """Return θ − loc [n, *event]; None for laws without such a place."""
    if _LOC not in rows.family.parameters:
        return None
    loc = rows.family.unpack(rows.phi)[_LOC]
    theta = rows.theta.log() if rows.family.name in _OF_LOG else rows.theta
    return theta - loc if loc.shape == theta.shape else None


def _times(rows: Rows, name: str, factor: float) -> Tensor:
    return rows.changed(name, lambda values: factor * values)


def _plus(shift: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda values: values + shift
