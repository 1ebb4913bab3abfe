"""Maxima, as sums and rectifiers: max(a, b) = b + relu(a − b).

A window of k elements is halved until one is left, so that each relu has the interval
of a difference. The maximum of a curve that never falls is the curve of the maximum: it
comes after, on one element of a window instead of k, and differences are those of what
it reads. Where a window hangs over the edge, the missing elements are replaced by one
of its own: the maximum is the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from audit.importer.ops.windows import windows
from audit.importer.relaxation import functions
from audit.importer.relaxation.affine import added, scaled
from audit.importer.relaxation.copies import picked
from audit.importer.relaxation.rules import Call, Moving, Operand, rule
from audit.importer.relaxation.tape import Affine, Bend, Larger, Tape


@rule("MaxPool")
def max_pool(call: Call) -> Operand:
    """The largest element of each window."""
    (at,) = call.moving(0)
    if len(call.step.node.outputs) > 1:
        raise call.refused("with the positions of its maxima")
    places = _places(call, tuple(call.tape.values[at].shape[1:]))
    return Moving(pooled(call.tape, at, places, call.op))


@rule("GlobalMaxPool")
def global_max_pool(call: Call) -> Operand:
    """The largest element over the spatial axes."""
    (at,) = call.moving(0)
    channels, *spatial = call.tape.values[at].shape[1:]
    places = torch.arange(call.tape.values[at][0].numel(), device=call.tape.x.device)
    places = places.reshape(channels, *(1,) * len(spatial), -1)
    return Moving(pooled(call.tape, at, places, call.op))


@rule("Max", "Min")
def extreme(call: Call) -> Operand:
    """The larger or smaller of moving values of one shape, and of constants."""
    inputs, tape, sign = call.moving(), call.tape, 1.0 if call.op == "Max" else -1.0
    if len({tape.values[i].shape for i in inputs}) > 1:
        raise call.refused("of values of several shapes")
    first, *others = inputs
    for other in others:
        first = _larger(tape, first, other, call.op, sign)
    for place, argument in enumerate(call.arguments):
        if not isinstance(argument, Moving):
            number = call.wide(place)
            assert number is not None
            first = _above(tape, first, number, call.op, sign)
    return Moving(first)


def pooled(tape: Tape, at: int, places: Tensor, what: str) -> int:
    """Append maxima over windows; of a curve that never falls, the curve of maxima.

    Args:
        tape: it grows.
        at: the value.
        places: numbers of the elements of a row in each window [*out, k].
        what: the operator's name.
    """
    entry = tape.entries[at]
    if isinstance(entry, Bend) and entry.curve.rising and entry.curve.everywhere:
        return tape.bend(pooled(tape, entry.input, places, what), entry.curve)
    return _largest(tape, at, places, what)


def _largest(tape: Tape, at: int, places: Tensor, what: str) -> int:
    """Append maxima over the last axis of `places` [*out, k], elements of a row.

    The elements are put side by side as [k, *out] once; halves of that are slices.
    """
    stacked = places.movedim(-1, 0)
    at, count = picked(tape, at, stacked, what), len(stacked)
    while count > 1:
        half = count // 2
        gap = tape.bend(tape.affine(_gap(at, half, count), what), functions.RELU)
        at = tape.affine(_larger_half(at, gap, half), what)
        count -= half
    left = torch.arange(stacked[0].numel(), device=places.device)
    return picked(tape, at, left.reshape(stacked[0].shape), what)


def _gap(at: int, half: int, count: int) -> Affine:
    """Return the first half of k elements less the second [half, *out]."""

    def run(v: Tensor) -> Tensor:
        return v[:, :half] - v[:, half : 2 * half]

    def absolute(v: Tensor) -> Tensor:
        return v[:, :half] + v[:, half : 2 * half]

    def back(a: Tensor, rows: Tensor | None = None) -> Sequence[Tensor]:
        rest = a.new_zeros(*a.shape[:2], count - 2 * half, *a.shape[3:])
        return [torch.cat([a, -a, rest], dim=2)]

    def along(t: Tensor) -> Tensor:
        return t[:, :, :half] - t[:, :, half : 2 * half]

    return Affine((at,), run, absolute, back, along, alike=True)


def _larger_half(at: int, excess: int, half: int) -> Larger:
    """Return the second half of k elements with an excess, beside those left over."""

    def run(v: Tensor, w: Tensor) -> Tensor:
        return torch.cat([v[:, half : 2 * half] + w, v[:, 2 * half :]], dim=1)

    def back(a: Tensor, rows: Tensor | None = None) -> Sequence[Tensor]:
        none = a.new_zeros(*a.shape[:2], half, *a.shape[3:])
        return [torch.cat([none, a], dim=2), a[:, :, :half]]

    def along(t: Tensor, w: Tensor) -> Tensor:
        rest = t[:, :, 2 * half :]
        rest = rest.expand(-1, max(t.shape[1], w.shape[1]), *rest.shape[2:])
        return torch.cat([t[:, :, half : 2 * half] + w, rest], dim=2)

    return Larger((at, excess), run, run, back, along, alike=True, half=half)


def _larger(tape: Tape, a: int, b: int, what: str, sign: float) -> int:
    """Append b + relu(a − b), or for the sign −1 the smaller, b − relu(b − a)."""
    gap = added(tape, [a, b], [sign, -sign], what)
    return added(tape, [b, tape.bend(gap, functions.RELU)], [1.0, sign], what)


def _above(tape: Tape, at: int, number: Tensor, what: str, sign: float) -> int:
    """Append c + relu(v − c) of constants c, or for the sign −1 c − relu(c − v)."""
    factor = tape.x.new_tensor(sign)
    gap = scaled(tape, at, factor, -sign * number, what)
    return scaled(tape, tape.bend(gap, functions.RELU), factor, number, what)


def _places(call: Call, event: tuple[int, ...]) -> Tensor:
    """Return the elements in each window [*out, k], none of them padding."""
    attributes = call.step.node.attributes
    kernel = tuple(attributes["kernel_shape"])
    place = windows(
        event[1:],
        kernel,
        attributes.get("strides"),
        attributes.get("dilations"),
        attributes.get("pads"),
        attributes.get("auto_pad", "NOTSET"),
        int(attributes.get("ceil_mode", 0)),
    )
    cells = torch.arange(torch.Size(event).numel(), device=call.tape.x.device)
    padded = place.pad(cells.double().reshape(1, *event), -1.0)
    found = place.views(padded)[0].flatten(-len(kernel)).to(torch.int64)
    return torch.where(found < 0, found.amax(-1, keepdim=True), found)
