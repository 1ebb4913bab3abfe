"""Rules of activations whose curves are those of `hinged`, and of powers.

PRelu with a slope s for each channel is s v + (1 − s) relu(v), with the rounding of
1 − s as a term of its own: 1 − s = c + r, both numbers of float64 (Knuth's sum), so
that no rounded constant takes the place of the graph's.
"""

from __future__ import annotations

from torch import Tensor

from audit.importer.relaxation import functions
from audit.importer.relaxation.affine import added, scaled
from audit.importer.relaxation.curves import Curve
from audit.importer.relaxation.hinged import (
    HARD_SWISH,
    RECIPROCAL,
    ROOT_RECIPROCAL,
    SOFTSIGN,
    celu,
    elu,
    power,
)
from audit.importer.relaxation.rules import Call, Moving, Operand, rule
from audit.importer.relaxation.tape import Tape

_SELU = {
    "alpha": 1.6732632423543772,
    "gamma": 1.0507009873554804,
}  # as the operator has
_POWERS: dict[float, Curve] = {
    0.5: functions.SQRT,
    2.0: functions.SQUARE,
    -0.5: ROOT_RECIPROCAL,
    -1.0: RECIPROCAL,
} | {float(k): power(k) for k in range(3, 9)}


def _number(call: Call, name: str, default: float) -> float:
    return float(call.step.node.attributes.get(name, default))


@rule("Softsign", "HardSwish", "Reciprocal")
def named(call: Call) -> Operand:
    """A curve of the table."""
    (at,) = call.moving(0)
    known = {"Softsign": SOFTSIGN, "HardSwish": HARD_SWISH, "Reciprocal": RECIPROCAL}
    return Moving(call.tape.bend(at, known[call.op]))


@rule("Elu", "Celu", "Selu")
def exponential(call: Call) -> Operand:
    """V above zero, and what leads to −α below; γ times that for Selu."""
    (at,) = call.moving(0)
    alpha = _number(call, "alpha", _SELU["alpha"] if call.op == "Selu" else 1.0)
    if alpha <= 0:
        raise call.refused("with an alpha that is not positive")
    bent = call.tape.bend(at, celu(alpha) if call.op == "Celu" else elu(alpha))
    if call.op != "Selu":
        return Moving(bent)
    gamma = call.tape.x.new_tensor(_number(call, "gamma", _SELU["gamma"]))
    return Moving(scaled(call.tape, bent, gamma, None, call.op))


@rule("HardSigmoid")
def hard_sigmoid(call: Call) -> Operand:
    """α v + β, kept between 0 and 1."""
    (at,) = call.moving(0)
    alpha, beta = (
        call.tape.x.new_tensor(_number(call, name, default))
        for name, default in (("alpha", 0.2), ("beta", 0.5))
    )
    line = scaled(call.tape, at, alpha, beta, call.op)
    return Moving(call.tape.bend(line, functions.clipped(0.0, 1.0)))


@rule("PRelu")
def p_relu(call: Call) -> Operand:
    """V above zero, a constant slope times v below."""
    (at,) = call.moving(0)
    slope = call.wide(1)
    assert slope is not None
    first = float(slope.flatten()[0])
    if bool((slope == first).all()) and slope.dim() <= call.tape.values[at].dim():
        return Moving(call.tape.bend(at, functions.leaky(first)))
    return Moving(_by_channels(call.tape, at, slope, call.op))


def _by_channels(tape: Tape, at: int, slope: Tensor, what: str) -> int:
    """Append s v + c relu(v) + r relu(v), c + r = 1 − s."""
    rest = 1 - slope
    part = 1 - rest
    lost = (1 - (rest + part)) + (part - slope)
    bent = tape.bend(at, functions.RELU)
    terms = [scaled(tape, at, slope, None, what), scaled(tape, bent, rest, None, what)]
    if bool(lost.any()):
        terms.append(scaled(tape, bent, lost, None, what))
    return added(tape, terms, [1.0] * len(terms), what)


@rule("Pow")
def raised(call: Call) -> Operand:
    """V to a constant power: a root, a reciprocal, or a small whole number."""
    (at,) = call.moving(0)
    exponent = call.wide(1)
    assert exponent is not None
    if exponent.numel() != 1:
        raise call.refused("with several exponents")
    number = float(exponent)
    if number == 1:
        return Moving(at)
    if number not in _POWERS:
        raise call.refused(f"with the exponent {number:g}")
    return Moving(call.tape.bend(at, _POWERS[number]))
