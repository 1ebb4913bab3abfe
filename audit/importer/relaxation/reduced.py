"""Rules of reductions that are no sums with constant weights: extremes and norms."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.importer.relaxation import functions
from audit.importer.relaxation.affine import operator, scaled
from audit.importer.relaxation.curves import Curve
from audit.importer.relaxation.pooled import pooled
from audit.importer.relaxation.rules import Call, Moving, Operand, rule
from audit.importer.values import axis_of

_NORMS: dict[str, tuple[Curve, Curve | None]] = {
    "ReduceL1": (functions.ABS, None),
    "ReduceL2": (functions.SQUARE, functions.SQRT),
    "ReduceSumSquare": (functions.SQUARE, None),
}


@rule("ReduceMax", "ReduceMin")
def extreme(call: Call) -> Operand:
    """The largest element over some axes, or −max(−v)."""
    (at,), tape = call.moving(0), call.tape
    axes, event = _axes(call), tape.values[at].shape[1:]
    if not axes:
        return Moving(at)
    places = torch.arange(event.numel(), device=tape.x.device).reshape(1, *event)
    others = [k for k in range(1, places.dim()) if k not in axes]
    places = places.permute(0, *others, *axes)
    out = call.run(tape.values[at]).shape[1:]
    places = places.reshape(*out, math.prod(tape.values[at].shape[k] for k in axes))
    sign = tape.x.new_tensor(1.0 if call.op == "ReduceMax" else -1.0)
    if sign < 0:
        at = scaled(tape, at, sign, None, call.op)
    at = pooled(tape, at, places, call.op)
    return Moving(at if sign > 0 else scaled(tape, at, sign, None, call.op))


@rule(*_NORMS)
def norm(call: Call) -> Operand:
    """A curve of each element, their sum over some axes, and a curve of that."""
    (at,), tape = call.moving(0), call.tape
    axes, (inner, outer) = _axes(call), _NORMS[call.op]
    kept = bool(call.attribute("keepdims", 1))

    def total(v: Tensor) -> Tensor:
        return v.sum(axes, keepdim=kept) if axes else v

    at = operator(tape, tape.bend(at, inner), total, total, None, call.op)
    return Moving(at if outer is None else tape.bend(at, outer))


def _axes(call: Call) -> tuple[int, ...]:
    """Return the axes that are reduced, in order; () where there are none.

    Raises:
        NoCertificate: the rows' is among them.
    """
    (at,) = call.moving(0)
    count, given = call.tape.values[at].dim(), call.constant(1)
    listed = call.attribute("axes") if given is None else given.flatten().tolist()
    axes = sorted({axis_of(int(k), count) for k in listed or ()})  # type: ignore[attr-defined]
    if not axes and not call.attribute("noop_with_empty_axes", 0):
        axes = list(range(count))
    if 0 in axes:
        raise call.refused("over the rows of a batch")
    return tuple(axes)
