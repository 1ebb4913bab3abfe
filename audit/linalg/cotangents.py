"""Jᵀ u by autograd, as the gradient of the scalar ⟨u, y⟩.

torch takes a cotangent as well, but checks its shape by way of sympy, which it imports
first: 0.4 seconds of every scan. The gradient of the sum passes u on, times one, so the
numbers are the same to the last bit.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pulled_back(
    value: Tensor,
    source: Tensor,
    cotangent: Tensor,
    keep: bool = False,
    create: bool = False,
) -> Tensor | None:
    """Return Jᵀ u for u of the value's shape; None where nothing connects the two.

    Args:
        value: y, computed from the source.
        source: x, of which y is differentiated.
        cotangent: u.
        keep: whether the graph is needed again.
        create: whether the result is differentiated in turn, with respect to u too.
    """
    total = (value * cotangent).sum()
    (found,) = torch.autograd.grad(
        total, source, retain_graph=keep, create_graph=create, allow_unused=True
    )
    gradient: Tensor | None = found
    return gradient
