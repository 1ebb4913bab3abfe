"""An operand that NumPy's broadcasting stretched, and what comes back to it.

Its cotangents are summed over what it was stretched along; its tangents are stretched
as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from audit.importer.sweep.rules import (
    Place,
)


def lifted(value: Tensor, out: Place) -> Tensor:
    """Return an operand of a broadcast [n or 1, 1, *row], with as many axes as it."""
    whole = value.reshape(*(1,) * (out.rank - value.dim()), *value.shape)
    return out.first(whole).unsqueeze(1)


def risen(tangent: Tensor, out: Place) -> Tensor:
    """Return the tangents [n, K, *row] of an operand, with the result's axes."""
    missing = len(out.shape) + 2 - tangent.dim()
    return tangent.reshape(*tangent.shape[:2], *(1,) * missing, *tangent.shape[2:])


def spread(parts: Sequence[Tensor], out: Place) -> Tensor:
    """Return the sum of some tangents, in the shape of the result."""
    total, *more = parts
    for part in more:
        total = total + part
    return total.expand(*total.shape[:2], *out.shape)


def summed_to(g: Tensor, shape: Sequence[int]) -> Tensor:
    """Return cotangents summed over what an operand was stretched along."""
    if g.shape[2:] == shape:
        return g
    extra = g.dim() - 2 - len(shape)
    if extra:
        g = g.sum(dim=tuple(range(2, 2 + extra)))
    stretched = [
        axis
        for axis, (there, own) in enumerate(zip(g.shape[2:], shape, strict=True), 2)
        if there != own
    ]
    return g.sum(dim=stretched, keepdim=True) if stretched else g


def aligned(place: Place, out: Place) -> bool:
    """Whether an operand's batch, counted from the right, is the result's."""
    same = place.axis - place.rank == out.axis - out.rank
    return same and (place.joined, place.striped) == (out.joined, out.striped)
