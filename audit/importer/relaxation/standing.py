"""Where the values of a tape are at the centre itself, in real arithmetic.

Each value v of a tape is rounded on its way. With e ≥ |v − its value in real
arithmetic| of what an affine entry L v + b reads, and γ as in `bounds`, its own is at
most |L| (e + γ |v|) + γ |b|: what its inputs are off by, and what its own sum is. A
curve or a surface takes an interval v ± e to one. The input itself is exact. Each
number of a value is a sum of as many terms as go in at most, a bias and a mean's
division: n is eight more than that.

**Rounding.** All that is added up is not negative, so the computed sum is at least
1 − γ of the true one: γ is taken twice, and the whole times 1 + 2γ.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from audit.importer.relaxation.ball import UNIT
from audit.importer.relaxation.forms import gamma
from audit.importer.relaxation.surfaces import Surface
from audit.importer.relaxation.tape import Affine, Bend, Tape


def standing(tape: Tape, at: int) -> tuple[Tensor, Tensor]:
    """Return both ends [B, *shape] of a value; NaN where a curve is not defined.

    Args:
        tape: the function, at its centre.
        at: the value's place.
    """
    errors = [torch.zeros_like(tape.x)]
    for index, entry in enumerate(tape.entries[1 : at + 1], start=1):
        if isinstance(entry, Bend):
            errors.append(_of_curve(tape, index, entry, errors[entry.input]))
        elif isinstance(entry, Affine):
            errors.append(_of_affine(tape, entry, errors))
        elif isinstance(entry, Surface):
            errors.append(_of_surface(tape, entry, errors))
    value, error = tape.values[at], errors[at]
    error = error + 4 * UNIT * (value.abs() + error)  # of the two ends
    return value - error, value + error


def _of_affine(tape: Tape, entry: Affine, errors: list[Tensor]) -> Tensor:
    known = [errors[i] for i in entry.inputs]
    if entry.once:
        return entry.absolute(*known)
    once = gamma(sum(tape.values[i][0].numel() for i in entry.inputs) + 8)
    sizes = [tape.values[i].abs() for i in entry.inputs]
    pairs = zip(known, sizes, strict=True)
    total = entry.absolute(*(e + 2 * once * size for e, size in pairs))
    if entry.bias is not None:
        total = total + 2 * once * entry.bias.abs()
    return total * (1 + 2 * once)


def _of_surface(tape: Tape, entry: Surface, errors: list[Tensor]) -> Tensor:
    ends, terms = list[tuple[Tensor, Tensor]](), 8
    for i in entry.inputs:
        value, terms = tape.values[i], terms + tape.values[i][0].numel()
        error = errors[i] + 4 * UNIT * (value.abs() + errors[i])
        ends.append((value - error, value + error))
    value = entry.run(*(tape.values[i] for i in entry.inputs))
    low, high = entry.range(tuple(ends), gamma(terms))
    return torch.maximum(high - value, value - low) * (1 + 4 * UNIT)


def _of_curve(tape: Tape, index: int, entry: Bend, error: Tensor) -> Tensor:
    v, value = tape.values[entry.input], tape.values[index]
    error = error + 4 * UNIT * (v.abs() + error)
    ends = v - error, v + error
    low, high = entry.curve.range(*ends, partial(entry.curve.lines, *ends))
    off = torch.maximum(high - value, value - low)
    return off * (1 + 4 * UNIT)
