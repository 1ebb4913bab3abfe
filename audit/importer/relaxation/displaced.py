"""Values of a graph whose rows are not on its first axis: [T, B, d], or [T, B h, d].

A tape has rows first. What such a value is made of is there in its own order, and the
value itself is known as copies of that, until an operator puts rows first again. What
acts on the last axis alone, or number by number, is written on vectors [B, M, d] of
each row, M to a row, and its value is where the vectors were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from audit.importer.relaxation.ball import flattened
from audit.importer.relaxation.copies import copied, picked
from audit.importer.relaxation.rules import (
    Call,
    Displaced,
    Made,
    Moving,
    Operand,
    Rule,
)
from audit.importer.relaxation.tape import Tape, refusal

Run = Callable[[Tensor], Tensor]
COPIES = frozenset(
    ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather")
)
_VECTORS = frozenset(
    (
        *("MatMul", "Gemm", "Add", "Sub", "Mul", "Div", "Neg", "Identity", "Dropout"),
        *("LayerNormalization", "RMSNormalization", "Relu", "Gelu", "Tanh", "Sigmoid"),
    )
)


_SEQUENCES = frozenset(("RNN", "GRU", "LSTM"))
"""Operators whose own rules know where the rows are."""


def placed(tape: Tape, at: int, run: Run, what: str) -> Operand:
    """Append copies of a value, if they have rows first; else keep how they are made.

    Args:
        tape: it grows by one entry, or none.
        at: the value.
        run: it [B, *in] -> its elements elsewhere, whatever their axes.
        what: the operator's name.
    """
    found = Displaced(at, run, what)
    return Moving(copied(tape, [at], run, what)) if _in_rows(tape, found) else found


def followed(rule: Rule, call: Call) -> Made:
    """Write an operator that reads displaced values.

    Raises:
        NoCertificate: it is neither a copy nor of vectors.
    """
    tape, first = call.tape, call.arguments[0]
    if call.op in _SEQUENCES:
        return rule(call)
    if call.op in COPIES and isinstance(first, Displaced):
        step, rest = call.step, call.arguments[1:]

        def run(v: Tensor) -> Tensor:
            found = step.run(first.run(v), *rest)
            assert isinstance(found, Tensor)
            return found

        return placed(tape, first.at, run, call.op)
    given = [a for a in call.arguments if isinstance(a, Displaced)]
    lead = _numbers(tape, given[0]).shape[:-1]
    _check_vectors(call, len(lead) + 1)
    order = _order(tape, given[0])
    if any(not torch.equal(_order(tape, other), order) for other in given[1:]):
        raise call.refused("of values whose rows are not the same")
    inner = iter([Moving(_vectors(tape, value, order)) for value in given])
    arguments = tuple(
        next(inner) if isinstance(a, Displaced) else a for a in call.arguments
    )
    found = rule(replace(call, arguments=arguments))
    if not isinstance(found, Moving):
        raise call.refused("of values whose rows are not first")
    back = torch.argsort(order)

    def moved(v: Tensor) -> Tensor:
        return v.flatten(0, 1)[back].reshape(*lead, v.shape[-1])

    return placed(tape, found.at, moved, call.op)


def _check_vectors(call: Call, axes: int) -> None:
    """Raise where an operator does more than to treat vectors alike."""
    normed = call.op.endswith("Normalization")
    if call.op not in _VECTORS or (normed and call.attribute("axis", -1) != -1):
        raise call.refused("of values whose rows are not first")
    for place, argument in enumerate(call.arguments):
        if isinstance(argument, Moving):
            raise call.refused("of values whose rows are not the same")
        matrix = place == 1 and call.op in ("MatMul", "Gemm")
        value = None if isinstance(argument, Displaced) else call.wide(place)
        if value is None or matrix:
            continue
        if value.numel() != value.shape[-1:].numel() or value.dim() > axes:
            raise call.refused("with a constant for each of the rows")


def _numbers(tape: Tape, value: Displaced) -> Tensor:
    """Return b n + the number of an element of row b in place of each element."""
    own = tape.values[value.at]
    numbers = torch.arange(own.numel(), dtype=torch.float64, device=own.device)
    return value.run(numbers.reshape(own.shape)).to(torch.int64)


def _in_rows(tape: Tape, value: Displaced) -> bool:
    """Tell whether row b of a value has elements of row b alone, the same of each."""
    numbers, total = _numbers(tape, value), tape.values[value.at][0].numel()
    if numbers.shape[:1] != (tape.rows,):
        return False
    own = (
        flattened(numbers, 1)
        - total * torch.arange(tape.rows, device=numbers.device)[:, None]
    )
    return bool(((own >= 0) & (own < total) & (own == own[:1])).all())


def _order(tape: Tape, value: Displaced) -> Tensor:
    """Return which vectors belong to the first row, to the second, and so on [B M]."""
    total = tape.values[value.at][0].numel()
    rows = _numbers(tape, value).flatten(0, -2) // total
    order = torch.argsort(rows[:, 0], stable=True)
    each = torch.arange(tape.rows, device=rows.device)
    even = len(rows) % tape.rows == 0
    if even:
        each = each.repeat_interleave(len(rows) // tape.rows)
    if not even or not bool((rows[order] == each[:, None]).all()):
        raise refusal("a vector of elements of several rows")
    return order


def rows_of_vectors(tape: Tape, value: Displaced) -> int:
    """Append the vectors of a value, row by row [B, M, d], in the order they have.

    Raises:
        NoCertificate: a vector is of several rows, or rows are not made alike.
    """
    return _vectors(tape, value, _order(tape, value))


def _vectors(tape: Tape, value: Displaced, order: Tensor) -> int:
    """Append the vectors of a value, row by row [B, M, d]."""
    numbers, total = _numbers(tape, value), tape.values[value.at][0].numel()
    of_rows = numbers.flatten(0, -2)[order] % total
    of_rows = of_rows.reshape(tape.rows, -1, numbers.shape[-1])
    if not bool((of_rows == of_rows[:1]).all()):
        raise refusal("rows that are not made alike")
    return picked(tape, value.at, of_rows[0], "an order")
