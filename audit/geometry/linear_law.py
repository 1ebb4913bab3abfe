"""Discrete families: the quantile distance is linear in δ, not quadratic.

The quantile function of a discrete law is a step function. A small δ moves it by a
whole step on a set of levels u of size O(|δ|), so that

    E|T_φ(u) − T_φ+δ(u)|² = Σ_i |a_iᵀ δ| + o(|δ|),      a_i the rows of B J:

the first-order change of W₁, e.g. |∂E[θ]| for a Poisson rate. Autograd through the
steps would say zero. The worst unit direction maximises Σ|a_iᵀ v| = max_s ‖Aᵀ s‖ over
signs s: by enumeration for few rows, else by alternating between s and v from several
starts, which gives a lower bound.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from audit.attacks import Attack, DirectedAttack

_ENUMERATE = 8  # rows; 2^7 sign patterns


def linear_coefficients(root: Tensor) -> tuple[Tensor, Tensor]:
    """Return (max over unit v of ‖A v‖₁, Σ_i ‖a_i‖), each [N], for A [N, m, d]."""
    lengths = root.norm(dim=2).sum(dim=1)
    rows = root.shape[1]
    if rows <= _ENUMERATE:
        signs = [(1.0, *rest) for rest in product((1.0, -1.0), repeat=rows - 1)]
        combined = torch.tensor(signs).to(root) @ root  # [N, 2^(m-1), d]
        return combined.norm(dim=2).amax(dim=1), lengths
    return _alternate(root), lengths


def expected_linear(
    attack: Attack, worst: Tensor, lengths: Tensor, d: int
) -> Tensor | None:
    """Return the attack's expected degradation [N]; None where its law is too general.

    For an isotropic law E|aᵀδ| = ‖a‖ E|u₁|, so random attacks cost Σ‖a_i‖ times the
    mean size of one coordinate; a directed one costs the worst coefficient times E[ε].
    """
    size = attack.mean_size(d)
    if size is None:
        return None
    return size * (worst if isinstance(attack, DirectedAttack) else lengths)


def _alternate(root: Tensor, steps: int = 20) -> Tensor:
    starts = root / root.norm(dim=2, keepdim=True).clamp_min(1e-300)
    order = root.norm(dim=2).argsort(dim=1, descending=True)[:, :8]
    v = starts.gather(1, order.unsqueeze(-1).expand(-1, -1, root.shape[2])).mT
    for _ in range(steps):
        v = root.mT @ torch.where(root @ v < 0, -1.0, 1.0).to(root)
        v = v / v.norm(dim=1, keepdim=True).clamp_min(1e-300)
    best: Tensor = (root @ v).abs().sum(dim=1).amax(dim=1)
    return best
