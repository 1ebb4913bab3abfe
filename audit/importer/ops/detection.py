"""Choosing boxes: NonMaxSuppression."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.importer.limits import check_listed
from audit.importer.registry import operator
from audit.importer.values import Host, floats, ints


@operator("NonMaxSuppression", host=(2, 3, 4), zero_derivative=True)
def non_max_suppression(
    boxes: Tensor,
    scores: Tensor,
    limit: Host | Tensor | None = None,
    overlap: Host | Tensor | None = None,
    threshold: Host | Tensor | None = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    """Keep the best boxes of each class that do not overlap a better one too much."""
    check_listed(scores.shape, "The scores of NonMaxSuppression")
    most = ints(limit)[0] if limit is not None else 0
    share = floats(overlap)[0] if overlap is not None else 0.0
    lowest = floats(threshold)[0] if threshold is not None else None
    corners = _corners(boxes.detach(), bool(center_point_box))
    kept: list[list[int]] = []
    for batch, (frames, classes) in enumerate(
        zip(corners, scores.detach(), strict=True)
    ):
        for kind, marks in enumerate(classes):
            chosen = _best(frames, marks, most, share, lowest)
            kept += [[batch, kind, place] for place in chosen]
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device).reshape(-1, 3)


def _corners(boxes: Tensor, centred: bool) -> Tensor:
    """Return (low y, low x, high y, high x)."""
    if centred:
        x, y, width, height = boxes.unbind(-1)
        half_w, half_h = width / 2, height / 2
        return torch.stack([y - half_h, x - half_w, y + half_h, x + half_w], -1)
    a, b = boxes[..., :2], boxes[..., 2:]
    return torch.cat([torch.minimum(a, b), torch.maximum(a, b)], -1)


def _best(
    boxes: Tensor, scores: Tensor, most: int, share: float, lowest: float | None
) -> list[int]:
    order = torch.argsort(scores, descending=True, stable=True)
    if lowest is not None:
        order = order[scores[order] > lowest]
    chosen: list[int] = []
    while len(order) and len(chosen) < most:
        first, order = int(order[0]), order[1:]
        chosen.append(first)
        order = order[_overlap(boxes[first], boxes[order]) <= share]
    return chosen


def _overlap(box: Tensor, others: Tensor) -> Tensor:
    """Return intersection over union."""
    low = torch.maximum(box[:2], others[:, :2])
    high = torch.minimum(box[2:], others[:, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    sizes = (others[:, 2:] - others[:, :2]).prod(-1)
    union = (box[2:] - box[:2]).prod() + sizes - common
    return torch.where(union > 0, common / union, torch.zeros_like(union))
