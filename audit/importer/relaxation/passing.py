"""How functionals pass the curves of a tape, and what each entry adds to their level.

A value that only curves read is passed in one go with them: its bias and its rounding
are theirs, since the coefficients that reach it are s a, with |s| known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from typing import NamedTuple

import torch
from torch import Tensor

from audit.importer.relaxation.spans import Spans
from audit.importer.relaxation.tape import Affine, Bend, Tape, read_by

Passed = tuple[Tensor, Tensor]  # slopes and levels of functionals


class Pair(NamedTuple):
    """Two lines by what they share and by what parts them, each [B, *shape].

    For a coefficient a the line is that above where a > 0, that below where a < 0: its
    slope is a · slope + |a| · turn and its level a · level + |a| · gap.
    """

    slope: Tensor
    turn: Tensor
    level: Tensor
    gap: Tensor


def read_by_curves_alone(tape: Tape) -> set[int]:
    """Return the affine entries whose level their readers add, with their own."""
    others = {i for e in tape.entries if not isinstance(e, Bend) for i in read_by(e)}
    read = {e.input for e in tape.entries if isinstance(e, Bend)}
    return {i for i in read - others if isinstance(tape.entries[i], Affine)}


def exact_copies(tape: Tape, alive: Set[int]) -> set[int]:
    """Return the entries that carry functionals back by copies alone.

    Nothing else that is alive reads what they copy: no sums are made of theirs.
    """
    times = Counter(i for index in alive for i in read_by(tape.entries[index]))
    return {
        index
        for index, entry in enumerate(tape.entries)
        if isinstance(entry, Affine)
        and entry.once
        and all(times[i] == 1 for i in entry.inputs)
    }


def paired(
    tape: Tape, index: int, paid: Set[int], spans: Spans, reader: int | None
) -> Pair:
    """Return how a curve is passed, with what its input adds where it pays that.

    Args:
        tape: the function.
        index: of the curve.
        paid: the entries whose readers add what they would.
        spans: with the lines around it, and what is rounded.
        reader: the maximum that is made with the curve and passed in one go with it.
    """
    entry, lines = tape.entries[index], spans.lines(index)
    assert isinstance(entry, Bend)
    slope, turn = (lines.above + lines.below) / 2, (lines.above - lines.below) / 2
    level = (lines.above_level + lines.below_level) / 2
    gap = (lines.above_level - lines.below_level) / 2 + spans.rounding(index)
    source = tape.entries[entry.input]
    if entry.input in paid and isinstance(source, Affine):
        steepest = torch.maximum(lines.above.abs(), lines.below.abs())
        gap = gap + steepest * spans.rounding(entry.input)
        if source.bias is not None:
            level, gap = level + slope * source.bias, gap + turn * source.bias
    if reader is not None:
        gap = gap + spans.rounding(reader)[:, : gap.shape[1]]
    return Pair(slope, turn, level, gap)
