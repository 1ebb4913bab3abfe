"""The chooser: which algorithm decomposes a form."""

from __future__ import annotations

from audit.linalg.averaged import Sampled
from audit.linalg.exact import SINGLE, SMALLER, decompose_exact
from audit.linalg.krylov import decompose_krylov
from audit.linalg.matrix_free import free_part
from audit.linalg.operators import Product
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.sampled import decompose_sampled
from audit.linalg.spectrum import Spectrum
from audit.linalg.stored import LinearOperator


def decompose(
    form: QuadraticForm, top: int, rounding: float = SINGLE, side: str = SMALLER
) -> Spectrum:
    """Return the spectrum of the form's G = AᵀA with its `top` directions.

    Args:
        form: for N inputs.
        top: how many directions.
        rounding: the relative precision of the root's entries.
        side: of the root whose Gram matrix is decomposed, where there is one.
    """
    draws, inner = split(form.root)
    free = free_part(form.root)
    if free is not None:
        found = decompose_krylov(form.root, top, free.draw, rounding)
    elif isinstance(draws, Sampled):
        found = decompose_sampled(draws, inner, top, side)
    else:
        found = decompose_exact(form.root, top, rounding, side)
    return found if form.beyond is None else found.extended(form.beyond)


def split(root: LinearOperator) -> tuple[LinearOperator, LinearOperator | None]:
    """Return the two factors of a product, or the root alone."""
    if isinstance(root, Product):
        return root.outer, root.inner
    return root, None
