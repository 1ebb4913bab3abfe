"""Losses of the standard: negative log-likelihood and softmax cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.registry import operator


@operator("NegativeLogLikelihoodLoss", zero_inputs=(1,))
def nll_loss(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the picked log-probability, weighted; `mean` divides by the weights."""
    labels = target.to(torch.int64)
    kept = torch.ones_like(labels, dtype=torch.bool)
    if ignore_index is not None:
        kept = labels != ignore_index
    place = torch.where(kept, labels, torch.zeros_like(labels))
    picked = -x.gather(1, place.unsqueeze(1)).squeeze(1)
    each = torch.ones_like(picked) if weight is None else weight[place]
    each = torch.where(kept, each, torch.zeros_like(each))
    loss = torch.where(kept, picked * each, torch.zeros_like(picked))
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / each.sum()


@operator("SoftmaxCrossEntropyLoss", zero_inputs=(1,))
def softmax_cross_entropy(
    scores: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> tuple[Tensor, Tensor]:
    """The same loss on the log-softmax over axis 1, which is the second output."""
    log_probability = functional.log_softmax(scores, 1)
    loss = nll_loss(
        log_probability,
        labels,
        weights,
        ignore_index=ignore_index,
        reduction=reduction,
    )
    return loss, log_probability
