"""A step of a program: what its numbers are called, and how a part of them is made.

Part of a result is a set of lanes: places along one axis that is not the rows' nor one
that the operator runs along. Lanes of a result need the same lanes of the operands
(those of one number serve all), a column of a product the numbers that meet a weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.importer.plan import Step
from audit.importer.products import straight
from audit.importer.spare.numbering import Named, Names
from audit.importer.values import Value

Lanes = tuple[int, NDArray[np.intp]]
"""An axis, counted from the last (−1), and places along it."""


@dataclass(frozen=True)
class Want:
    """An operand by names.

    Args:
        value: its names.
        whole: whether repeated numbers have to be there (not to be broadcast).
    """

    value: Named
    whole: bool = True


@dataclass(frozen=True)
class Work:
    """A step that computes.

    Args:
        step: of the plan.
        result: its names.
        operands: position -> the operand; the others are as they were seen.
        fixed: all arguments as they were seen, those of `operands` not used.
        closed: axes, from the last, along which no part can be taken.
        broadcasts: whether operands may be smaller than the result.
        dropped: axes that the operator leaves out of its result, which `result` has.
    """

    step: Step
    result: Named
    operands: dict[int, Named]
    fixed: tuple[Value, ...]
    closed: frozenset[int] = frozenset()
    broadcasts: bool = False
    dropped: tuple[int, ...] = ()

    def lanes(self, needed: NDArray[np.bool_]) -> Lanes | None:
        """Return the fewest lanes that hold what is needed; None for all of it."""
        best, share = None, 1.0
        for axis in range(-needed.ndim, 0):
            if axis in self.closed or axis == self._rows or needed.shape[axis] < 2:
                continue
            others = tuple(k for k in range(needed.ndim) if k != axis % needed.ndim)
            held = needed.any(axis=others)
            if held.mean() < share:
                best, share = (axis, np.flatnonzero(held)), float(held.mean())
        return best

    @property
    def _rows(self) -> int | None:
        return None if self.result.axis is None else self.result.from_right

    def part(self, lanes: Lanes | None) -> Named:
        """Return the names of a part of the result."""
        return taken(self.result, lanes)

    def wants(self, lanes: Lanes | None) -> dict[int, Want]:
        """Return what a part is made of, by position."""
        return {
            position: Want(taken(operand, lanes), not self.broadcasts)
            for position, operand in self.operands.items()
        }

    def call(self, lanes: Lanes | None) -> Callable[..., Value]:
        """Return the operator as a function of its operands alone, in their order."""
        positions = tuple(self.operands)
        run = _bare(self.step.run, self.result.dtype)
        if positions != tuple(range(len(self.fixed))):
            run = partial(_filled, run, self.fixed, positions)
        return partial(_kept, run, self.dropped) if self.dropped else run


def _bare(run: Callable[..., Value], dtype: torch.dtype) -> Callable[..., Value]:
    """Return torch's own function for a few of floats, which need no looking at."""
    if dtype.is_floating_point and isinstance(run, partial) and len(run.args) == 1:
        known = {torch.add, torch.sub, torch.mul}
        if run.args[0] in known and run.keywords == {}:
            bare: Callable[..., Value] = run.args[0]
            return bare
    return run


def _filled(
    run: Callable[..., Value],
    fixed: tuple[Value, ...],
    positions: tuple[int, ...],
    *operands: Tensor,
) -> Value:
    arguments = list(fixed)
    for position, operand in zip(positions, operands, strict=True):
        arguments[position] = operand
    return run(*arguments)


def _kept(
    run: Callable[..., Value], dropped: tuple[int, ...], *operands: Tensor
) -> Value:
    result = run(*operands)
    assert isinstance(result, Tensor)
    for axis in dropped:
        result = result.unsqueeze(axis)
    return result


def taken(value: Named, lanes: Lanes | None) -> Named:
    """Return the lanes of an operand; of one that has a single one there, itself."""
    if lanes is None or -lanes[0] > value.names.ndim:
        return value
    axis, places = lanes
    if value.names.shape[axis] == 1:
        return value
    return replace(value, names=np.take(value.names, places, axis))


@dataclass(frozen=True)
class Product(Work):
    """X W + b [rows, columns].

    Args:
        weight: Wᵀ [columns, k]. bias: b [columns], None for zero.
    """

    weight: Tensor | None = None
    bias: Tensor | None = None

    def met(self, lanes: Lanes | None) -> NDArray[np.intp]:
        """Return the columns of X that meet a weight of these columns of the result."""
        weight = self._rows_of(lanes)
        return np.flatnonzero((weight != 0).any(dim=0).cpu().numpy())

    def wants(self, lanes: Lanes | None) -> dict[int, Want]:
        """Return the columns of X that are needed."""
        operand = self.operands[0]
        names = np.take(operand.names, self.met(lanes), -1)
        return {0: Want(replace(operand, names=names))}

    def ordered(self, lanes: Lanes | None, order: Names) -> Callable[..., Value]:
        """Return the product with X's needed columns in another order."""
        columns = self.met(lanes)[order]
        weight = self._rows_of(lanes)[:, columns].contiguous()
        bias = self.bias
        if bias is not None and lanes is not None:
            bias = bias[lanes[1]]
        return partial(_product, weight, bias)

    def _rows_of(self, lanes: Lanes | None) -> Tensor:
        assert self.weight is not None
        return self.weight if lanes is None else self.weight[lanes[1]]


def _product(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    return straight(x, weight, bias)
