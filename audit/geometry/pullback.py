"""The pull-back of a metric tensor: F_x = J_fᵀ F(f(x)) J_f, known by its root B J_f."""

from __future__ import annotations

from torch import Tensor

from audit.families.implicit import ImplicitFamily
from audit.families.interface import Family
from audit.geometry.divergences import Divergence
from audit.geometry.roots import metric_root
from audit.linalg.bounded import bounded
from audit.linalg.operators import LinearOperator, Product, compose
from audit.linalg.quadratic_form import QuadraticForm
from audit.nodes.noise import Noise


def pull_back(
    divergence: Divergence,
    family: Family,
    phi: Tensor,
    jacobian: LinearOperator,
    noise: Noise,
) -> QuadraticForm:
    """Return δ -> c |B(φ) J δ|², the divergence's local form at each input."""
    root = metric_root(divergence, family, phi, noise)
    finite, beyond = bounded(root, jacobian, phi)
    joined = (compose if isinstance(family, ImplicitFamily) else Product)(
        finite, jacobian
    )
    return QuadraticForm(divergence.scale, joined, beyond)
