"""What the map contributes and what the family contributes.

For white noise E[D] ≈ c σ² tr(F JJᵀ), and with eigenvalues in descending order

    tr(F JJᵀ) ≤ Σ λ_i(F) λ_i(JJᵀ) ≤ ‖F‖_F ‖JJᵀ‖_F ≤ ‖F‖_F ‖J‖_F².

The first bound is von Neumann's trace inequality, the tightest that the two spectra
allow; alignment = tr(F JJᵀ) / Σ λ_i(F) λ_i(JJᵀ) ∈ [0, 1] says how far the map's
strong directions are those that the family is vulnerable in. ‖J‖_F² is the Jacobian
regulariser (Hoffman et al., Robust learning with Jacobian regularization, 2019).
Each factor depends on how φ is written (σ or log σ); their product's left side does
not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.linalg.averaged import Sampled
from audit.linalg.bounded import Bounded
from audit.linalg.exact import gram_eigenvalues
from audit.linalg.operators import Product
from audit.linalg.sampled import compact_draws

FACTORS = (
    "model_norm",
    "map_norm",
    "jacobian_norm",
    "map_effective_rank",
    "von_neumann",
    "alignment",
)


def factor(root: Product, trace: Tensor) -> dict[str, Tensor]:
    """Return every factor of the chain [N] for a form with root B J and trace tr G.

    ‖F‖ may be infinite in parameters that the map does not move; where the map moves
    nothing (J = 0), or what it moves tells nothing (F = 0), nothing is aligned.
    """
    outer = root.outer
    if isinstance(outer, Sampled):
        compact = compact_draws(outer)
        outer = compact if outer.beyond is None else Bounded(compact, outer.beyond)
    model, mapped = gram_eigenvalues(outer), gram_eigenvalues(root.inner)
    count = min(model.shape[1], mapped.shape[1])
    von_neumann = (model[:, :count] * mapped[:, :count]).sum(dim=1)
    jacobian_norm, map_norm = mapped.sum(dim=1), mapped.norm(dim=1)
    infinite, still = (model == torch.inf).any(dim=1), jacobian_norm == 0
    von_neumann = torch.where(infinite, torch.inf, von_neumann)
    von_neumann = torch.where(still, 0.0, von_neumann)
    nothing = von_neumann == 0  # F may be nothing too, or less than numbers tell
    spread = jacobian_norm.square() / map_norm.square()
    return {
        "model_norm": torch.where(infinite, torch.inf, model.norm(dim=1)),
        "map_norm": map_norm,
        "jacobian_norm": jacobian_norm,
        "map_effective_rank": torch.where(still, 0.0, spread),
        "von_neumann": von_neumann,
        "alignment": torch.where(nothing, 0.0, trace / von_neumann),
    }
