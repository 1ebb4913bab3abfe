"""The quantities of a local law, each a column [n] with an outcome for each input.

Where the form is zero every quantity of it has its limit: nothing is lost, no radius is
large enough, no direction matters. Where it is infinite, everything is lost at once,
and what compares its eigenvalues cannot be measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from audit.geometry.chain import FACTORS, factor
from audit.geometry.comparison import angle, attained
from audit.geometry.divergence import Divergence
from audit.geometry.trust import averaging_checks
from audit.linalg.averaged import Averaged
from audit.linalg.bounded import bounded
from audit.linalg.decompose import decompose, split
from audit.linalg.operators import Product
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Estimate, Spectrum
from audit.measure.linear_law import LinearLaw
from audit.measure.point import Point
from audit.measure.questions import Questions
from audit.reports.roles import ERROR, LOWER, UPPER, named
from audit.reports.values import Floats, Values

LINEAR = "the distance is linear in the perturbation: see 'linear'"
TWO_MOMENTS = "two moments of δ do not give the mean of |aᵀδ|"
INFINITE = "the form is infinite or overflows"
NOT_RESOLVED = "no sum or quadrature resolves the law at these parameters"
OF_LAW = "the law's own tensor is infinite or overflows"
NOTHING = "at rest: there is nothing to have a share of"
NO_DIRECTION = "at rest: no direction is the worst"
UNSETTLED = "its leading eigenvalues did not settle in the products allowed"
PARTIAL = "it takes all eigenvalues, or all of J, and only products were made (krylov)"
OPEN = "no single worst direction where the two largest eigenvalues are equal"


@dataclass(frozen=True)
class Found:
    """A divergence's local form at n inputs, decomposed."""

    form: QuadraticForm
    spectrum: Spectrum

    @cached_property
    def step(self) -> Tensor:
        """J v of the top direction v [n, p, 1], of a form whose root is B J."""
        assert isinstance(self.form.root, Product)
        return self.form.root.inner.matmat(self.spectrum.directions[:, :, :1])


def of_form(
    found: Found, questions: Questions, caveats: Mapping[str, Tensor]
) -> dict[str, Values]:
    """Return the quantities of a quadratic form.

    Args:
        found: the form.
        questions: what is asked.
        caveats: why the form may be infinite -> where [n].
    """
    form, spectrum = found.form, found.spectrum
    columns = _with_error("trace", spectrum.trace) | _with_error(
        "eigenvalue", spectrum.top
    )
    columns |= {
        "gap": spectrum.gap,
        "rank": spectrum.rank,
        "effective_rank": spectrum.effective_rank,
        "radius": math.sqrt(questions.tau / form.scale) / spectrum.top.value.sqrt(),
    }
    for label, attack in questions.attacks.items():
        columns |= _with_error(label, attack.expected(form, spectrum))
    reasons = _of_infinite(spectrum, caveats)
    if spectrum.residual is None:
        return _all(columns, spectrum.at_rest, reasons)
    whole = {name: columns.pop(name) for name in ("rank", "effective_rank")}
    reasons_of_whole = {PARTIAL: spectrum.trace.value.isfinite(), **reasons}
    return (
        _all(columns, spectrum.at_rest, reasons)
        | _all(whole, spectrum.at_rest, reasons_of_whole)
        | _all({"residual": spectrum.residual}, None, reasons)
    )


def beside_form(
    divergence: Divergence, found: Found, point: Point, caveats: Mapping[str, Tensor]
) -> dict[str, Values]:
    """Return what stands beside a form: factors, bounds, and checks of an average."""
    spectrum = found.spectrum
    columns: dict[str, Tensor] = {}
    reasons = _of_infinite(spectrum, caveats)
    if spectrum.partial:
        return _unknown_factors(divergence, point)
    if point.family.parametric:
        assert isinstance(found.form.root, Product)
        columns |= factor(found.form.root, spectrum.trace.value)
        norm = columns["model_norm"]
        reasons |= {OF_LAW: torch.isinf(norm), NOT_RESOLVED: norm.isnan()}
    outer, inner = split(found.form.root)
    if isinstance(outer, Averaged):
        columns |= averaging_checks(outer, inner, spectrum)
        reasons = {NO_DIRECTION: spectrum.at_rest, **reasons}
    if divergence.is_transport:
        share = point.family.tail_share(point.phi, point.jacobian)
        if share is not None:
            columns["tail_share"] = share
            reasons = {NOTHING: spectrum.at_rest, **reasons}
    return _all(columns, None, reasons)


