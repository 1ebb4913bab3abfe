"""All gates, one after the other: the cheap and telling ones first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from audit.errors import AuditError
from audit.models.gates.derivative import derivative_parity, tried_rows
from audit.models.gates.gradient import census_of, census_warnings, jacobian_of
from audit.models.gates.independence import row_independence
from audit.models.gates.parity import forward_parity, refuse_whims
from audit.models.gates.subject import Findings, Subject
from audit.models.network import Network


def examine(subject: Subject, by_gradient: bool) -> Findings:
    """Pass every gate.

    Args:
        subject: the file on a few real rows.
        by_gradient: whether the audit differentiates the file by backward passes;
            without, the gates of the derivative do not apply.

    Raises:
        ModelError: a gate is closed; the message says which, and where.
    """
    refuse_whims(subject)
    interaction = row_independence(subject)
    reopened = _reopened(subject.network)
    found = Findings(
        forward_error=forward_parity(subject, reopened), row_interaction=interaction
    )
    if not by_gradient:
        return found
    with torch.no_grad():
        parameters = subject.parameters(subject.outputs).shape[1]
    x, jacobian = jacobian_of(subject, tried_rows(subject, parameters))
    agreed = derivative_parity(subject, x, jacobian, reopened)
    census = census_of(subject)
    return replace(
        agreed,
        forward_error=found.forward_error,
        row_interaction=interaction,
        stops=census.stops,
        warnings=(*agreed.warnings, *census_warnings(census)),
    )


def _reopened(network: Network) -> Network | None:
    """Return the file loaded again, in float64; None where it cannot be."""
    reopen: Callable[[], Network] = network.double
    try:
        return reopen()
    except (AuditError, RuntimeError):
        return None
