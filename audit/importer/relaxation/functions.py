"""The table of curves: activations and links, with the signs of their curvature.

    curve          f''                                    changes its sign at
    exp            eᵛ > 0
    log, sqrt      −1/v², −v^(−3/2)/4 < 0                 (0 < v)
    square         2 > 0
    logit          (2v − 1) / (v(1−v))²                   ½  (0 < v < 1)
    softplus       σ(1−σ) > 0
    log softplus   [σ(1−σ) h − σ²] / h², h = softplus:    never: h ≤ eᵛ = σ/(1−σ), so
                   < 0                                    (1−σ) h ≤ σ
    sigmoid        σ(1−σ)(1−2σ)                           0
    tanh           −2 tanh(1−tanh²)                       0
    erf            −4v e^{−v²}/√π                         0
    silu, v σ(v)   σ(1−σ)[2 + v(1−2σ)], and v(1−2σ) =     ±c, c tanh(c/2) = 2
                   −v tanh(v/2) falls in |v|
    gelu, v Φ(v)   φ(v)(2 − v²)                           ±√2

Exporters write softplus with a switch to v itself above some number; it falls by
log(1 + e^−switch) there, and stays between softplus and softplus less that fall: the
line below is lowered by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.relaxation.curves import Curve, Lines, Smooth
from audit.importer.relaxation.kinked import Kinked

_SILU = 2.3993572805154667  # c tanh(c/2) = 2
_ROOT_HALF = math.sqrt(0.5)
_PEAK = 1 / math.sqrt(2 * math.pi)


def _softplus(v: Tensor) -> Tensor:
    rest: Tensor = torch.log1p((-v.abs()).exp())
    return v.clamp_min(0) + rest


def _silu_slope(v: Tensor) -> Tensor:
    gate = torch.sigmoid(v)
    return gate * (1 + v * torch.sigmoid(-v))


def _cdf(v: Tensor) -> Tensor:
    tail: Tensor = torch.special.erfc(-v * _ROOT_HALF)
    return tail / 2


def _gelu_slope(v: Tensor) -> Tensor:
    return _cdf(v) + v * _PEAK * (-v.square() / 2).exp()


def _log_softplus(v: Tensor) -> Tensor:
    far = v - v.exp() / 2  # log log(1 + y) = log y − y/2 + O(y²) for y = eᵛ < 1e-9
    return torch.where(v < -21, far, _softplus(v).log())


def _log_softplus_slope(v: Tensor) -> Tensor:
    return torch.where(v < -21, 1 - v.exp() / 2, torch.sigmoid(v) / _softplus(v))


EXP = Smooth("exp", torch.exp, torch.exp, rising=True, relative=True)
LOG = Smooth(
    "log",
    torch.log,
    torch.reciprocal,
    domain=(0.0, torch.inf),
    rising=True,
    convex=False,
    relative=True,
)
LOGIT = Smooth(
    "logit",
    torch.logit,
    lambda v: 1 / (v * (1 - v)),
    (0.5,),
    (0.0, 1.0),
    True,
    False,
)
SOFTPLUS = Smooth("softplus", _softplus, torch.sigmoid, rising=True)
LOG_SOFTPLUS = Smooth(
    "log_softplus", _log_softplus, _log_softplus_slope, rising=True, convex=False
)
SIGMOID = Smooth(
    "sigmoid",
    torch.sigmoid,
    lambda v: torch.sigmoid(v) * torch.sigmoid(-v),
    (0.0,),
    rising=True,
)
TANH = Smooth(
    "tanh", torch.tanh, lambda v: 1 - torch.tanh(v).square(), (0.0,), rising=True
)
ERF = Smooth(
    "erf",
    torch.erf,
    lambda v: 2 / math.sqrt(math.pi) * (-v.square()).exp(),
    (0.0,),
    rising=True,
)
SILU = Smooth(
    "silu", lambda v: v * torch.sigmoid(v), _silu_slope, (-_SILU, _SILU), convex=False
)
GELU = Smooth(
    "gelu",
    lambda v: v * _cdf(v),
    _gelu_slope,
    (-math.sqrt(2), math.sqrt(2)),
    convex=False,
)
SQUARE = Smooth("square", torch.square, lambda v: 2 * v, least=0.0, relative=True)
SQRT = Smooth(
    "sqrt",
    torch.sqrt,
    lambda v: v.rsqrt() / 2,
    domain=(0.0, torch.inf),
    rising=True,
    convex=False,
    relative=True,
)
RELU = Kinked("relu", torch.relu, lambda v: (v > 0).to(v.dtype), (0.0,), rising=True)
ABS = Kinked("abs", torch.abs, torch.sign, (0.0,))


def leaky(alpha: float) -> Curve:
    """Return v above zero and α v below."""
    return Kinked(
        "leaky_relu",
        lambda v: functional.leaky_relu(v, alpha),
        lambda v: torch.full_like(v, alpha).masked_fill(v > 0, 1.0),
        (0.0,),
        rising=alpha >= 0,
    )


def clipped(low: float, high: float) -> Curve:
    """Return v kept between two numbers; either may be infinite."""
    knots = tuple(end for end in (low, high) if math.isfinite(end))
    return Kinked(
        "clip",
        lambda v: v.clamp(low, high),
        lambda v: ((v > low) & (v < high)).to(v.dtype),
        knots,
        rising=True,
    )


@dataclass(frozen=True)
class Switched(Smooth):
    """A curve of softplus, with v itself for softplus above a switch.

    Args:
        base: the curve without a switch.
        switch: where it is. fall: by how much it falls at most there.
    """

    base: Curve = SOFTPLUS
    switch: float = math.inf
    fall: float = 0.0

    def lines(self, low: Tensor, high: Tensor) -> Lines:
        """Return those of the base, the one below lowered by the fall."""
        found = self.base.lines(low, high)
        fall = torch.where(high >= self.switch, self.fall, 0.0)
        return found._replace(below_level=found.below_level - fall)


def switched(number: float) -> Switched:
    """Return softplus that is v above a number."""

    def value(v: Tensor) -> Tensor:
        return torch.where(v > number, v, _softplus(v))

    def slope(v: Tensor) -> Tensor:
        return torch.where(v > number, 1.0, torch.sigmoid(v))

    fall = math.log1p(math.exp(-number))
    name = "softplus_switched"
    return Switched(name, value, slope, base=SOFTPLUS, switch=number, fall=fall)


def log_of(curve: Curve) -> Curve | None:
    """Return the logarithm of softplus, with its switch; None if it is none.

    There it falls by log(1 + fall/v) ≤ fall / switch.
    """
    if curve is SOFTPLUS:
        return LOG_SOFTPLUS
    if not isinstance(curve, Switched) or curve.base is not SOFTPLUS:
        return None
    number = curve.switch
    if number <= 0:
        return None

    def value(v: Tensor) -> Tensor:
        far = v.clamp_min(number).log()
        return torch.where(v > number, far, _log_softplus(v))

    def slope(v: Tensor) -> Tensor:
        return torch.where(v > number, 1 / v, _log_softplus_slope(v))

    fall = curve.fall / number
    name = "log_softplus_switched"
    return Switched(name, value, slope, base=LOG_SOFTPLUS, switch=number, fall=fall)
