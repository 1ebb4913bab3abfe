"""Activations that exporters have operators for, beside those of `functions`.

    curve       f''                                             its sign
    elu α       α eᵛ below 0, 0 above; f' jumps by 1 − α at 0   ≥ 0 if α ≤ 1; else
                                                                + below 0, then a knot
                                                                that bends down
    celu α      e^(v/α)/α below 0, 0 above; f' is continuous    ≥ 0
    softsign    −2 sign v / (1 + |v|)³                          + below 0, − above
    hard swish  ⅓ within ±3, 0 beyond; f' falls by ½ at both    0, +, 0 with knots that
                                                                bend down
    v^k         k (k−1) v^(k−2), k = 2, 3, and so on            of v^k
    1/v         2 / v³                                          + (0 < v)
    1/√v        ¾ v^(−5/2)                                      + (0 < v)

A piece that is straight may be taken as convex or as concave, so signs alternate. A
knot inside a convex piece that bends upwards leaves it convex: every slope that f has
at a point is one of a line below f.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.importer.relaxation.curves import Curve, Smooth


def elu(alpha: float) -> Curve:
    """Return v above zero and α (eᵛ − 1) below, α ≥ 0."""
    return Smooth(
        "elu",
        lambda v: torch.where(v > 0, v, alpha * v.clamp_max(0).expm1()),
        lambda v: torch.where(v > 0, 1.0, alpha * v.clamp_max(0).exp()),
        () if alpha <= 1 else (0.0,),
        rising=True,
    )


def celu(alpha: float) -> Curve:
    """Return v above zero and α (e^(v/α) − 1) below, α > 0."""
    return Smooth(
        "celu",
        lambda v: torch.where(v > 0, v, alpha * (v.clamp_max(0) / alpha).expm1()),
        lambda v: torch.where(v > 0, 1.0, (v.clamp_max(0) / alpha).exp()),
        rising=True,
    )


def _softsign_slope(v: Tensor) -> Tensor:
    return (1 + v.abs()).square().reciprocal()


def _hard_swish(v: Tensor) -> Tensor:
    return torch.where(v.abs() < 3, v * (v + 3) / 6, v.clamp_min(0))


def _hard_swish_slope(v: Tensor) -> Tensor:
    return torch.where(v.abs() < 3, (2 * v + 3) / 6, (v > 0).to(v.dtype))


SOFTSIGN = Smooth(
    "softsign", torch.nn.functional.softsign, _softsign_slope, (0.0,), rising=True
)
HARD_SWISH = Smooth(
    "hard_swish", _hard_swish, _hard_swish_slope, (-3.0, 3.0), convex=False
)
RECIPROCAL = Smooth(
    "reciprocal",
    torch.reciprocal,
    lambda v: -v.square().reciprocal(),
    domain=(0.0, torch.inf),
    least=0.0,
    falling=True,
    relative=True,
)
ROOT_RECIPROCAL = Smooth(
    "root_reciprocal",
    torch.rsqrt,
    lambda v: -v.rsqrt() / (2 * v),
    domain=(0.0, torch.inf),
    least=0.0,
    falling=True,
    relative=True,
)


def power(k: int) -> Curve:
    """Return v^k for a whole number k ≥ 2."""
    return Smooth(
        "cube" if k == 3 else f"power {k}",
        lambda v: v**k,
        lambda v: k * v ** (k - 1),
        (0.0,) if k % 2 else (),
        rising=k % 2 == 1,
        convex=k % 2 == 0,
        least=-torch.inf if k % 2 else 0.0,
        relative=True,
    )
