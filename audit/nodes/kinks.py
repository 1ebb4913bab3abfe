"""What halving tells of a cell that a kink runs through.

Spline flows have densities whose slope jumps along curves, and a score that jumps
itself. Through such a cell the rules of 17 and of 9 points differ by a gap that
falls by a half to an eighth each time the cell is halved, whatever their order; where
a density is smooth it falls by 2⁻⁹ or more. The estimate of QUADPACK, made for smooth
functions, is then too large by (200³ gap)^½, about a hundred, and no number of cells
reaches its tolerance.

So a cell whose gap does not fall is said to be *rough*. Its error is taken for the
larger of two numbers that both are one, not of a power of them: its own gap, and half
of what the halving of its parent changed of the integral. The gap is the error of the
rule of 9 points, so it does not flatter that of 17; the change was the error of the
parent. After three halvings in vain a cell is cut further only while the errors, added
without their signs, are more than `ENOUGH` of the whole. A gap above `SEEN` is that of
a cell wider than what it should see (a ridge, a mode) and says nothing of kinks.

Shapes: M laws, K parents, 2 K halves: all first ones, then all second ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SEEN = 0.005  # of an integral: a gap above is that of a cell that sees nothing yet
FALLS = 16.0  # times at which a gap falls, at least, where a density is smooth
IN_VAIN = 3  # halvings
ENOUGH = 5e-4  # of the whole


def roughness(
    parent_gap: Tensor, parent_mass: Tensor, parent_rough: Tensor, gap: Tensor
) -> Tensor:
    """Return how many halvings in a row were in vain, of each half [M, 2 K].

    Args:
        parent_gap: logarithms of the parents' gaps [M, K] along the axis of the cut.
        parent_mass: of their integrals [M, K].
        parent_rough: how many were before [M, K].
        gap: logarithms of the halves' gaps [M, 2 K] along it.
    """
    both = torch.logaddexp(*gap.chunk(2, dim=1))
    stays = both > parent_gap - math.log(FALLS)
    stays &= parent_gap < parent_mass + math.log(SEEN)
    return torch.where(stays, parent_rough + 1, 0).repeat(1, 2)


def change(parent_mass: Tensor, mass: Tensor) -> Tensor:
    """Return log |I − I₁ − I₂|, what halving changed of an integral [M, 2 K].

    Args:
        parent_mass: log I of the parents [M, K].
        mass: log I₁ and log I₂ of their halves [M, 2 K].
    """
    both = torch.logaddexp(*mass.chunk(2, dim=1))
    top = torch.maximum(both, parent_mass)
    safe = torch.where(top.isfinite(), top, 0.0)
    gone = ((parent_mass - safe).exp() - (both - safe).exp()).abs()
    return (gone.log() + safe).repeat(1, 2)


def rough_error(error: Tensor, gap: Tensor, changed: Tensor, rough: Tensor) -> Tensor:
    """Return log errors [M, 2 K], those of rough cells by their gaps.

    Args:
        error: by QUADPACK's estimate, a logarithm like the next two.
        gap: of the halves along all axes.
        changed: by the halving.
        rough: halvings in vain.
    """
    told = torch.maximum(gap, changed - math.log(2))
    return torch.where(rough > 0, torch.minimum(error, told), error)
