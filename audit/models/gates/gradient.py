"""Gate (d): a gradient arrives, is finite, and nothing on the way swallows it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from audit.ground.errors import ModelError, NotDifferentiable, cause
from audit.models.gates.slopes import WIDE, Slopes, Stored, products_of
from audit.models.gates.subject import Subject
from audit.models.network import Census

_TREES = "TreeEnsemble"
_ROUNDS = ("round", "floor", "ceil", "sign", "trunc", "cast", "arg")


def slopes_of(subject: Subject, rows: int, parameters: int) -> tuple[Tensor, Slopes]:
    """Return x [n, d] and dφ/dx on the first rows, by its products where it is large.

    Raises:
        NotDifferentiable: no gradient arrives; names the first operator in its way.
        ModelError: the gradient is not finite although the outputs are.
    """
    x, held = subject.flat(rows), subject.held(rows)
    wide = products_of(subject, x, held) if parameters > WIDE else None
    if wide is not None and bool(wide.moves().any()):
        _refuse_nan(wide.jacobian.phi.detach(), wide)
        return x, wide
    try:
        function = subject.map_of(subject.call, subject.network.dtype)
        phi, operator = function.linearize(x, held)
        slopes = Stored(operator.dense())
    except NotDifferentiable:
        raise _stopped(census_of(subject)) from None
    except RuntimeError as error:
        raise _no_rule(error) from None
    _refuse_nan(phi, slopes)
    if not bool(slopes.moves().any()):
        found = census_of(subject)
        if not found.connected:
            raise _stopped(found)
    return x, slopes


def census_of(subject: Subject) -> Census:
    """Return what lies between the condition and the outputs that are used."""
    network = subject.network
    if network.census is None:
        return Census(True, (), complete=False)
    used = [name for name in subject.used if name not in network.passed]
    found = network.census(subject.condition, used)
    if subject.condition in network.passed:  # an expression reads it too
        return replace(found, connected=True)
    return found


def refuse_quantised(found: Census, estimated: bool) -> None:
    """Refuse numbers of few bits on the way, whether or not another way goes around.

    Args:
        found: what lies between the condition and the outputs that are used.
        estimated: whether rounding counts as the identity where it can be told to.

    Raises:
        NotDifferentiable: names the first operator.
    """
    if not found.quantised:
        return
    first, more = found.quantised[0], len(found.quantised) - 1
    raise NotDifferentiable(
        f"{first}{f' and {more} more' if more else ''} on the way from the condition "
        "to the outputs rounds to numbers of few bits, or computes with them",
        "--method straight-through passes through a QuantizeLinear and its "
        "DequantizeLinear, and through nothing else that is quantised"
        if estimated
        else "Expected real arithmetic: a backward pass sees nothing of what passes "
        "through a quantised operator",
        "Audit the model as it was before it was quantised, or use --method "
        "finite-difference"
        + (
            ""
            if estimated
            else "; for pairs of QuantizeLinear and DequantizeLinear, "
            "--method straight-through gives an estimate"
        ),
    )


def census_warnings(found: Census) -> tuple[tuple[str, str], ...]:
    """Return a warning if a number is rounded on the way, besides other paths."""
    rounding = [stop for stop in found.stops if stop.lower().startswith(_ROUNDS)]
    if not rounding:
        return ()
    more = f" and {len(rounding) - 1} more" if len(rounding) > 1 else ""
    return (
        (
            "zero_derivative",
            f"{rounding[0]}{more} on the way from the condition to the outputs lets no "
            "derivative through: what passes there is not in these numbers",
        ),
    )


def _stopped(found: Census) -> NotDifferentiable:
    tree = next((stop for stop in found.stops if stop.startswith(_TREES)), "")
    if tree:
        return NotDifferentiable(
            f"The outputs come through a tree ensemble ({tree}), which is piecewise "
            "constant: there is no local form, its derivative is zero wherever it "
            "exists",
            "Expected outputs that move with their condition; of a step function only "
            "exact values tell",
            "Search them, as the black-box witness does: --method finite-difference "
            "--attack worst_case:norm=0.5; or audit the part of the model after it",
        )
    where = f": it stops at {found.stops[0]}" if found.stops else ""
    return NotDifferentiable(
        "No gradient connects the condition with the distribution's parameters" + where,
        "Expected a path of differentiable operators from one to the other",
        "Audit the part of the model after it, or use --method finite-difference if "
        "the outputs do move",
    )


def _no_rule(error: RuntimeError) -> NotDifferentiable:
    return NotDifferentiable(
        f"The backward pass fails ({cause(error)})",
        "Expected operators with a derivative; a traced transformer in evaluation mode "
        "holds a fused layer that has none",
        "Save it after torch.backends.mha.set_fastpath_enabled(False), export it to "
        "ONNX, or use --method finite-difference",
    )


def _refuse_nan(phi: Tensor, slopes: Slopes) -> None:
    """Raise if every row with finite outputs has a gradient that is not."""
    sound = torch.isfinite(phi).all(dim=1)
    broken = ~slopes.finite()
    if bool(sound.any()) and bool(broken[sound].all()):
        raise ModelError(
            "The gradient is NaN or infinite at every row tried, although the outputs "
            "are finite",
            "A fully masked attention row (softmax over -inf alone), a square root or "
            "a logarithm at zero behind torch.where do that",
            "Mask with a large negative number instead of -inf, or keep the operand "
            "inside torch.where away from zero, and export again",
        )
