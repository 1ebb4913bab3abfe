"""The chooser: which algorithm decomposes a form."""

from __future__ import annotations

from audit.linalg.exact import decompose_exact
from audit.linalg.operators import LinearOperator, Product, Sampled
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.sampled import decompose_sampled
from audit.linalg.spectrum import Spectrum


def decompose(form: QuadraticForm, top: int) -> Spectrum:
    """Return the spectrum of the form's G = AᵀA with its `top` directions."""
    draws, inner = split(form.root)
    if isinstance(draws, Sampled):
        return decompose_sampled(draws, inner, top)
    return decompose_exact(form.root, top)


def split(root: LinearOperator) -> tuple[LinearOperator, LinearOperator | None]:
    """Return the two factors of a product, or the root alone."""
    if isinstance(root, Product):
        return root.outer, root.inner
    return root, None
