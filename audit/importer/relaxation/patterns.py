"""Activations that a graph spells out: v Φ(v) by erf, v σ(k v) by sigmoid.

    α v · β (1 + erf(γ v)) = (2 α β / k) (k v) Φ(k v),     k = γ √2
    α v · β σ(γ v)         = (α β / γ) (γ v) σ(γ v)

The constants are those of the graph, whatever they round to: k is 1 up to a rounding of
float32 only, and is carried along. 1 + erf needs its two terms equal to the last bit;
otherwise it is another function, and there is no certificate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from audit.importer.relaxation import functions
from audit.importer.relaxation.curves import Curve
from audit.importer.relaxation.tape import Affine, Bend, Tape


@dataclass(frozen=True)
class Gate:
    """Outer · f(inner · v), v at `base`."""

    base: int
    curve: Curve
    inner: float
    outer: float


@dataclass(frozen=True)
class _Line:
    """Slope · v + shift, v at `base`."""

    base: int
    slope: float
    shift: float


def gated(tape: Tape, value: int, gate: int) -> Gate | None:
    """Return value · gate as one activation; None if it is none."""
    outside = _line(tape, gate)
    entry = tape.entries[outside.base]
    if not isinstance(entry, Bend):
        return None
    inside, own = _line(tape, entry.input), _line(tape, value)
    if inside.base != own.base or inside.shift or own.shift or not inside.slope:
        return None
    size = own.slope * outside.slope
    if entry.curve is functions.ERF and outside.shift == outside.slope:
        inner = inside.slope * math.sqrt(2)
        return Gate(own.base, functions.GELU, inner, 2 * size / inner)
    if entry.curve is functions.SIGMOID and not outside.shift:
        return Gate(own.base, functions.SILU, inside.slope, size / inside.slope)
    return None


def _line(tape: Tape, at: int) -> _Line:
    """Return a value as a multiple of another one and a shift, as far as it goes."""
    slope, shift = 1.0, 0.0
    while isinstance(entry := tape.entries[at], Affine) and entry.factor is not None:
        slope, shift = slope * entry.factor[0], shift + slope * entry.factor[1]
        (at,) = entry.inputs
    return _Line(at, slope, shift)
