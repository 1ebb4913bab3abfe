"""Rules of operators that are affine in what moves."""

from __future__ import annotations

from collections.abc import Callable
from string import ascii_lowercase

import torch
from torch import Tensor

from audit.importer.plan import Step
from audit.importer.relaxation.affine import (
    added,
    multiplied,
    operator,
    product,
    scaled,
)
from audit.importer.relaxation.copies import copied
from audit.importer.relaxation.displaced import COPIES, placed
from audit.importer.relaxation.joint import Joint
from audit.importer.relaxation.rules import Call, Made, Moving, Operand, rule
from audit.importer.values import FLOATS, TORCH_TYPES

_FILLED = 8  # numbers of a matrix for each product of a convolution: as fast in float64


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


@rule(*COPIES)
def copy(call: Call) -> Operand:
    """Put elements elsewhere, whatever the axis of the rows."""
    (at,) = call.moving(0)
    return placed(call.tape, at, call.run, call.op)


@rule("Expand", "Tile")
def repeated(call: Call) -> Operand:
    """Repeat elements."""
    return Moving(copied(call.tape, call.moving(0), call.run, call.op))


@rule("Concat")
def concat(call: Call) -> Operand:
    """Put values side by side, constants among them."""
    return Moving(copied(call.tape, call.moving(), call.run, call.op))


@rule("Pad")
def pad(call: Call) -> Operand:
    """Put numbers around a value."""
    if call.attribute("mode", "constant") != "constant":
        raise call.refused("that repeats elements")
    return Moving(copied(call.tape, call.moving(0), call.run, call.op))


@rule("Split")
def split(call: Call) -> Made:
    """Return each part as a copy."""
    (at,) = call.moving(0)

    def part(place: int) -> Callable[[Tensor], Tensor]:
        def run(v: Tensor) -> Tensor:
            found = call.filled(v)
            assert isinstance(found, tuple)
            return _tensor(found[place]).double()

        return run

    return tuple(
        Moving(copied(call.tape, [at], part(k), call.op)) if name else None
        for k, name in enumerate(call.step.node.outputs)
    )


@rule("Neg")
def negated(call: Call) -> Operand:
    """−v."""
    (at,) = call.moving(0)
    return Moving(scaled(call.tape, at, -call.tape.x.new_ones(()), None, call.op))


@rule("Add", "Sub", "Sum")
def add(call: Call) -> Operand:
    """Sums and differences, of moving values and constants."""
    if call.attribute("axis") is not None:
        raise call.refused("with the broadcasting of opset 6")
    minus = call.op == "Sub"
    signs = [-1.0 if minus and k else 1.0 for k in range(len(call.arguments))]
    places = [k for k, a in enumerate(call.arguments) if isinstance(a, Moving)]
    inputs, tape = call.moving(), call.tape
    own = [signs[k] for k in places]
    alone = len(inputs) == 1
    found = inputs[0] if alone else added(tape, inputs, own, call.op)
    shift = None
    for k, sign in enumerate(signs):
        if k not in places:
            value = call.wide(k)
            assert value is not None
            shift = sign * value if shift is None else shift + sign * value
    if shift is None:
        return Moving(found)
    factor = tape.x.new_tensor(own[0] if alone else 1.0)
    return Moving(scaled(tape, found, factor, shift, call.op))


@rule("Gemm")
def gemm(call: Call) -> Operand:
    """Alpha v B + beta C, B constant."""
    (at,) = call.moving(0)
    weights = call.wide(1)
    if call.attribute("transA", 0) or weights is None:
        raise call.refused("of a transposed batch")
    attributes = call.step.node.attributes
    matrix = weights.mT if attributes.get("transB", 0) else weights
    bias = call.wide(2)
    if bias is not None:
        bias = bias * float(attributes.get("beta", 1.0))
    alpha = float(attributes.get("alpha", 1.0))
    return Moving(product(call.tape, at, alpha * matrix, bias, call.op))


@rule("MatMul")
def mat_mul(call: Call) -> Operand:
    """Products with a constant matrix from the right, or of two values that move."""
    inputs = call.moving()
    if len(inputs) == 2:
        return Moving(_joint(call, inputs[0], inputs[1]))
    (at,) = call.moving(0)
    weights = call.wide(1)
    if weights is None or weights.dim() != 2:
        raise call.refused("with something else than a constant matrix")
    return Moving(product(call.tape, at, weights, None, call.op))


def _joint(call: Call, left: int, right: int) -> int:
    """Append the products of matrices in the last two axes, rows by rows."""
    tape = call.tape
    count = tape.values[left].dim()
    if count < 3 or tape.values[right].dim() != count:
        raise call.refused("of values with different numbers of axes")
    lead = ascii_lowercase[: count - 3]
    axes = (f"{lead}xy", f"{lead}yz", f"{lead}xz")
    return tape.surface(Joint((left, right), axes), call.op)


@rule("Conv")
def conv(call: Call) -> Operand:
    """Convolution with constant weights."""
    (at,) = call.moving(0)
    tape, step = call.tape, call.step
    weight, bias = call.wide(1), call.wide(2)
    assert weight is not None
    size = weight.abs()

    def run(v: Tensor) -> Tensor:
        return _tensor(step.run(v, weight, None))

    def absolute(v: Tensor) -> Tensor:
        return _tensor(step.run(v, size, None))

    event = run(tape.values[at][:1]).shape[1:]
    kept = None
    if bias is not None:
        kept = bias.reshape(1, -1, *(1,) * (len(event) - 1)).expand(1, *event)
    products = weight[0].numel() * event.numel()
    if tape.values[at][0].numel() * event.numel() > _FILLED * products:
        return Moving(operator(tape, at, run, absolute, kept, call.op, alike=True))
    matrix = _matrix(step, weight, tape.values[at].shape[1:])
    return Moving(multiplied(tape, at, matrix, kept, call.op))


def _matrix(step: Step, weight: Tensor, event: torch.Size) -> Tensor:
    """Return a convolution of few elements as the matrix that it is [in, *out].

    One product of matrices is several times as fast as a convolution of many small
    images. A column is the image of a single 1, and exact: all products but one are
    with 0. Without groups an image of one channel has the same for all of them.
    """
    channels, *spatial = event
    if weight.shape[1] < channels:  # in groups
        eye = torch.eye(event.numel(), dtype=weight.dtype, device=weight.device)
        return _tensor(step.run(eye.reshape(-1, *event), weight, None))
    count = torch.Size(spatial).numel()
    eye = torch.eye(count, dtype=weight.dtype, device=weight.device)
    single = weight.flatten(0, 1).unsqueeze(1)
    found = _tensor(step.run(eye.reshape(-1, 1, *spatial), single, None))
    found = found.reshape(count, *weight.shape[:2], *found.shape[2:])
    return found.movedim(2, 0).flatten(0, 1)


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


@rule("ReduceSum", "ReduceMean", "AveragePool", "GlobalAveragePool")
def averaged(call: Call) -> Operand:
    """Sums and means, whose coefficients are not negative."""
    (at,) = call.moving(0)
    tape, value = call.tape, call.tape.values[at]
    kept = call.op == "ReduceMean" and bool(call.attribute("keepdims", 1))
    shape = call.run(value).shape if kept else value.shape
    pairs = list(zip(value.shape, shape, strict=True))
    mean = tuple(k - len(pairs) for k, (n, m) in enumerate(pairs) if m < n)
    return Moving(operator(tape, at, call.run, call.run, None, call.op, mean=mean))


def _tensor(value: object) -> Tensor:
    assert isinstance(value, torch.Tensor)
    return value
