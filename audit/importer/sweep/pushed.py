"""Tangents pushed forward through a program: J v beside the Jᵀ u of its rows.

Each step is linear in its tangents, ẏ = Σ_k (∂y/∂a_k) ȧ_k, and its rule knows the
transpose of that. The common rules say ẏ themselves (`push`). Any other is read off its
own `pull`, which is linear in the cotangents g and recorded at g = 0:

    ⟨pull(g), ȧ⟩ = ⟨g, ẏ⟩ for every g,   so   ẏ = ∂/∂g ⟨pull(g), ȧ⟩.

All vectors of all inputs go through a step together.

Source: Griewank & Walther, Evaluating Derivatives (2008), 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from audit.importer.sweep.rows import Dense, Piece, dense, merged
from audit.importer.sweep.rules import Kept, Place, Rule, Site

Tangents = Sequence[Tensor | None]
"""Of some values, [n, K, *row shape] each; None where nothing moves."""


Push = Callable[[Kept, Tangents], list[Tensor]]
"""What a rule may have as `push`: what it keeps of a run, and the tangents of each
active argument, in order -> those of each active result."""


def pushed(rule: Rule, site: Site, kept: Kept, given: Tangents) -> list[Tensor | None]:
    """Return the tangents of each active result of a step, in order."""
    there = moving(given)
    if not there:
        return [None for _ in site.outputs]
    push: Push | None = getattr(rule, "push", None)
    if push is not None:
        return list(push(kept, given))
    return _transposed(rule, site, kept, given, there[0])


def moving(given: Tangents) -> list[Tensor]:
    """Return the tangents of what moves."""
    return [tangent for tangent in given if tangent is not None]


def _transposed(
    rule: Rule, site: Site, kept: Kept, given: Tangents, like: Tensor
) -> list[Tensor | None]:
    """Return the same from the rule's transpose."""
    with torch.enable_grad():
        zeros = [
            like.new_zeros(*like.shape[:2], *place.shape).requires_grad_()
            for place in site.outputs.values()
        ]
        pieces: list[Piece | None] = [Dense(0, zero.clone()) for zero in zeros]
        found = rule.pull(kept, pieces)
        parts = [
            (_whole(own, place, like) * tangent).sum()
            for own, place, tangent in zip(
                found, site.active.values(), given, strict=True
            )
            if own and tangent is not None
        ]
        total = torch.stack(parts).sum() if parts else like.new_zeros(())
    if not total.requires_grad:
        return [None for _ in zeros]
    return list(torch.autograd.grad(total, zeros, allow_unused=True))


def _whole(pieces: Sequence[Piece], place: Place, like: Tensor) -> Tensor:
    """Return the cotangents of an argument [n, K, *row shape]."""
    piece = dense(merged(pieces, place.shape), place.shape)
    if (piece.start, piece.stop) != (0, like.shape[1]):
        whole = piece.g.new_zeros(len(piece.g), like.shape[1], *place.shape)
        whole[:, piece.start : piece.stop] = piece.g
        return whole
    return piece.g
