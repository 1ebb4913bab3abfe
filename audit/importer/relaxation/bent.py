"""Rules of activations, and of what exporters write for one."""

from __future__ import annotations

from torch import Tensor

from audit.importer.relaxation import functions
from audit.importer.relaxation.affine import scaled
from audit.importer.relaxation.copies import copied
from audit.importer.relaxation.curves import Curve
from audit.importer.relaxation.gates import MISH, TANH_GELU
from audit.importer.relaxation.patterns import gated
from audit.importer.relaxation.products import product_of, quotient_of
from audit.importer.relaxation.rules import (
    Call,
    Compared,
    Moving,
    Operand,
    Softened,
    rule,
)
from audit.importer.relaxation.tape import Tape

_CURVES: dict[str, Curve] = {
    "Exp": functions.EXP,
    "Log": functions.LOG,
    "Sigmoid": functions.SIGMOID,
    "Softplus": functions.SOFTPLUS,
    "Sqrt": functions.SQRT,
    "Tanh": functions.TANH,
    "Erf": functions.ERF,
    "Relu": functions.RELU,
    "Abs": functions.ABS,
    "Mish": MISH,
}


@rule(*_CURVES)
def curve(call: Call) -> Operand:
    """A curve of the table."""
    (at,) = call.moving(0)
    return Moving(call.tape.bend(at, _CURVES[call.op]))


@rule("FallingSigmoid")
def falling_sigmoid(call: Call) -> Operand:
    """σ(−v)."""
    (at,) = call.moving(0)
    minus = scaled(call.tape, at, -call.tape.x.new_ones(()), None, call.op)
    return Moving(call.tape.bend(minus, functions.SIGMOID))


@rule("LeakyRelu")
def leaky_relu(call: Call) -> Operand:
    """V above zero, alpha v below."""
    (at,) = call.moving(0)
    alpha = float(call.step.node.attributes.get("alpha", 0.01))
    return Moving(call.tape.bend(at, functions.leaky(alpha)))


@rule("Swish")
def swish(call: Call) -> Operand:
    """V σ(α v)."""
    (at,) = call.moving(0)
    alpha = float(call.step.node.attributes.get("alpha", 1.0))
    return Moving(stretched(call.tape, at, functions.SILU, alpha, 1 / alpha, call.op))


@rule("Gelu")
def gelu(call: Call) -> Operand:
    """V Φ(v)."""
    (at,) = call.moving(0)
    approximate = call.attribute("approximate", "none")
    exact = approximate in ("none", b"none")
    return Moving(call.tape.bend(at, functions.GELU if exact else TANH_GELU))


@rule("Clip")
def clip(call: Call) -> Operand:
    """V kept between two constants."""
    (at,) = call.moving(0)
    attributes = call.step.node.attributes
    low, high = (
        attributes.get(name) if value is None else float(value)
        for name, value in (("min", call.wide(1)), ("max", call.wide(2)))
    )
    low = -float("inf") if low is None else float(low)
    high = float("inf") if high is None else float(high)
    if low > high:
        raise call.refused("with ends that cross")
    return Moving(call.tape.bend(at, functions.clipped(low, high)))


@rule("Softmax", "LogSoftmax")
def softmax(call: Call) -> Operand:
    """Mark it: a law of classes is the same by its logits."""
    (at,) = call.moving(0)
    last = call.tape.values[at].dim() - 1
    default = -1 if call.step.node.opset >= 13 else 1
    if int(call.step.node.attributes.get("axis", default)) not in (-1, last):
        raise call.refused("over another axis than the last")
    return Softened(at, call.op == "LogSoftmax")


@rule("Greater", "Less", "GreaterOrEqual", "LessOrEqual")
def compared(call: Call) -> Operand:
    """Mark the comparison of a moving value with a number."""
    at, *others = call.moving()
    if others:
        raise call.refused("of two values that move")
    first = isinstance(call.arguments[0], Moving)
    number = call.wide(1 if first else 0)
    if number is None or number.numel() != 1:
        raise call.refused("with something else than a number")
    return Compared(at, float(number), call.op.startswith("Greater") == first)


@rule("Where")
def where(call: Call) -> Operand:
    """Choose by a constant, or write v above a switch and softplus below as one."""
    test, yes, no = call.arguments
    if not isinstance(test, Compared):
        return Moving(copied(call.tape, call.moving(1, 2), call.run, call.op))
    entries = call.tape.entries
    if isinstance(yes, Moving) and isinstance(no, Moving) and test.above:
        entry = entries[no.at]
        soft = getattr(entry, "curve", None) is functions.SOFTPLUS
        if soft and yes.at == test.at == getattr(entry, "input", None):
            curve = functions.switched(test.number)
            return Moving(call.tape.bend(yes.at, curve))
    raise call.refused("of a comparison that is not softplus's own")


@rule("Mul", "Div")
def multiplied(call: Call) -> Operand:
    """Products and quotients, of moving values and constants."""
    inputs, first = call.moving(), call.arguments[0]
    if call.attribute("axis") is not None:
        raise call.refused("with the broadcasting of opset 6")
    if len(inputs) == 2:
        product = _gated if call.op == "Mul" else _divided
        return Moving(product(call, *inputs))
    if call.op == "Div" and not isinstance(first, Moving):
        number = call.wide(0)
        assert number is not None
        return Moving(quotient_of(call.tape, number, inputs[0], call.op))
    factor = call.wide(1 if isinstance(first, Moving) else 0)
    assert factor is not None
    factor = 1 / factor if call.op == "Div" else factor
    return Moving(scaled(call.tape, inputs[0], factor, None, call.op))


def _divided(call: Call, left: int, right: int) -> int:
    """Return the quotient of two values."""
    return quotient_of(call.tape, left, right, call.op)


def _gated(call: Call, left: int, right: int) -> int:
    """Return v times a gate of v as the activation that it is, or a product."""
    found = gated(call.tape, left, right) or gated(call.tape, right, left)
    if found is None:
        return product_of(call.tape, left, right, call.op)
    return stretched(
        call.tape, found.base, found.curve, found.inner, found.outer, call.op
    )


def stretched(
    tape: Tape, at: int, curve: Curve, inner: float, outer: float, what: str
) -> int:
    """Append outer · f(inner · v)."""

    def number(value: float) -> Tensor:
        return tape.x.new_tensor(value)

    if inner != 1:
        at = scaled(tape, at, number(inner), None, what)
    bent = tape.bend(at, curve)
    return bent if outer == 1 else scaled(tape, bent, number(outer), None, what)
