"""The root B of a law's metric tensor at φ, in closed form or by draws."""

from __future__ import annotations

import math

from torch import Tensor

from audit.families.implicit import ImplicitFamily
from audit.families.interface import Family
from audit.geometry.divergences import Divergence, Tensors
from audit.geometry.draws import draws_of, scores_at
from audit.geometry.implicit import implicit_root
from audit.ground.errors import ConfigError
from audit.linalg.operators import LinearOperator, Sampled
from audit.nodes.noise import Noise


def metric_root(
    divergence: Divergence, family: Family, phi: Tensor, noise: Noise
) -> LinearOperator:
    """Return B [N, r, p] with BᵀB the divergence's metric tensor at φ.

    Raises:
        NoFisher, NoTransport: the family has no such tensor.
        ConfigError: nobody knows the tensor.
    """
    if isinstance(family, ImplicitFamily):
        return implicit_root(divergence, family, phi, noise)
    match divergence.tensor:
        case Tensors.TRANSPORT:
            return family.transport_root(phi)
        case Tensors.WASSERSTEIN:
            return family.wasserstein_root(phi)
        case Tensors.FISHER:
            closed = family.fisher_root(phi)
            return sampled_fisher_root(family, phi, noise) if closed is None else closed
    raise ConfigError(
        f"The divergence {divergence.name} has the metric tensor {divergence.tensor!r}",
        f"Expected one of {', '.join(map(str, Tensors))}",
        "Give its row one of these",
    )


def sampled_fisher_root(family: Family, phi: Tensor, noise: Noise) -> Sampled:
    """Return scores / √S at draws from q_φ: BᵀB estimates F(φ) without bias."""
    found = draws_of(family, phi, noise)
    scores = scores_at(family, phi, found.values.detach())
    return Sampled(scores / math.sqrt(scores.shape[1]), unit=found.unit)
