"""Rules of normalisations whose statistics are the input's own, and softmax on the way.

    c = v − mean v,    y = weight · c · (mean c² + e)^(−½) + bias

over some axes: c is affine, and what it is divided by is a part of `normed`.

A softmax between layers is 1 / Σ_j exp(v_j − v_i): differences, a curve, a sum of
positive numbers, a curve. Its logarithm is −log Σ_j exp(v_j − v_i).
"""

from __future__ import annotations

import math

from torch import Tensor

from audit.importer.relaxation import functions
from audit.importer.relaxation.affine import added, operator, scaled
from audit.importer.relaxation.copies import copied
from audit.importer.relaxation.hinged import RECIPROCAL
from audit.importer.relaxation.normed import Normed
from audit.importer.relaxation.rules import Call, Moving, Operand, Softened, rule
from audit.importer.relaxation.tape import Tape, refusal

_LARGEST = 2**14  # numbers of an input that pairs of classes may make


@rule("LayerNormalization", "RMSNormalization")
def layer_norm(call: Call) -> Operand:
    """Standardise over the axes from `axis` on, then scale and shift."""
    (at,) = call.moving(0)
    if any(call.step.node.outputs[1:]):
        raise call.refused("with its statistics as results")
    attributes, count = call.step.node.attributes, call.tape.values[at].dim()
    first = int(attributes.get("axis", -1)) % count
    if first == 0:
        raise call.refused("over the rows of a batch")
    epsilon = float(attributes.get("epsilon", 1e-5))
    axes = tuple(range(first, count))
    centred = call.op == "LayerNormalization"
    return Moving(_shifted(call, _standard(call, at, axes, epsilon, centred), ()))


@rule("InstanceNormalization")
def instance_norm(call: Call) -> Operand:
    """Standardise each channel over its spatial axes, then scale and shift."""
    (at,) = call.moving(0)
    count = call.tape.values[at].dim()
    if count < 3:
        raise call.refused("without spatial axes")
    epsilon = float(call.step.node.attributes.get("epsilon", 1e-5))
    found = _standard(call, at, tuple(range(2, count)), epsilon, True)
    return Moving(_shifted(call, found, (1,) * (count - 2)))


def _shifted(call: Call, at: int, axes: tuple[int, ...]) -> int:
    """Append weight · v + bias, both with some axes more."""
    weight, bias = call.wide(1), call.wide(2)
    assert weight is not None
    weight = weight.reshape(*weight.shape, *axes)
    bias = None if bias is None else bias.reshape(*bias.shape, *axes)
    return scaled(call.tape, at, weight, bias, call.op)


def _standard(
    call: Call, at: int, axes: tuple[int, ...], epsilon: float, centred: bool
) -> int:
    """Append c / √(mean c² + e)."""
    tape, what = call.tape, call.op
    dims = tape.values[at].dim()
    at = _centred(tape, at, axes, what) if centred else at
    return tape.surface(Normed((at,), tuple(a - dims for a in axes), epsilon), what)


def _centred(tape: Tape, at: int, axes: tuple[int, ...], what: str) -> int:
    """Append v less its mean, of coefficients 1 − 1/n and −1/n."""
    count = math.prod(tape.values[at].shape[axis] for axis in axes)

    def run(v: Tensor) -> Tensor:
        return v - v.mean(axes, keepdim=True)

    def absolute(v: Tensor) -> Tensor:
        return v * (1 - 2 / count) + v.mean(axes, keepdim=True)

    return operator(tape, at, run, absolute, None, what, alike=True)


def between_layers(tape: Tape, soft: Softened) -> int:
    """Append a softmax over the last axis, or its logarithm, number by number.

    Raises:
        NoCertificate: there are too many pairs of classes.
    """
    value = tape.values[soft.at]
    classes, what = value.shape[-1], "Softmax"
    if value[0].numel() * classes > _LARGEST:
        raise refusal(f"{what} between layers over {classes} classes")

    def first(v: Tensor) -> Tensor:
        return v.unsqueeze(-1).expand(*v.shape, v.shape[-1])

    def second(v: Tensor) -> Tensor:
        return first(v).mT

    def total(v: Tensor) -> Tensor:
        return v.sum(-1)

    ends = [copied(tape, [soft.at], one, what) for one in (second, first)]
    ratios = tape.bend(added(tape, ends, [1.0, -1.0], what), functions.EXP)
    whole = operator(tape, ratios, total, total, None, what, alike=True)
    if not soft.log:
        return tape.bend(whole, RECIPROCAL)
    return scaled(
        tape, tape.bend(whole, functions.LOG), -tape.x.new_ones(()), None, what
    )
