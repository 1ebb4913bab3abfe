"""Jᵀ u by autograd, as the gradient of the scalar ⟨u, y⟩.

torch takes a cotangent as well, but checks its shape by way of sympy, which it imports
first: 0.4 seconds of every scan. The gradient of the sum passes u on, times one, so the
numbers are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    (gradient,) = all_pulled_back(value, (source,), cotangent, keep, create)
    return gradient


def all_pulled_back(
    value: Tensor,
    sources: Sequence[Tensor],
    cotangent: Tensor | None = None,
    keep: bool = False,
    create: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return Jᵀ u for the Jacobian by each of several sources.

    Args:
        value: y, computed from the sources.
        sources: of which y is differentiated.
        cotangent: u; None for ones.
        keep: whether the graph is needed again.
        create: whether the results are differentiated in turn, with respect to u too.
    """
    with torch.enable_grad():  # whoever asks may record nothing himself
        total = (value if cotangent is None else value * cotangent).sum()
    return torch.autograd.grad(
        total, sources, retain_graph=keep, create_graph=create, allow_unused=True
    )
