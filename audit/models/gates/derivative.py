"""Gate (b): the derivative against central differences.

Along unit directions v, with h = 1e-2 of the row's root mean square, J v is compared
with (φ(x + h v) − φ(x − h v)) / 2h through onnxruntime: the derivative belongs to the
file's own function. In float32 such differences are noisy, and see an operator only if
it matters. So the rules are checked again in float64 through the file's own forward
pass, where h is small and an error of 1e-6 shows; and the Jacobian of the audit is held
against the one in float64. Where that agrees, a disagreement in float32 is noise or
kinks, and a warning.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.errors import AuditError, ModelError, NotDifferentiable
from audit.models.gates.agreement import Agreement, compare, compare_jacobians
from audit.models.gates.subject import Findings, Subject, first_wrong

ROWS = 8
_ENTRIES = 2**22  # of the Jacobians held at once
_DIFFERENCES = "central differences through "


@dataclass(frozen=True)
class Precision:
    """How a comparison is made: the step, and what is too much."""

    step: float
    warn: float
    refuse: float


SINGLE = Precision(1e-2, 5e-3, 3e-2)
DOUBLE = Precision(1e-6, 1e-5, 1e-4)


def derivative_parity(
    subject: Subject, x: Tensor, jacobian: Tensor, precise: Subject | None
) -> Findings:
    """Compare the Jacobian at x [n, d] with central differences.

    Args:
        subject: the file on real rows.
        x: the first n of them, flattened.
        jacobian: dφ/dx [n, p, d] there, as a scan would use it.
        precise: the file in float64; None where it cannot be opened so.

    Raises:
        NotDifferentiable: the gradient is zero and the function is not constant.
        ModelError: the two differ by more than the noise explains.
    """
    double = None if precise is None else _in_float64(subject, jacobian, precise)
    single, referee = None, subject.referee()
    if referee is not None or double is None:
        plain = subject.map_of(referee or subject.call, subject.network.dtype)
        held = subject.held(len(x))
        single = compare(plain, x, held, jacobian, SINGLE.step)
        other = "onnxruntime" if referee else "the file's own forward pass"
        if double is None or double.floor > SINGLE.refuse:
            _judge(subject, single, SINGLE, jacobian, _DIFFERENCES + other)
    return Findings(
        derivative_error=None if single is None else single.error,
        derivative_floor=None if single is None else single.floor,
        derivative_error_float64=None if double is None else double.error,
        warnings=_warnings(single, double),
    )


def _in_float64(
    subject: Subject, jacobian: Tensor, precise: Subject
) -> Agreement | None:
    """Check the rules of differentiation, where rounding does not hide them."""
    rows = len(jacobian)
    function = precise.map_of(precise.call, torch.float64)
    x, held = precise.flat(rows), precise.held(rows)
    try:
        exact = function.linearize(x, held)[1].dense()
        found = compare(function, x, held, exact, DOUBLE.step)
    except (AuditError, RuntimeError):
        return None  # the file does not run in float64
    if found is not None:
        _judge(subject, found, DOUBLE, exact, _DIFFERENCES + "its float64 run")
        apart = compare_jacobians(exact, jacobian)
        _judge(subject, apart, SINGLE, jacobian, "the one in float64")
    return found


def _judge(
    subject: Subject,
    found: Agreement | None,
    precision: Precision,
    jacobian: Tensor,
    other: str,
) -> None:
    if found is None or not found.above(precision.refuse):
        return
    if not bool(jacobian.any()):
        raise NotDifferentiable(
            "The gradient is zero at every row tried, and yet the outputs move when "
            f"the condition does ({other})",
            "Expected a path of differentiable operators; a root found by bisection, "
            "or any result of comparisons, has a derivative that backward passes "
            "cannot see" + _first_stop(subject),
            "Use --method finite-difference",
        )
    raise ModelError(
        f"The derivative differs from {other} by "
        f"{found.error:.1e} (median; their noise is {found.floor:.0e})"
        + first_wrong(subject, subject.condition),
        f"Expected at most {precision.refuse:.0e}",
        "Use --method finite-difference, and please report the operators (robaudit "
        "inspect lists them)",
    )


def _first_stop(subject: Subject) -> str:
    if subject.network.census is None:
        return ""
    stops = subject.network.census(subject.condition, subject.used).stops
    return f" (here {stops[0]})" if stops else ""


def _warnings(*found: Agreement | None) -> tuple[tuple[str, str], ...]:
    limits = (SINGLE.warn, DOUBLE.warn)
    return tuple(
        (
            "derivative_differs",
            f"the derivative differs from central differences by {each.error:.1e} "
            f"(median over rows and directions; their noise is {each.floor:.0e})",
        )
        for each, limit in zip(found, limits, strict=True)
        if each is not None and each.above(limit)
    )


def tried_rows(subject: Subject, parameters: int) -> int:
    """Return how many rows are compared: fewer where Jacobians are large."""
    entries = parameters * subject.values[subject.condition][0].numel()
    return max(1, min(ROWS, subject.rows, _ENTRIES // max(entries, 1)))
