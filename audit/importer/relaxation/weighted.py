"""Rules of sums with constant weights: products, convolutions, means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from string import ascii_lowercase

import torch
from torch import Tensor

from audit.importer.plan import Step
from audit.importer.relaxation.affine import multiplied, operator, product
from audit.importer.relaxation.joint import Joint
from audit.importer.relaxation.rules import Call, Moving, Operand, rule

Map = Callable[[Tensor], Tensor]
_FILLED = 8  # numbers of a matrix for each product of a convolution: as fast in float64


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
    """Products with constant matrices from one side, or of two values that move."""
    inputs = call.moving()
    if len(inputs) == 2:
        return Moving(_joint(call, inputs[0], inputs[1]))
    left = isinstance(call.arguments[0], Moving)
    (at,), weights = inputs, call.wide(1 if left else 0)
    assert weights is not None
    if left and weights.dim() == 2:
        return Moving(product(call.tape, at, weights, None, call.op))
    if not 2 <= weights.dim() < call.tape.values[at].dim():
        raise call.refused("with something else than constant matrices")
    return Moving(_in_one(call, at))


def _joint(call: Call, left: int, right: int) -> int:
    """Append the products of matrices in the last two axes, rows by rows."""
    tape = call.tape
    count = tape.values[left].dim()
    if count < 3 or tape.values[right].dim() != count:
        raise call.refused("of values with different numbers of axes")
    lead = ascii_lowercase[: count - 3]
    axes = (f"{lead}xy", f"{lead}yz", f"{lead}xz")
    return tape.surface(Joint((left, right), axes), call.op)


@rule("Einsum")
def einsum(call: Call) -> Operand:
    """Sums of products over axes, of one or two values that move, by row."""
    inputs, (terms, out) = call.moving(), _letters(call)
    own = [term for term, a in _pairs(terms, call) if isinstance(a, Moving)]
    others = [term for term, a in _pairs(terms, call) if not isinstance(a, Moving)]
    row = out[:1]
    once = all(term.count(row) == 1 == len(term.split(row)[0]) + 1 for term in own)
    if not row or not once or out.count(row) > 1 or row in "".join(others):
        raise call.refused("of values whose rows are not first")
    if len(own) == 1:
        return Moving(_in_one(call, inputs[0]))
    axes = (own[0][1:], own[1][1:], out[1:])
    if others or len(own) > 2 or not _is_bilinear(*axes):
        raise call.refused("of values that move in more than plain products")
    return Moving(call.tape.surface(Joint((inputs[0], inputs[1]), axes), call.op))


def _pairs(terms: list[str], call: Call) -> Iterator[tuple[str, Operand]]:
    return zip(terms, call.arguments, strict=True)


def _letters(call: Call) -> tuple[list[str], str]:
    """Return the axes of each operand and of the value, as letters of lower case.

    Raises:
        NoCertificate: some are not written out.
    """
    text = call.step.node.attributes["equation"]
    text = (text.decode() if isinstance(text, bytes) else text).replace(" ", "")
    if "." in text or "->" not in text:
        raise call.refused("whose axes are not written out")
    names = dict(zip(sorted(set(text) - set(",->")), ascii_lowercase, strict=False))
    given, out = text.translate(str.maketrans(names)).split("->")
    return given.split(","), out


def _is_bilinear(left: str, right: str, out: str) -> bool:
    """Tell whether every axis is once in two or in all three of these."""
    every = left + right + out
    alone = any(every.count(axis) == 1 for axis in every)
    return not alone and all(len(set(one)) == len(one) for one in (left, right, out))


def _in_one(call: Call, at: int) -> int:
    """Append a product of one value that moves with constants, over any axes."""
    constants = {
        k: call.wide(k)
        for k, a in enumerate(call.arguments)
        if not isinstance(a, Moving)
    }
    sizes = {k: None if v is None else v.abs() for k, v in constants.items()}

    def with_these(found: Mapping[int, Tensor | None]) -> Map:
        def run(v: Tensor) -> Tensor:
            places = range(len(call.arguments))
            return _tensor(call.step.run(*(found.get(k, v) for k in places)))

        return run

    run, absolute = with_these(constants), with_these(sizes)
    return operator(call.tape, at, run, absolute, None, call.op)


@rule("ConvTranspose")
def conv_transpose(call: Call) -> Operand:
    """The transpose of a convolution with constant weights."""
    (at,) = call.moving(0)
    return Moving(operator(call.tape, at, *_convolved(call), call.op, alike=True))


@rule("Conv")
def conv(call: Call) -> Operand:
    """Convolution with constant weights."""
    (at,) = call.moving(0)
    tape, weight = call.tape, call.wide(1)
    assert weight is not None
    run, absolute, kept = _convolved(call)
    event = run(tape.values[at][:1]).shape[1:]
    products = weight[0].numel() * event.numel()
    if tape.values[at][0].numel() * event.numel() > _FILLED * products:
        return Moving(operator(tape, at, run, absolute, kept, call.op, alike=True))
    matrix = _matrix(call.step, weight, tape.values[at].shape[1:])
    return Moving(multiplied(tape, at, matrix, kept, call.op))


def _convolved(call: Call) -> tuple[Map, Map, Tensor | None]:
    """Return a convolution without its bias, with absolute weights, and the bias."""
    (at,), weight, bias = call.moving(0), call.wide(1), call.wide(2)
    assert weight is not None
    size = weight.abs()

    def run(v: Tensor) -> Tensor:
        return _tensor(call.step.run(v, weight, None))

    def absolute(v: Tensor) -> Tensor:
        return _tensor(call.step.run(v, size, None))

    if bias is None:
        return run, absolute, None
    event = run(call.tape.values[at][:1]).shape[1:]
    bias = bias.reshape(1, -1, *(1,) * (len(event) - 1))
    return run, absolute, bias.expand(1, *event)


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


@rule("ReduceSum", "ReduceMean", "AveragePool", "GlobalAveragePool", "CumSum")
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
