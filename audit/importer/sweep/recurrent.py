"""RNN, GRU and LSTM: one walk back through time for all rows of all inputs.

The forward run keeps of each step what depends on the input alone; backwards each step
is one product [n r, G] × [G, H] and a few products of numbers. Cotangents of a few
steps of Y, of the last one mostly, come as `Some`: no zeros are stored for the others.
Sequences of several lengths, other activations, clips, peepholes and coupled gates go
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.importer.ops.cells import Weights, weights_of
from audit.importer.products import linear, plain_times_into
from audit.importer.sweep.cells import Cell, Gated, Long, Plain, Reset, State
from audit.importer.sweep.pushed import Tangents
from audit.importer.sweep.rows import Dense, Piece, Some, dense
from audit.importer.sweep.rules import Kept, NotSwept, Place, Rule, Site, rule
from audit.importer.values import Value

_USUAL = {
    "RNN": ["tanh"],
    "GRU": ["sigmoid", "tanh"],
    "LSTM": ["sigmoid", "tanh", "tanh"],
}
_LENGTHS, _HIDDEN, _PEEPHOLES = 4, 5, 7  # positions of inputs


@rule("RNN", "GRU", "LSTM")
def recurrent(site: Site) -> Rule | None:
    """Return the rule of a recurrence of the usual form over X alone."""
    if set(site.active) != {0} or not all(site.fixed[1:4]):
        return None
    places = (site.active[0], *site.outputs.values())
    if any(place.joined is not None for place in places):
        return None
    given = dict(enumerate(site.arguments))
    unusual = any(given.get(k) is not None for k in (_LENGTHS, _PEEPHOLES))
    if unusual or site.attribute("clip", None) or site.attribute("input_forget", 0):
        return None
    direction = _text(site.attribute("direction", "forward"))
    count = 2 if direction == "bidirectional" else 1
    names = site.attribute("activations", None) or _USUAL[site.op] * count
    assert isinstance(names, list)
    if [_text(name).lower() for name in names] != _USUAL[site.op] * count:
        return None
    backwards = [direction == "reverse"] if count == 1 else [False, True]
    return Recurrent(site, backwards)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True)
class Direction:
    """One direction: its weights, its step, and whether time runs backwards."""

    weights: Weights
    cell: Cell
    backwards: bool

    def order(self, steps: int) -> Sequence[int]:
        """Return the steps in the order in which they are taken."""
        return range(steps)[::-1] if self.backwards else range(steps)


class Recurrent:
    """A recurrence.

    Args:
        site: where it is.
        backwards: for each direction, whether time runs backwards.
    """

    def __init__(self, site: Site, backwards: Sequence[bool]) -> None:
        self._op = site.op
        self._layout = bool(site.attribute("layout", 0))
        self._place: Place = site.active[0]
        self._outputs = dict(site.outputs)
        self._before = bool(site.attribute("linear_before_reset", 0))
        self._directions = [
            self._direction(site, d, back) for d, back in enumerate(backwards)
        ]

    def _direction(self, site: Site, d: int, backwards: bool) -> Direction:
        given = (*site.arguments, None)
        w, r, b = given[1], given[2], given[3]
        assert isinstance(w, Tensor)
        assert isinstance(r, Tensor)
        assert b is None or isinstance(b, Tensor)
        own = weights_of(w, r, b, None, d, r.shape[-1] if self._op == "GRU" else None)
        made: dict[str, Callable[[], Cell]] = {
            "RNN": lambda: Plain(own.r),
            "GRU": lambda: (Gated if self._before else Reset)(
                own.r, own.rb[2 * own.r.shape[1] :]
            ),
            "LSTM": lambda: Long(own.r),
        }
        return Direction(own, made[self._op](), backwards)

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return Y, Y_h and Y_c, and what each step keeps [n, T, …]."""
        x = arguments[0]
        assert isinstance(x, Tensor)
        steps = x.transpose(0, 1) if self._layout else x
        ys, finals, kept = [], [], []
        for d, direction in enumerate(self._directions):
            first = self._first(arguments, d, steps)
            y, last, own = _walk(direction, steps, first)
            ys.append(y)
            finals.append(last)
            kept += own
        y = torch.stack(ys, 1)  # [T, D, n, H]
        last = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
        if self._layout:
            y = y.permute(2, 0, 1, 3)
            last = tuple(part.transpose(0, 1) for part in last)
        return (y, *last), tuple(kept)

    def _first(self, arguments: Sequence[Value], d: int, steps: Tensor) -> State:
        size = self._directions[d].weights.r.shape[-1]
        states = []
        for k in range(2 if self._op == "LSTM" else 1):
            given = arguments[_HIDDEN + k] if len(arguments) > _HIDDEN + k else None
            if isinstance(given, Tensor):
                states.append(given[:, d] if self._layout else given[d])
            else:
                states.append(steps.new_zeros(steps.shape[1], size))
        return tuple(states)

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Walk back through time."""
        there = {
            position: piece
            for position, piece in zip(self._outputs, given, strict=True)
            if piece is not None
        }
        n = len(kept[0])
        start = min(piece.start for piece in there.values())
        stop = max(piece.stop for piece in there.values())
        steps, features = self._sizes()
        like, rows = kept[0], n * (stop - start)
        out = like.new_zeros(steps, rows, features)
        each = len(kept) // len(self._directions)
        for d, direction in enumerate(self._directions):
            asked = _Asked(self._outputs, there, d, (start, stop, n), direction)
            own = like.new_zeros(out.shape) if d else out
            _back(direction, kept[d * each : (d + 1) * each], asked, own)
            if d:
                out += own
        g = out.reshape(steps, n, -1, features).permute(1, 2, 0, 3)
        return [[Dense(start, g, owned=True)]]

    def push(self, kept: Kept, given: Tangents) -> list[Tensor]:
        """Refuse: the walk back writes into buffers, and has no transpose recorded.

        Raises:
            NotSwept: always; autograd has products of it.
        """
        raise NotSwept("a recurrence is pulled back, and not pushed forward")

    def _sizes(self) -> tuple[int, int]:
        steps, features = self._place.shape
        return steps, features

    @property
    def width(self) -> int:
        """The numbers of a row that are at hand at once: gates, and those of X."""
        steps, features = self._sizes()
        return max(len(self._directions[0].weights.r), steps * features)


def _walk(
    direction: Direction, x: Tensor, state: State
) -> tuple[Tensor, State, list[Tensor]]:
    """Return y [T, n, H], the last state, and what the steps keep, each [n, T, …]."""
    weights = direction.weights
    gates = linear(x, weights.w, weights.b)
    outputs: list[Tensor] = [gates] * len(x)
    kept: list[tuple[Tensor, ...]] = [()] * len(x)
    for t in direction.order(len(x)):
        state, kept[t] = direction.cell.step(gates[t], state)
        outputs[t] = state[0]
    stacked = [torch.stack(parts).transpose(0, 1) for parts in zip(*kept, strict=True)]
    return torch.stack(outputs), state, stacked


class _Asked:
    """The cotangents of one direction's results, by step."""

    def __init__(
        self,
        outputs: dict[int, Place],
        there: dict[int, Piece],
        d: int,
        size: tuple[int, int, int],
        direction: Direction,
    ) -> None:
        self._d, (self._start, self._stop, self._n) = d, size
        self._hidden = direction.weights.r.shape[-1]
        self._final = {
            k: dense(there[k], outputs[k].shape) for k in (1, 2) if k in there
        }
        self._y = there.get(0)
        self._shape = outputs[0].shape if 0 in outputs else ()
        self._at: dict[int, Tensor] = {}
        self._steps: set[int] | None = None
        if isinstance(self._y, Some):
            self._cut(self._y)
        elif self._y is not None:
            self._y = dense(self._y, self._shape)

    def _cut(self, y: Some) -> None:
        """Put the numbers of a few steps where they belong: Y is [T, D, H] a row."""
        width, size = self._shape[1] * self._hidden, self._hidden
        times = y.index // width
        mine = (y.index % width) // size == self._d
        self._steps = set(times[mine].tolist())
        for t in self._steps:
            own = (mine & (times == t)).nonzero().squeeze(1)
            g = y.g.new_zeros(*y.g.shape[:2], size)
            g.index_add_(2, y.index[own] % size, y.g.index_select(2, own))
            self._at[t] = g

    def add_final(self, state: list[Tensor]) -> bool:
        """Add the cotangents of the last state; tell whether there are any."""
        for k, piece in self._final.items():
            self._rows(state[k - 1], piece)[...] += piece.g[:, :, self._d]
        return bool(self._final)

    def add(self, t: int, h: Tensor) -> bool:
        """Add the cotangents of a step of Y; tell whether there are any."""
        if self._y is None or (self._steps is not None and t not in self._steps):
            return False
        g = self._at[t] if t in self._at else self._dense(t)
        self._rows(h, self._y)[...] += g
        return True

    def _dense(self, t: int) -> Tensor:
        assert isinstance(self._y, Dense)
        return self._y.g[:, :, t, self._d]

    def _rows(self, state: Tensor, piece: Piece) -> Tensor:
        return state[:, piece.start - self._start : piece.stop - self._start]

    def zero(self, like: Tensor, tensors: int) -> list[Tensor]:
        """Return a state of zeros."""
        size = (self._n, self._stop - self._start, self._hidden)
        return [like.new_zeros(size) for _ in range(tensors)]


def _back(
    direction: Direction, kept: Sequence[Tensor], asked: _Asked, out: Tensor
) -> None:
    """Walk one direction back, and write the cotangents of X [T, n r, I].

    They are zero where nothing has moved yet.
    """
    weight = direction.weights.w
    state = asked.zero(kept[0], 2 if isinstance(direction.cell, Long) else 1)
    moved = asked.add_final(state)
    for t in direction.order(len(out))[::-1]:
        moved = asked.add(t, state[0]) or moved
        if not moved:
            continue
        own = tuple(k[:, t] for k in kept)
        gates, before = direction.cell.back(own, tuple(state))
        plain_times_into(out[t], gates.reshape(-1, gates.shape[2]), weight)
        state = list(before)
