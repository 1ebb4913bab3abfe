"""The quantities of a local law, each a column [n]."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from audit.families.implicit import ImplicitFamily
from audit.geometry.chain import factor
from audit.geometry.comparison import angle, attained
from audit.geometry.divergences import Divergence, Tensors
from audit.geometry.linear_law import LinearLaw
from audit.geometry.trust import averaging_checks
from audit.linalg.decompose import decompose, split
from audit.linalg.operators import (
    Averaged,
    Product,
)
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Estimate, Spectrum
from audit.measure.point import Point
from audit.measure.questions import Floats, Questions

LINEAR = "the distance is linear in the perturbation: see 'linear'"


def quadratic_columns(
    form: QuadraticForm, spectrum: Spectrum, questions: Questions
) -> dict[str, Tensor]:
    """Return the quantities of a quadratic form, each [n]."""
    columns = _with_error("trace", spectrum.trace) | _with_error(
        "eigenvalue", spectrum.top
    )
    if spectrum.bracket is not None:
        columns["eigenvalue_lower"], columns["eigenvalue_upper"] = spectrum.bracket
    columns |= {
        "gap": spectrum.gap,
        "rank": spectrum.rank,
        "effective_rank": spectrum.effective_rank,
        "radius": (questions.tau / (form.scale * spectrum.top.value)).sqrt(),
    }
    outer, inner = split(form.root)
    if isinstance(outer, Averaged):
        columns |= averaging_checks(outer, inner, spectrum)
    for label, attack in questions.attacks.items():
        columns |= _with_error(label, attack.expected(form, spectrum))
    return columns


def chain(point: Point, form: QuadraticForm, spectrum: Spectrum) -> dict[str, Tensor]:
    """Return what map and family contribute; nothing where φ is not the model's own."""
    if isinstance(point.family, ImplicitFamily):
        return {}
    assert isinstance(form.root, Product)
    return factor(form.root, spectrum.trace.value)


def relative_blur(blurred: QuadraticForm, spectrum: Spectrum) -> Tensor:
    """Return the relative error [n] of the top eigenvalue, from that of the Jacobian.

    A root A known up to E has σ_max within ‖E‖ of the truth, so λ = σ² within
    2‖E‖ / σ of itself; the trace within no more.
    """
    squared = blurred.root.gram().diagonal(dim1=1, dim2=2).sum(dim=1)
    return 2 * (squared / spectrum.top.value).sqrt()


def compare(one: tuple[QuadraticForm, Spectrum], other: Spectrum) -> dict[str, Tensor]:
    """Return how one divergence's worst direction stands to the other's, each [n]."""
    form, spectrum = one
    return {
        "angle": angle(spectrum, other),
        "attained": attained(form, spectrum, other),
    }


def complete_data_bound(point: Point) -> dict[str, Tensor]:
    """Return the certified bounds of a mixture: its labels known, F can only grow."""
    root = point.family.complete_fisher_root(point.phi)
    if root is None:
        return {}
    bound = decompose(QuadraticForm(1.0, Product(root, point.jacobian)), 1)
    return {"trace_bound": bound.trace.value, "eigenvalue_bound": bound.top.value}


def linear_law(divergence: Divergence, point: Point) -> LinearLaw | None:
    """Return the linear law of a discrete family; None where the form is quadratic."""
    if divergence.tensor is Tensors.FISHER:
        return None
    root = point.family.linear_root(point.phi)
    if root is None:
        return None
    return LinearLaw(Product(root, point.jacobian).dense())


def linear_columns(law: LinearLaw, questions: Questions) -> dict[str, Tensor]:
    """Return the quantities of a linear law, each [n]."""
    columns = {"linear": law.coefficient, "radius": questions.tau / law.coefficient}
    for label, attack in questions.attacks.items():
        expected = law.expected(attack)
        value = torch.full_like(law.coefficient, torch.nan)
        columns[label] = value if expected is None else expected.value
    return columns


def missing_reasons(columns: dict[str, Tensor], questions: Questions) -> dict[str, str]:
    """Say what a linear law leaves open."""
    reasons = {"trace": LINEAR, "eigenvalue": LINEAR}
    for label in questions.attacks:
        if bool(columns[label].isnan().all()):
            reasons[label] = "two moments of δ do not give the mean of |aᵀδ|"
    return reasons


def _with_error(name: str, estimate: Estimate) -> dict[str, Tensor]:
    if estimate.standard_error is None:
        return {name: estimate.value}
    return {name: estimate.value, f"{name}_se": estimate.standard_error}


def plain(values: Tensor) -> Floats:
    """Return numbers as float64, NaN where they are not finite."""
    array: Floats = values.detach().double().cpu().numpy()
    return np.where(np.isfinite(array), array, np.nan)
