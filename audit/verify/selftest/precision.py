"""The numbers of the file's own type against those of float64.

Two things may be lost in float32: digits of φ, and digits of its derivative, which
near a saturated activation is a small difference. What a reader wants to know is how
much of the *answer* is lost, so the trace and the top eigenvalue of every form are
compared, at the same inputs and with the same draws. Rounding of 6e-8 that a deep
network amplifies a thousand times is 1e-4; from 1 % on the third digit of a report
is noise, and float64 has to be asked for.

A trace that is a millionth of the others' is not judged: an input at rest has no
digits to lose.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.linalg.decompose import decompose
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Spectrum
from audit.models.opening import OpenModel
from audit.verify.selftest.finding import Finding, failed, inapplicable, passed
from audit.verify.selftest.subject import Subject, largest

NAME = "float32_against_float64"
_ALLOWED = 1e-2
_AT_REST = 1e-6  # of the largest trace among the inputs


def float32_against_float64(it: Subject) -> Finding:
    """Compare trace and top eigenvalue by the file's own type and by float64."""
    own = str(it.model.network.dtype).removeprefix("torch.")
    if it.model.network.dtype == torch.float64:
        return inapplicable(NAME, "the file computes in float64 already")
    if not it.is_double:
        return inapplicable(NAME, "the file does not run in float64")
    exact = it.in_double[0]
    ours, theirs = it.forms(it.model), it.forms(exact)
    errors: dict[str, float] = {}
    for divergence, form in theirs.items():
        wide = _spectrum(form, exact)
        narrow = _spectrum(ours[divergence], it.model)
        errors[f"{divergence.name}.trace"] = _apart(
            narrow.trace.value, wide.trace.value
        )
        errors[f"{divergence.name}.eigenvalue"] = _apart(
            narrow.eigenvalues[:, 0], wide.eigenvalues[:, 0]
        )
    if not errors:
        return inapplicable(NAME, "there is no quadratic form to compare")
    name, worst = largest(errors)
    if worst <= _ALLOWED:
        said = f"{own} and float64 agree within {worst:.0e} of every number"
        return passed(NAME, said, **errors)
    return failed(
        NAME,
        f"{name} in {own} is {worst:.1e} from float64: rounding is amplified, and the "
        "reported digits are not all true",
        "audit with --dtype float64",
        **errors,
    )


def _spectrum(form: QuadraticForm, model: OpenModel) -> Spectrum:
    return decompose(form, 1, model.rounding)


def _apart(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest relative difference; what rests is not judged."""
    finite = theirs[theirs.isfinite()]
    least = _AT_REST * float(finite.max()) if len(finite) else 0.0
    same = (ours == theirs) | (theirs <= least)
    error = ((ours - theirs) / theirs).abs().masked_fill(same, 0.0)
    return float(error.nan_to_num(torch.inf, torch.inf).max())
