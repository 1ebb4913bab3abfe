"""Gate (b): the derivative against central differences.

Along unit directions v, with h = 1e-2 of the row's root mean square, J v is compared
with (φ(x + h v) − φ(x − h v)) / 2h through onnxruntime: the derivative belongs to the
file's own function. In float32 such differences are noisy, and see an operator only if
it matters. So the rules are checked again in float64 through the file's own forward
pass, where h is small and an error of 1e-6 shows; and the Jacobian of the audit is held
against the one in float64. Where that agrees, a disagreement in float32 is noise or
kinks, and a warning.

Every parameter counts alike: components are divided by their root mean square over the
samples, and those that the noise hides (two steps disagree) are left out. The statistic
is a median, because a step that crosses a kink (ReLU, a spline's knot) is no error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.errors import AuditError, ModelError, NotDifferentiable
from audit.models.batching import any_batch
from audit.models.gates.subject import Findings, Subject, first_wrong
from audit.models.maps import AutogradMap
from audit.models.network import Network, Values

DIRECTIONS = 8
ROWS = 8
_ENTRIES = 2**22  # of the Jacobians held at once
_NOISY = 0.1  # a component whose two steps differ by more is not judged
_SEED = 20_240_229


@dataclass(frozen=True)
class Precision:
    """How a comparison is made: the step, and what is too much."""

    step: float
    warn: float
    refuse: float


SINGLE = Precision(1e-2, 5e-3, 3e-2)
DOUBLE = Precision(1e-4, 1e-5, 1e-4)


@dataclass(frozen=True)
class Agreement:
    """The median error of J v, and the noise of the differences it was held against."""

    error: float
    floor: float

    def above(self, limit: float) -> bool:
        """Whether the error is above a limit and above the noise."""
        return not self.error <= max(limit, 3 * self.floor)


def derivative_parity(
    subject: Subject, x: Tensor, jacobian: Tensor, reopened: Network | None
) -> Findings:
    """Compare the Jacobian at x [n, d] with central differences.

    Args:
        subject: the file on real rows.
        x: the first n of them, flattened.
        jacobian: dφ/dx [n, p, d] there, as a scan would use it.
        reopened: the file in float64; None where it cannot be opened so.

    Raises:
        NotDifferentiable: the gradient is zero and the function is not constant.
        ModelError: the two differ by more than the noise explains.
    """
    double = None if reopened is None else _in_float64(subject, x, jacobian, reopened)
    single, referee = None, subject.referee()
    if referee is not None or double is None:
        plain = subject.map_of(referee or subject.call, subject.network.dtype)
        single = compare(subject, plain, x, jacobian, SINGLE)
        other = "onnxruntime" if referee else "the file's own forward pass"
        if double is None:
            _judge(subject, single, SINGLE, jacobian, other)
    return Findings(
        derivative_error=None if single is None else single.error,
        derivative_floor=None if single is None else single.floor,
        derivative_error_float64=None if double is None else double.error,
        warnings=_warnings(single, double),
    )


def _in_float64(
    subject: Subject, x: Tensor, jacobian: Tensor, reopened: Network
) -> Agreement | None:
    """Check the rules of differentiation, where rounding does not hide them."""
    call = any_batch(reopened, subject.condition, subject.event)
    precise = subject.map_of(call, torch.float64)
    try:
        _, operator = precise.linearize(x, _held(subject, len(x), torch.float64))
        exact = operator.dense()
        found = compare(subject, precise, x, exact, DOUBLE)
    except (AuditError, RuntimeError):
        return None  # the file does not run in float64
    if found is not None:
        _judge(subject, found, DOUBLE, exact, "its float64 run")
        apart = _agreement(*(_flat(t) for t in (exact, jacobian, exact)))
        _judge(subject, apart, SINGLE, jacobian, "its float64 run")
    return found


def _flat(jacobian: Tensor) -> Tensor:
    """Return [n, p, d] as [n · d, p]: J along every axis."""
    return jacobian.mT.reshape(-1, jacobian.shape[1])


def compare(
    subject: Subject,
    function: AutogradMap,
    x: Tensor,
    jacobian: Tensor,
    precision: Precision,
) -> Agreement | None:
    """Return how J v agrees with differences of `function`; None if noise hides all.

    Shapes: x [n, d], jacobian [n, p, d]. Two steps, h and 2h, give the noise.
    """
    held = _held(subject, len(x), function.dtype)

    def differences(step: float) -> tuple[Tensor, Tensor]:
        return _differences(lambda z, h: function(z, h), x, held, jacobian, step)

    (theirs, ours), (wider, ours_wider) = (
        differences(precision.step),
        differences(2 * precision.step),
    )
    return _agreement(theirs, ours, wider - (ours_wider - ours))


def _differences(
    function: Callable[[Tensor, Values], Tensor],
    x: Tensor,
    held: Values,
    jacobian: Tensor,
    step: float,
) -> tuple[Tensor, Tensor]:
    """Return (φ(x+) − φ(x−)) / 2h and J (x+ − x−) / 2h, each [n · K, p].

    The points are rounded to the type the file takes before they are used, so that
    rounding of x is no error.
    """
    n, d = x.shape
    generator = torch.Generator().manual_seed(_SEED)
    v = torch.randn(n, DIRECTIONS, d, generator=generator, dtype=torch.float64)
    v = (v / v.norm(dim=-1, keepdim=True)).to(x.device)
    h = step * _sizes(x)[:, None, None]
    base = x.double()[:, None, :]
    above, below = (base + h * v).to(x.dtype), (base - h * v).to(x.dtype)
    many = {
        name: value.repeat_interleave(DIRECTIONS, 0) for name, value in held.items()
    }
    values = [function(z.reshape(-1, d), many) for z in (above, below)]
    width = 2 * h.expand(n, DIRECTIONS, 1).reshape(-1, 1)
    moved = (above.double() - below.double()).mT
    ours = (jacobian @ moved).mT.reshape(n * DIRECTIONS, -1)
    return (values[0] - values[1]) / width, ours / width


def _agreement(theirs: Tensor, ours: Tensor, wider: Tensor) -> Agreement | None:
    finite = (theirs + ours + wider).isfinite().all(dim=1)
    theirs, ours, wider = theirs[finite], ours[finite], wider[finite]
    if not len(theirs):
        return None
    size = torch.maximum(theirs.abs(), ours.abs()).square().mean(dim=0).sqrt()
    noise = (theirs - wider).abs().median(dim=0).values
    clear = (size > 0) & (noise <= _NOISY * size)
    if not bool(clear.any()):
        return None
    theirs, ours, wider = ((t / size)[:, clear] for t in (theirs, ours, wider))
    length = theirs.norm(dim=1).clamp_min(1e-12)
    error = ((ours - theirs).norm(dim=1) / length).median()
    floor = ((wider - theirs).norm(dim=1) / length).median()
    return Agreement(float(error), float(floor))


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
            f"the condition does (central differences through {other})",
            "Expected a path of differentiable operators; a root found by bisection, "
            "or any result of comparisons, has a derivative that backward passes "
            "cannot see" + _first_stop(subject),
            "Use --method finite-difference",
        )
    raise ModelError(
        f"The derivative differs from central differences through {other} by "
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


def _held(subject: Subject, rows: int, dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        name: (value.to(dtype) if value.is_floating_point() else value)[:rows]
        for name, value in subject.values.items()
        if name != subject.condition
    }


def _sizes(x: Tensor) -> Tensor:
    """Return each row's root mean square, 1 for a row of zeros."""
    rms = x.double().square().mean(dim=1).sqrt()
    return torch.where(rms > 0, rms, 1.0)
