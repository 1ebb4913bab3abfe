"""Gate (b): the derivative against central differences.

Along unit directions v, J v is compared with (φ(x + h v) − φ(x − h v)) / 2h. Two
comparisons are evidence, and each speaks of the parameters that it could judge:

- **In float64**, through the file's own forward pass, where h is small and an error of
  1e-6 shows. That checks the rules of differentiation; that the forward pass is the
  file's own is gate (a). The Jacobian of the audit is held against the one in float64.
- **In the file's own type**, through the referee of the forward pass where there is
  one (onnxruntime, or onnx.reference), else through the file's own forward pass, with
  h = 1e-2 of the row's root mean square, or 1e-1 where that is hidden. In float32 such
  differences are noisy, and see an operator only if it matters.

One of them has to agree, for every parameter. A comparison that could not be made is no
agreement: where the file does not run in float64, where noise is as large as what is
compared, where the points beside a row give no finite number. If neither speaks of any
parameter, the derivative is refused. If neither speaks of some of them, or there is no
row to look at, the scan goes on with a warning that leaves no verdict to trust
(`derivative_unverified`). Where one speaks and the other could not, a warning names it
(`derivative_hidden`); where float64 agrees and float32 does not, that is noise or
kinks, and a warning too (`derivative_differs`).

A gradient of zero everywhere agrees with differences of zero. On a plateau that is
right, and in a model that goes in steps it is of no use. The operators tell the two
apart, where they are known; else the outputs must not move with larger steps either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from audit.ground.errors import AuditError, ModelError, NotDifferentiable
from audit.models.gates.agreement import Agreement, compare, compare_jacobians
from audit.models.gates.evidence import (
    DIFFERENCES,
    DOUBLE,
    FLOAT64,
    SINGLE,
    UNVERIFIED,
    Evidence,
    Precision,
    no_rows,
)
from audit.models.gates.gradient import census_of
from audit.models.gates.slopes import WIDE, Slopes, Stored, products_of
from audit.models.gates.subject import Findings, Subject, first_wrong
from audit.models.maps import AutogradMap

_ENTRIES = 2**22  # of the Jacobians held at once
_LARGE = (0.1, 1.0)  # of a row's size: steps in which a model that goes in steps moves


def derivative_parity(
    subject: Subject, x: Tensor, slopes: Slopes, precise: Subject | None
) -> Findings:
    """Compare the Jacobian at x [n, d] with central differences.

    Args:
        subject: the file on real rows.
        x: the first n of them, flattened.
        slopes: dφ/dx there, as a scan would use it.
        precise: the file in float64; None where it cannot be opened so.

    Raises:
        NotDifferentiable: the gradient is zero and the function is not constant.
        ModelError: the two differ by more than the noise explains, or could not be
            compared at all.
    """
    if not bool(_finite_rows(subject, len(x)).any()):
        return Findings(warnings=(no_rows(len(x)),))
    double = None if precise is None else _in_float64(subject, slopes, precise)
    seen = torch.zeros(slopes.parameters, dtype=torch.bool, device=x.device)
    if double is not None and double.within(SINGLE.refuse):
        seen = double.seen
    single, other = None, ""
    if subject.referee() is not None or not bool(seen.all()):
        single, seen, other = _in_own_type(subject, x, slopes, seen)
    evidence = Evidence(single, double, other, seen)
    if not bool(seen.any()):
        raise evidence.refusal()
    found = evidence.findings()
    steps = _steps(subject, x, slopes)
    return replace(found, warnings=(*found.warnings, *steps))


def _finite_rows(subject: Subject, rows: int) -> Tensor:
    phi = subject.parameters(subject.outputs)[:rows]
    return torch.isfinite(phi).all(dim=1)


def _in_float64(subject: Subject, slopes: Slopes, precise: Subject) -> Agreement | None:
    """Check the rules of differentiation, where rounding does not hide them."""
    rows = subject.rows
    function = precise.map_of(precise.call, torch.float64)
    x, held = precise.flat(rows), precise.held(rows)
    try:
        exact = _slopes(precise, slopes.parameters, x, held, function)
        found = _at_some_step(function, x, held, exact, subject.effort.directions)
    except (AuditError, RuntimeError):
        return None  # the file does not run in float64
    _judge(subject, found, DOUBLE, exact, DIFFERENCES + FLOAT64)
    apart = compare_jacobians(exact, slopes, x, subject.effort.directions)
    _judge(subject, apart, SINGLE, slopes, "the one in float64")
    seen = found.seen & apart.seen
    return Agreement(found.error, found.floor, seen)


def _at_some_step(
    function: AutogradMap,
    x: Tensor,
    held: dict[str, Tensor],
    exact: Slopes,
    directions: int,
) -> Agreement:
    """Return how a derivative agrees with differences at the first step that tells.

    A forward pass that solves an equation up to a tolerance, as a flow that is inverted
    by bisection, goes in steps of it: over less than one, differences are zero, and so
    is their noise. A derivative that agrees with the larger step is the slope there.
    """
    first = None
    for step in DOUBLE.steps:
        moved = compare(function, x, held, exact, step, directions, DOUBLE.resolution)
        found = moved.agreement()
        if not found.above(DOUBLE.refuse):
            return found
        first = first or found
    assert first is not None
    return first


def _slopes(
    precise: Subject,
    parameters: int,
    x: Tensor,
    held: dict[str, Tensor],
    function: AutogradMap,
) -> Slopes:
    """Return the Jacobian in float64, by its products where it is large."""
    found = products_of(precise, x, held) if parameters > WIDE else None
    return found or Stored(function.linearize(x, held)[1].dense())


def _in_own_type(
    subject: Subject, x: Tensor, slopes: Slopes, known: Tensor
) -> tuple[Agreement, Tensor, str]:
    """Compare in the file's own type; judge what float64 does not know already.

    Returns:
        How the two agree, the parameters that are known by now, and who was asked.
    """
    referee = subject.referee()
    other = subject.referee_name if referee else "the file's own forward pass"
    plain = subject.map_of(referee or subject.call, subject.network.dtype)
    best, seen = None, known
    held, directions = subject.held(len(x)), subject.effort.directions
    for step in SINGLE.steps:
        moved = compare(plain, x, held, slopes, step, directions)
        found = moved.agreement(~seen)
        if best is None or not bool(slopes.moves().any()):
            _judge(subject, found, SINGLE, slopes, DIFFERENCES + other)
        whole = moved.agreement()
        if best is None or whole.within(SINGLE.refuse):
            best = whole
        if found.within(SINGLE.refuse):
            seen = seen | found.seen
        if bool(seen.all()):
            break
    assert best is not None
    return best, seen, other


def _judge(
    subject: Subject,
    found: Agreement,
    precision: Precision,
    slopes: Slopes,
    other: str,
) -> None:
    if not found.above(precision.refuse):
        return
    if not bool(slopes.moves().any()):
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
    stops = census_of(subject).stops
    return f" (here {stops[0]})" if stops else ""


def _steps(subject: Subject, x: Tensor, slopes: Slopes) -> Iterator[tuple[str, str]]:
    """Warn of a zero gradient that may be that of a model that goes in steps."""
    if bool(slopes.moves().any()):
        return
    census = census_of(subject)
    if census.complete and not census.stops:
        return
    plain = subject.map_of(subject.call, subject.network.dtype)
    for step in _LARGE:
        held, directions = subject.held(len(x)), subject.effort.directions
        found = compare(plain, x, held, slopes, step, directions, subject.tolerance)
        if bool((found.theirs.abs() > found.rest).any()):
            yield (
                UNVERIFIED,
                "the gradient is zero at every row tried, and the outputs move when a "
                f"row moves by {step:g} of its size: a plateau, or a model that goes "
                "in steps, whose derivative says nothing",
            )
            return


def tried_rows(subject: Subject, parameters: int) -> int:
    """Return how many rows are compared: fewer where Jacobians are large."""
    entries = parameters * subject.values[subject.condition][0].numel()
    return max(1, min(subject.effort.rows, subject.rows, _ENTRIES // max(entries, 1)))
