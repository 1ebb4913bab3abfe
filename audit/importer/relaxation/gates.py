"""Activations v · gate(v) that operators have, by their expressions.

mish          v tanh(log(1 + eᵛ))
tanh gelu     ½ v (1 + tanh(√(2/π) (v + 0.044715 v³)))
"""

from __future__ import annotations

import math

from audit.importer.relaxation import functions
from audit.importer.relaxation.composed import Composed
from audit.importer.relaxation.expressions import (
    Expression,
    Itself,
    Line,
    Product,
    Sum,
    Through,
)
from audit.importer.relaxation.hinged import power

_V: Expression = Itself()
_CUBIC = Sum((_V, Line(Through(_V, power(3)), 0.044715, 0.0)), (1.0, 1.0))
_BENT = Through(Line(_CUBIC, math.sqrt(2 / math.pi), 0.0), functions.TANH)

MISH = Composed.of(
    Product(_V, Through(Through(_V, functions.SOFTPLUS), functions.TANH))
)
TANH_GELU = Composed.of(Product(Line(_V, 0.5, 0.0), Line(_BENT, 1.0, 1.0)))
