"""The pull-back of a metric tensor: F_x = J_fᵀ F(f(x)) J_f, known by its root B J_f."""

from __future__ import annotations

from torch import Tensor

from audit.families.interface import Family
from audit.geometry.divergence import Divergence
from audit.linalg.bounded import bounded
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.stored import LinearOperator
from audit.nodes.noise import Noise


def pull_back(
    divergence: Divergence,
    family: Family,
    phi: Tensor,
    jacobian: LinearOperator,
    noise: Noise,
) -> QuadraticForm:
    """Return δ -> c |B(φ) J δ|², the divergence's local form at each input."""
    root = divergence.metric_root(family, phi, noise)
    finite, beyond = bounded(root, jacobian, phi)
    return QuadraticForm(divergence.scale, family.joined(finite, jacobian), beyond)
