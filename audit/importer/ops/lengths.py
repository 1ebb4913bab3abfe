"""Lengths: roots of sums of squares, whose slope is looked for where they are zero.

A kernel of distances (a Gaussian process at a row that it was trained on) computes
f(d) of d = √q, q = Σ aᵢ². Where q is zero, so is each aᵢ and with it dq = 2 Σ aᵢ daᵢ,
and the chain rule says f'(d) · dq / (2 d) = f'(0) · 0 / 0. The truth is one of two:

    f'(0) = 0: f(d) − f(0) is of the order d² = q, so its derivative is dq, zero;
    f'(0) ≠ 0: f has a kink there, as |a| has, and no derivative.

So a cotangent that is zero comes back through such a root as zero, and any other as
±∞, which times dq = 0 is NaN: nobody takes a kink for a slope. A root of what may fall
to zero otherwise (√x at zero) keeps the chain rule's 0 · ∞. Tangents are divided by
zero, 0 / 0, whatever follows: forward nothing is known of f.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Root(torch.autograd.Function):
    """√q of a sum of squares; zero cotangents come back as zero where q is zero."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor) -> Tensor:
        """Return the root."""
        return q.sqrt()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ANN401
        """Keep the root."""
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # noqa: ANN401
        """Return g / (2 √q), and 0 for 0 / 0."""
        (root,) = ctx.saved_tensors
        return halved(g, root)


def halved(g: Tensor, root: Tensor) -> Tensor:
    """Return cotangents g / (2 √q) of q, 0 where both are zero."""
    settled = (g == 0) & (root == 0)
    return torch.where(settled, torch.zeros_like(g), g / (2 * root))


def length(q: Tensor) -> Tensor:
    """Return the root of a sum of squares (see the module's docstring)."""
    root: Tensor = _Root.apply(q)  # type: ignore[no-untyped-call]
    return root
