"""Rules of RNN, GRU and LSTM: their cells written out, step by step.

A sequence is [T, B, d] and its rows are on the second axis: its vectors are taken row
by row, [B, T, d], and what comes out is put where the standard has it. Gates are
stacked as the standard stacks them (LSTM: input, output, forget, cell; GRU: update,
reset, hidden), and a state is

    RNN    h' = tanh(W x + R h + b)
    GRU    h' = n + z (h − n),   n = tanh(W x + b + r (R h + b'))
    LSTM   c' = f c + i g,       h' = o tanh(c')

with sigmoid gates, whose products are `joint` surfaces. Where `linear_before_reset` is
0, n = tanh(W x + b + R (r h) + b').
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.importer.relaxation import functions
from audit.importer.relaxation.affine import added, product, scaled
from audit.importer.relaxation.copies import copied
from audit.importer.relaxation.displaced import placed, rows_of_vectors
from audit.importer.relaxation.joint import Joint
from audit.importer.relaxation.rules import Call, Displaced, Made, Moving, Operand, rule
from audit.importer.relaxation.tape import Tape

_USUAL = {
    "RNN": ["Tanh"],
    "GRU": ["Sigmoid", "Tanh"],
    "LSTM": ["Sigmoid", "Tanh", "Tanh"],
}
_OTHERS = ("clip", "activation_alpha", "activation_beta", "input_forget")
_STEPS = 64  # of a sequence: a bound takes a time that grows as their square
State = tuple[int, ...]
Cell = Callable[["Direction", int, State], State]


@dataclass(frozen=True)
class Direction:
    """One direction of a recurrent operator on a tape.

    Args:
        tape: it grows. what: the operator's name.
        across: Rᵀ [H, G H]. shift: its bias [G H].
        early: whether a GRU resets what the state was multiplied to.
    """

    tape: Tape
    what: str
    across: Tensor
    shift: Tensor
    early: bool

    def part(self, at: int, first: int, last: int) -> int:
        """Append some gates of a value [B, G H], by their numbers."""
        size = len(self.across)
        run = _sliced(slice(first * size, last * size))
        return copied(self.tape, [at], run, self.what)

    def times(self, state: int, first: int, last: int) -> int:
        """Append R h + b of some gates."""
        size = len(self.across)
        gates = slice(first * size, last * size)
        matrix, shift = self.across[:, gates], self.shift[gates]
        return product(self.tape, state, matrix, shift, self.what)

    def sum(self, left: int, right: int, sign: float = 1.0) -> int:
        """Append a + b, or a − b."""
        return added(self.tape, [left, right], [1.0, sign], self.what)

    def both(self, left: int, right: int) -> int:
        """Append a b."""
        return self.tape.surface(Joint((left, right), ("h", "h", "h")), self.what)

    def tanh(self, at: int) -> int:
        """Append tanh v."""
        return self.tape.bend(at, functions.TANH)

    def gate(self, at: int) -> int:
        """Append σ(v)."""
        return self.tape.bend(at, functions.SIGMOID)


def _rnn(own: Direction, now: int, state: State) -> State:
    return (own.tanh(own.sum(now, own.times(state[0], 0, 1))),)


def _gru(own: Direction, now: int, state: State) -> State:
    (h,) = state
    two = own.gate(own.sum(own.part(now, 0, 2), own.times(h, 0, 2)))
    update, reset = own.part(two, 0, 1), own.part(two, 1, 2)
    if own.early:
        inner = own.both(reset, own.times(h, 2, 3))
    else:
        inner = own.times(own.both(reset, h), 2, 3)
    new = own.tanh(own.sum(own.part(now, 2, 3), inner))
    return (own.sum(new, own.both(update, own.sum(h, new, -1.0))),)


def _lstm(own: Direction, now: int, state: State) -> State:
    h, c = state
    total = own.sum(now, own.times(h, 0, 4))
    three, new = own.gate(own.part(total, 0, 3)), own.tanh(own.part(total, 3, 4))
    i, o, forget = (own.part(three, k, k + 1) for k in range(3))
    c = own.sum(own.both(forget, c), own.both(i, new))
    return own.both(o, own.tanh(c)), c


_INITIAL = {"RNN": (5,), "GRU": (5,), "LSTM": (5, 6)}
_CELLS: dict[str, Cell] = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}


@rule("RNN", "GRU", "LSTM")
def recurrent(call: Call) -> Made:
    """Every step of each direction."""
    _check_usual(call)
    rows_first = bool(call.attribute("layout", 0))
    at = _sequence(call, rows_first)
    if call.tape.values[at].shape[1] > _STEPS:
        raise call.refused(f"over more than {_STEPS} steps")
    steps, finals = zip(
        *(_run(call, at, *one) for one in enumerate(_directions(call))), strict=True
    )
    whole = [state for states in zip(*steps, strict=True) for state in states]
    lasts = [_joined(call, part) for part in zip(*finals, strict=True)]
    out, last = (0, 1, 2, 3), (0, 1, 2)
    if not rows_first:
        out, last = (1, 2, 0, 3), (1, 0, 2)
    found = [(_joined(call, whole, len(steps[0])), out), *((k, last) for k in lasts)]
    return tuple(_turned(call, at, order) for at, order in found)


def _run(call: Call, at: int, d: int, backward: bool) -> tuple[list[int], State]:
    """Append the steps of one direction; return h of all steps, and the last state."""
    own, gates = _direction(call, at, d)
    state = tuple(_initial(call, own, gates, d, k) for k in _INITIAL[call.op])
    count = call.tape.values[at].shape[1]
    found = [0] * count
    for t in reversed(range(count)) if backward else range(count):
        now = copied(call.tape, [gates], _step(t), call.op)
        state = _CELLS[call.op](own, now, state)
        found[t] = state[0]
    return found, state


def _check_usual(call: Call) -> None:
    """Raise where a cell is not the usual one."""
    names = call.attribute("activations")
    usual = _USUAL[call.op] * len(_directions(call))
    listed = [n.decode() if isinstance(n, bytes) else n for n in names or usual]  # type: ignore[attr-defined]
    if [n.capitalize() for n in listed] != usual or any(map(call.attribute, _OTHERS)):
        raise call.refused("with another cell than the usual one")
    for place, argument in enumerate(call.arguments[1:], 1):
        if isinstance(argument, Moving | Displaced):
            raise call.refused(f"with an operand {place + 1} that moves")
    if call.constant(4) is not None or call.constant(7) is not None:
        raise call.refused("with lengths of its sequences, or with peepholes")


def _directions(call: Call) -> list[bool]:
    """Return for each direction whether it goes backward."""
    given = call.attribute("direction", "forward")
    name = given.decode() if isinstance(given, bytes) else str(given)
    return [False, True] if name == "bidirectional" else [name == "reverse"]


def _sequence(call: Call, rows_first: bool) -> int:
    """Return the place of the input as [B, T, d]."""
    (value,) = call.arguments[:1]
    if isinstance(value, Displaced) and not rows_first:
        return rows_of_vectors(call.tape, value)
    if not isinstance(value, Moving) or not rows_first:
        raise call.refused("of values whose rows are not its own")
    return value.at


def _direction(call: Call, at: int, d: int) -> tuple[Direction, int]:
    """Return a direction, and the place of W x + b of all its steps [B, T, G H]."""
    weights, across, bias = (call.wide(k) for k in (1, 2, 3))
    assert weights is not None
    assert across is not None
    size = weights.shape[1]
    own = across.new_zeros(2 * size) if bias is None else bias[d]
    early = bool(call.attribute("linear_before_reset", 0))
    gates = product(call.tape, at, weights[d].mT, own[:size], call.op)
    return Direction(call.tape, call.op, across[d].mT, own[size:], early), gates


def _initial(call: Call, own: Direction, gates: int, d: int, place: int) -> int:
    """Return a state that does not move [B, H], zero if none is given."""
    given = call.wide(place)
    start = own.across.new_zeros(1, len(own.across))
    if given is not None:
        start = given[:, d] if call.attribute("layout", 0) else given[d]
    like = own.part(copied(call.tape, [gates], _step(0), call.op), 0, 1)
    return scaled(call.tape, like, start.new_zeros(()), start, call.op)


def _joined(call: Call, states: Sequence[int], *lead: int) -> int:
    """Append states side by side [B, D, H], or [B, T, D, H] with T in front."""

    def run(*values: Tensor) -> Tensor:
        found = torch.stack(values, dim=1)
        return found.reshape(len(found), *lead, -1, found.shape[-1])

    return copied(call.tape, states, run, call.op)


def _turned(call: Call, at: int, order: tuple[int, ...]) -> Operand:
    return placed(call.tape, at, lambda v: v.permute(order), call.op)


def _sliced(part: slice) -> Callable[[Tensor], Tensor]:
    return lambda v: v[:, part]


def _step(t: int) -> Callable[[Tensor], Tensor]:
    return lambda v: v[:, t]
