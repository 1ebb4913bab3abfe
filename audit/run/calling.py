"""What a caller in Python needs beside a scan and an inspection."""

from __future__ import annotations

from audit.config import ScanConfig
from audit.ground.errors import InputError
from audit.measure import QuadraticForm
from audit.measure.block import skip_reasons, unmoved
from audit.measure.point import Point, Roots, in_frame, linearized
from audit.measure.preparation import Prepared, prepare
from audit.measure.preparation import settings_of as model_settings
from audit.models.network import Network
from audit.reports.keys import check_config
from audit.reports.planned import with_plan

__all__ = ["QuadraticForm", "form_of", "model_settings"]


def form_of(config: ScanConfig, network: Network | None = None) -> QuadraticForm:
    """Return the local form of the first divergence at the inputs of the data.

    Args:
        config: the model, the data, the divergence.
        network: the model, where it is open already; None: the file of `config`.

    Raises:
        AuditError: one of its kinds, for whatever is wrong with them.
    """
    check_config(config)
    config = with_plan(config)
    return _local_form(prepare(config, False, network))


def _local_form(prepared: Prepared) -> QuadraticForm:
    """Return δ -> c |A δ|² of the first divergence at all audited inputs."""
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
