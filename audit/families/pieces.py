"""What a file computes at many nodes, some rows at a time, and its gradients.

Shapes: S nodes, N inputs, p parameters and c numbers of context.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from audit.ground.errors import NotDifferentiable
from audit.linalg.cotangents import all_pulled_back

ROWS = 4096  # of one call: about what a cache holds of a small network
SCORED = 8192  # of a call whose derivatives are taken: it is many small steps
MORE = 16384  # of such a call, of very many nodes; of one without derivatives


def pieces(
    values: Tensor, phi: Tensor, rows: int = SCORED
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield values [S, N, …] with the φ of their input, some rows at a time."""
    flat, inputs = values.flatten(0, 1), values.shape[1]
    for first in range(0, len(flat), rows):
        part = flat[first : first + rows]
        owner = torch.arange(first, first + len(part), device=phi.device) % inputs
        yield part, phi.detach()[owner]


def gradient(total: Tensor, leaf: Tensor, what: str, keep: bool = False) -> Tensor:
    """Return the gradient of a total by a leaf.

    Args:
        total: numbers, whose sum is differentiated.
        leaf: what they are made of.
        what: the words for the total.
        keep: whether the graph is used again.

    Raises:
        NotDifferentiable: the total does not depend on the leaf.
    """
    if total.requires_grad:
        (found,) = all_pulled_back(total, (leaf,), keep=keep)
        if found is not None:
            return found
    raise NotDifferentiable(
        f"No gradient connects the condition with {what}",
        "Expected a path of differentiable operators from one to the other",
        "robaudit inspect names the first operator that stops it; a root-finding "
        "inverse (bisection) lets none through",
    )
