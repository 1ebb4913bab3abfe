"""Rules of operators that are affine in what moves."""

from __future__ import annotations

import torch

from audit.importer.relaxation.affine import added, scaled
from audit.importer.relaxation.rules import Call, Moving, Operand, rule
from audit.importer.values import FLOATS, TORCH_TYPES


@rule("Identity", "Dropout")
def identity(call: Call) -> Operand:
    """Hand on the value: inference has no dropout."""
    (at,) = call.moving(0)
    training = call.constant(2)
    if training is not None and bool(training):
        raise call.refused("in training mode")
    return Moving(at)


@rule("Cast")
def cast(call: Call) -> Operand:
    """Hand on the value, which stays in float64."""
    (at,) = call.moving(0)
    if TORCH_TYPES.get(int(call.step.node.attributes.get("to", 1))) not in FLOATS:
        raise call.refused("to whole numbers")
    return Moving(at)


@rule("CastLike")
def cast_like(call: Call) -> Operand:
    """Hand on the value, as a cast to another floating type does."""
    like = call.arguments[1]
    own = call.tape.x if isinstance(like, Moving) else call.constant(1)
    if own is None or not own.is_floating_point():
        raise call.refused("to whole numbers")
    first = call.arguments[0]
    return Moving(call.moving()[0]) if isinstance(first, Moving) else call.wide(0)


@rule("Neg")
def negated(call: Call) -> Operand:
    """−v."""
    (at,) = call.moving(0)
    return Moving(scaled(call.tape, at, -call.tape.x.new_ones(()), None, call.op))


@rule("Add", "Sub", "Sum", "Mean")
def add(call: Call) -> Operand:
    """Sums, differences and means, of moving values and constants."""
    if call.attribute("axis") is not None:
        raise call.refused("with the broadcasting of opset 6")
    minus = call.op == "Sub"
    signs = [-1.0 if minus and k else 1.0 for k in range(len(call.arguments))]
    places = [k for k, a in enumerate(call.arguments) if isinstance(a, Moving)]
    inputs, tape = call.moving(), call.tape
    own = [signs[k] for k in places]
    alone = len(inputs) == 1
    found = inputs[0] if alone else added(tape, inputs, own, call.op)
    factor, shift = tape.x.new_tensor(own[0] if alone else 1.0), None
    for k, sign in enumerate(signs):
        if k not in places:
            value = call.wide(k)
            assert value is not None
            shift = sign * value if shift is None else shift + sign * value
    if call.op == "Mean":
        factor = factor / len(signs)
        shift = None if shift is None else shift / len(signs)
    elif shift is None:
        return Moving(found)
    return Moving(scaled(tape, found, factor, shift, call.op))


@rule("BatchNormalization")
def batch_norm(call: Call) -> Operand:
    """(v − mean) · weight / √(variance + epsilon) + bias, of stored statistics."""
    (at,) = call.moving(0)
    if call.attribute("training_mode", 0) or len(call.step.node.outputs) > 1:
        raise call.refused("in training mode")
    if not call.attribute("spatial", 1):
        raise call.refused("of each element by itself")
    weight, bias, mean, variance = (call.wide(k) for k in range(1, 5))
    assert weight is not None
    assert bias is not None
    assert mean is not None
    assert variance is not None
    epsilon = float(call.step.node.attributes.get("epsilon", 1e-5))
    factor = weight / (variance + epsilon).sqrt()
    axes = (1,) * (call.tape.values[at].dim() - 2)
    mean, factor, bias = (v.reshape(1, -1, *axes) for v in (mean, factor, bias))
    centred = scaled(call.tape, at, torch.ones_like(mean), -mean, call.op)
    return Moving(scaled(call.tape, centred, factor, bias, call.op))
