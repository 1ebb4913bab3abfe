"""Exact divergences between q(θ|x) and q(θ|x + δ), to hold predictions against.

Closed forms and quadrature come from the family. Where it has none, draws θ ~ q_φ,
the same for every δ, give D = E_q[g(q'/q)] with a standard error.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.families.implicit import ImplicitFamily
from audit.families.interface import Family
from audit.geometry.divergences import Divergence
from audit.geometry.draws import draws_of
from audit.geometry.implicit import implicit_values
from audit.linalg.sampled import mean_over_units
from audit.noise import Noise


def exact_values(
    divergence: Divergence, family: Family, phi: Tensor, others: Tensor, noise: Noise
) -> tuple[Tensor, Tensor] | None:
    """Return D(q_φ ‖ q_φ') and its standard error, both [N, M].

    Args:
        divergence: which one.
        family: of both laws.
        phi: φ [N, p].
        others: φ' [N, M, p].
        noise: of the draws, where they are needed.

    Returns:
        None where the divergence cannot be computed or estimated.
    """
    if isinstance(family, ImplicitFamily):
        return implicit_values(divergence, family, phi, others, noise)
    n, m, p = others.shape
    flat = phi.unsqueeze(1).expand(n, m, p).reshape(n * m, p)
    values = divergence.exact(family, flat, others.reshape(n * m, p))
    if values is not None:
        return values.reshape(n, m), torch.zeros(n, m, dtype=phi.dtype)
    if divergence.pointwise is None:
        return None
    return _by_draws(divergence, family, phi, others, noise)


def _by_draws(
    divergence: Divergence, family: Family, phi: Tensor, others: Tensor, noise: Noise
) -> tuple[Tensor, Tensor]:
    assert divergence.pointwise is not None
    drawn = draws_of(family, phi, noise)
    targets = drawn.values  # [S, N, *event]
    here = family.distribution(phi).log_prob(targets)  # [S, N]
    columns = []
    for other in others.unbind(dim=1):
        log_ratio = family.distribution(other).log_prob(targets) - here
        samples = divergence.pointwise(log_ratio).T / len(targets)
        columns.append(mean_over_units(samples, drawn.unit))
    errors = [found.standard_error for found in columns]
    return (
        torch.stack([found.value for found in columns], dim=1),
        torch.stack([error for error in errors if error is not None], dim=1),
    )