def _unknown_factors(divergence: Divergence, point: Point) -> dict[str, Values]:
    """Return the columns beside a form as what products alone do not tell."""
    names = [*FACTORS]
    if divergence.is_transport and point.family.tail_root(point.phi) is not None:
        names.append("tail_share")
    return {name: Values.unmeasured(len(point.phi), PARTIAL) for name in names}


def _of_infinite(
    spectrum: Spectrum, caveats: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return why a form is infinite, or not known -> where."""
    infinite = spectrum.infinite
    return {
        **{why: where & infinite for why, where in caveats.items()},
        INFINITE: infinite,
        NOT_RESOLVED: spectrum.unknown,
        UNSETTLED: spectrum.unsettled,
    }


def relative_blur(blurred: QuadraticForm, spectrum: Spectrum) -> Values:
    """Return the relative error [n] of the top eigenvalue, from that of the Jacobian.

    A root A known up to E has σ_max within ‖E‖ of the truth, so λ = σ² within
    2‖E‖ / σ of itself; the trace within no more.
    """
    squared = blurred.root.gram().diagonal(dim1=1, dim2=2).sum(dim=1)
    share = 2 * (squared / spectrum.top.value).sqrt()
    share = torch.where(squared == 0, 0.0, share)
    return values_of(share, None, _of_infinite(spectrum, {}))


def compare(one: Found, other: Found) -> dict[str, Values]:
    """Return how one divergence's worst direction stands to the other's, each [n]."""
    found = {
        "angle": angle(one.spectrum, other.spectrum),
        "attained": attained(one.form, one.spectrum, other.spectrum),
    }
    still = one.spectrum.at_rest | other.spectrum.at_rest
    infinite = one.spectrum.infinite | other.spectrum.infinite
    unknown = one.spectrum.unknown | other.spectrum.unknown
    reasons = {
        NO_DIRECTION: still,
        INFINITE: infinite,
        NOT_RESOLVED: unknown,
        OPEN: torch.ones_like(still),
    }
    return _all(found, None, reasons)


def complete_data_bound(point: Point) -> dict[str, Values]:
    """Return the certified bounds of a mixture: its labels known, F can only grow."""
    root = point.family.complete_fisher_root(point.phi)
    if root is None:
        return {}
    finite, beyond = bounded(root, point.jacobian, point.phi)
    form = QuadraticForm(1.0, Product(finite, point.jacobian), beyond)
    bound = decompose(form, 1, point.rounding)
    columns = {"trace_bound": bound.trace.value, "eigenvalue_bound": bound.top.value}
    return _all(columns, bound.at_rest, _of_infinite(bound, {}))


def linear_law(divergence: Divergence, point: Point) -> LinearLaw | None:
    """Return the linear law of a discrete family; None where the form is quadratic."""
    if not divergence.is_transport:
        return None
    root = point.family.linear_root(point.phi)
    if root is None:
        return None
    finite, beyond = bounded(root, point.jacobian, point.phi)
    return LinearLaw(Product(finite, point.jacobian).dense(), beyond)


def linear_columns(law: LinearLaw, questions: Questions) -> dict[str, Values]:
    """Return the quantities of a linear law, each [n]."""
    columns = {"linear": law.coefficient, "radius": questions.tau / law.coefficient}
    for label, attack in questions.attacks.items():
        expected = law.expected(attack)
        value = torch.full_like(law.coefficient, torch.nan)
        columns[label] = value if expected is None else expected.value
    slope = law.coefficient
    reasons = {
        INFINITE: torch.isinf(slope),
        NOT_RESOLVED: slope.isnan(),
        TWO_MOMENTS: torch.ones_like(slope, dtype=torch.bool),
    }
    return _all(columns, slope == 0, reasons)


def _with_error(name: str, estimate: Estimate) -> dict[str, Tensor]:
    found = {name: estimate.value}
    if estimate.standard_error is not None:
        found[named(name, ERROR)] = estimate.standard_error
    if estimate.interval is not None:
        ends = named(name, LOWER), named(name, UPPER)
        found |= dict(zip(ends, estimate.interval, strict=True))
    return found


def _all(
    columns: Mapping[str, Tensor], rest: Tensor | None, reasons: Mapping[str, Tensor]
) -> dict[str, Values]:
    return {name: values_of(v, rest, reasons) for name, v in columns.items()}


def values_of(
    numbers: Tensor,
    rest: Tensor | None = None,
    reasons: Mapping[str, Tensor] | None = None,
) -> Values:
    """Return the values of a tensor [n]; see `Values.of`."""
    return Values.of(
        plain(numbers),
        None if rest is None else rest.cpu().numpy(),
        {why: where.cpu().numpy() for why, where in (reasons or {}).items()},
    )


def plain(values: Tensor) -> Floats:
    """Return numbers as float64."""
    array: Floats = values.detach().double().cpu().numpy()
    return array
