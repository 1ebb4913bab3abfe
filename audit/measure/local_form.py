"""The local form itself, at some inputs: what a scan asks its questions of."""

from __future__ import annotations

from audit.ground.errors import InputError
from audit.linalg.quadratic_form import QuadraticForm
from audit.measure.block import skip_reasons, unmoved
from audit.measure.point import Point, Roots, in_frame, linearized
from audit.measure.preparation import Prepared


def local_form(prepared: Prepared) -> QuadraticForm:
    """Return δ -> c |A δ|² of the first divergence at all audited inputs.

    Raises:
        InputError: there is no form at one of them; says why.
    """
    model, questions, index = prepared.model, prepared.questions, prepared.rows
    phi, rows, _ = linearized(model, questions, index)
    reasons = skip_reasons(model, index, phi, rows)
    reasons |= unmoved(questions.frame.at(index), index)
    framed = in_frame(rows, questions.frame, questions.noise(index))
    point = Point(index, model.density.family, phi, framed, model.rounding)
    roots = Roots(point, questions.noise(index))
    form = roots.form(questions.divergences[0])
    reasons |= {int(index[row]): why for row, why in roots.broken().items()}
    for row, why in sorted(reasons.items()):
        raise InputError(
            f"There is no local form at input {row}: {why}",
            "Expected finite inputs, parameters that belong to the family, and a "
            "finite gradient",
            "Leave this input out",
        )
    return form
