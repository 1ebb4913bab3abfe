"""The chooser: which algorithm decomposes a form."""

from __future__ import annotations

from audit.linalg.exact import decompose_exact
from audit.linalg.operators import Product, Sampled
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.sampled import decompose_sampled
from audit.linalg.spectrum import Spectrum


def decompose(form: QuadraticForm, top: int) -> Spectrum:
    """Return the spectrum of the form's G = AᵀA with its `top` directions."""
    root = form.root
    if isinstance(root, Product) and isinstance(root.outer, Sampled):
        return decompose_sampled(root.outer, root.inner, top)
    return decompose_exact(root, top)
