"""Boxes cut near the modes of a density, before anything is integrated.

A rule of 17 points sees nothing of a mode that is much narrower than its box, and says
that its integral stands. So a box is halved while it is wider than `WIDEST` spans of a
mode of which a part within `NEAR` spans lies in it. The boxes around are graded, each
about as wide as its distance from the mode, so that they see what else is there.

Shapes: M laws, P boxes, J modes, c ∈ {1, 2} axes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from audit.nodes.charts import lattice, picked
from audit.nodes.peaks import Peaks

WIDEST = 8.0
NEAR = 4.0
DEPTH = 100  # halvings of a box
MOST = 6000  # boxes of a law


class Boxes(NamedTuple):
    """Boxes of M laws; an empty one has no size."""

    low: Tensor  # [M, P, c]
    high: Tensor  # [M, P, c]
    used: Tensor  # is one, or one that is new [M, P]


def first_boxes(low: Tensor, high: Tensor, pieces: int) -> Boxes:
    """Return the box [M, c] cut into equal pieces on each axis."""
    unit = torch.linspace(0, 1, pieces + 1, dtype=torch.float64)[:, None]
    edges = low.unsqueeze(1) + (high - low).unsqueeze(1) * unit
    lows, highs = lattice(edges[:, :-1]), lattice(edges[:, 1:])
    return Boxes(lows, highs, torch.ones(lows.shape[:2], dtype=torch.bool))


def divide(boxes: Boxes, peaks: Peaks) -> Boxes:
    """Return the boxes, those at a peak halved down to its span.

    Args:
        boxes: with the mark `used`, which halves have too.
        peaks: in the same coordinates.
    """
    if peaks.height.shape[1] == 0:
        return boxes
    for _ in range(DEPTH):
        ratio = _widths(boxes, peaks)
        widest, axis = ratio.max(-1)
        wanted = widest > WIDEST
        wanted &= (boxes.high > boxes.low).all(-1).sum(-1, keepdim=True) < MOST
        if not wanted.any():
            break
        boxes = _cut(boxes, wanted, axis)
    return boxes


def _widths(boxes: Boxes, peaks: Peaks) -> Tensor:
    """Return how many spans wide a box is [M, P, c], of the narrowest mode in it."""
    low, high = boxes.low.unsqueeze(2), boxes.high.unsqueeze(2)
    reach = NEAR * peaks.span
    inside = (low <= (peaks.at + reach).unsqueeze(1)) & (
        high >= (peaks.at - reach).unsqueeze(1)
    )
    inside = inside.all(-1) & peaks.height.isfinite().unsqueeze(1)
    ratio = (high - low) / peaks.span.unsqueeze(1)
    return ratio.masked_fill(~inside.unsqueeze(-1), 0.0).amax(2)


def _cut(boxes: Boxes, wanted: Tensor, axis: Tensor) -> Boxes:
    """Halve the wanted boxes [M, P] along an axis [M, P]; the halves are marked."""
    low, high, used = boxes
    count = int(wanted.sum(-1).max())
    cut = torch.nn.functional.one_hot(axis, low.shape[-1]).bool()
    cut &= wanted.unsqueeze(-1)
    middle = (low + high) / 2
    at = wanted.to(torch.int8).argsort(dim=-1, descending=True, stable=True)[:, :count]
    right_low = picked(torch.where(cut, middle, low), at)
    kept = wanted.gather(1, at)
    right_high = torch.where(kept.unsqueeze(-1), picked(high, at), right_low)
    return Boxes(
        torch.cat([low, right_low], 1),
        torch.cat([torch.where(cut, middle, high), right_high], 1),
        torch.cat([used | wanted, kept], 1),
    )
