"""First-order slopes of every value of a tape at its centre, carried forwards.

J of v(x + S u) with respect to u: m tangents go through all entries together, through
a curve by its slope k at the centre. Whatever k is, and however J is rounded, a bound
that is made with them is proven where it is used (`spans`), so that balls of all sizes
share them.

Kept are the slopes k, the dual norms ‖J‖_q of every value's rows, 1/p + 1/q = 1, and J
of one value; not the rest, which is large.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from audit.importer.relaxation.tape import Affine, Bend, Source, Tape

_NUMBERS = 2**25  # of all tangents of the widest value
_LOST = 1e-153  # a number whose square is above 1e-306, where no digit is lost


@dataclass(frozen=True)
class Slopes:
    """Of a tape, in a norm.

    Args:
        jacobian: J of the value that was asked for [m, R, *shape].
        norms: of every value ‖J‖_q [R, *shape], R = 1 or B, rounded up.
        rates: k of every curve, by its place [B, *shape].
    """

    jacobian: Tensor
    norms: list[Tensor] = field(default_factory=list)
    rates: dict[int, Tensor] = field(default_factory=dict)


def slopes_of(
    tape: Tape, free: Tensor, unit: Tensor, power: float, target: int
) -> Slopes | None:
    """Return the slopes of a tape; None where they are too many to be worth it.

    Args:
        tape: the function.
        free: which of the flattened features move [m].
        unit: what one unit of u is in each of them, [m] or [B, m].
        power: p.
        target: the value whose J is kept.
    """
    widest = max(value[0].numel() for value in tape.values)
    if len(free) * tape.rows * widest > _NUMBERS:
        return None
    own = unit.to(tape.x).reshape(-1, len(free)).T
    seeds = tape.x.new_zeros(*own.shape, tape.x[0].numel())
    seeds[torch.arange(len(free), device=free.device), :, free] = own
    found: dict[int, Tensor] = {}
    norms, rates, last = [], dict[int, Tensor](), _last_uses(tape)
    for index, entry in enumerate(tape.entries):
        if isinstance(entry, Source):
            tangent = seeds.reshape(*own.shape, *tape.x.shape[1:])
        elif isinstance(entry, Affine):
            tangent = entry.along(*(found[i] for i in entry.inputs))
        else:
            rates[index] = _rate(entry, tape.values[entry.input])
            tangent = found[entry.input] * rates[index]
        found[index] = tangent
        norms.append(_raised(tangent, power))
        for done in last.get(index, ()):
            if done != target:
                del found[done]
    return Slopes(found[target], norms, rates)


def _rate(entry: Bend, value: Tensor) -> Tensor:
    """Return a curve's slope, 0 where it is no number."""
    return entry.curve.slope(value).nan_to_num(0.0, 0.0, 0.0)


def _raised(tangent: Tensor, power: float) -> Tensor:
    """Return ‖J‖_q over the first axis, not below; squares that vanish are made up for.

    Plain sums along that axis are several times as fast as a norm that scales.
    """
    if power == 1:
        norm = tangent.abs().amax(dim=0)
    elif power == 2:
        norm = tangent.square().sum(dim=0).sqrt() + len(tangent) * _LOST
    else:
        norm = tangent.abs().sum(dim=0)
    return norm * (1 + (len(tangent) + 8) * 2.0**-53)


def _last_uses(tape: Tape) -> dict[int, list[int]]:
    """Return the values that no entry reads after this one."""
    last = dict[int, int]()
    for index, entry in enumerate(tape.entries):
        last[index] = index
        if isinstance(entry, Affine):
            last.update(dict.fromkeys(entry.inputs, index))
        elif isinstance(entry, Bend):
            last[entry.input] = index
    found = dict[int, list[int]]()
    for value, index in last.items():
        found.setdefault(index, []).append(value)
    return found
