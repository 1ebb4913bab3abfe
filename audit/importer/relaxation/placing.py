"""Rules of operators that put elements elsewhere, constants among them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from audit.importer.relaxation.copies import copied
from audit.importer.relaxation.displaced import COPIES, placed
from audit.importer.relaxation.rules import Call, Made, Moving, Operand, rule

_REPEATED = ("Expand", "Tile", "DepthToSpace", "SpaceToDepth", "Trilu")
_CHOSEN = ("GatherElements", "GatherND", "ReverseSequence", "CenterCropPad")


@rule(*COPIES)
def copy(call: Call) -> Operand:
    """Put elements elsewhere, whatever the axis of the rows."""
    (at,) = call.moving(0)
    return placed(call.tape, at, call.run, call.op)


@rule(*_REPEATED, *_CHOSEN)
def moved(call: Call) -> Operand:
    """Repeat elements, leave some out, or put zeros in their place."""
    return Moving(copied(call.tape, call.moving(0), call.run, call.op))


@rule("Resize", "Upsample")
def nearest(call: Call) -> Operand:
    """Repeat the nearest element."""
    if call.attribute("mode", "nearest") not in ("nearest", b"nearest"):
        raise call.refused("that weighs several elements")
    return moved(call)


@rule("ScatterElements", "ScatterND")
def scattered(call: Call) -> Operand:
    """Put elements in the place of others."""
    if call.attribute("reduction", "none") not in ("none", b"none"):
        raise call.refused("that adds up or compares elements")
    return Moving(copied(call.tape, call.moving(0, 2), call.run, call.op))


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


def _tensor(value: object) -> Tensor:
    assert isinstance(value, torch.Tensor)
    return value
