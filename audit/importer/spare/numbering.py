"""Every number of a program by name: equal names hold equal numbers.

A value [rows, …] is followed number by number, for one row that stands for all. A
number's name is made of its operator and of the names of what it is computed from, so
that what is computed twice of the same has one name (value numbering). A product with a
constant matrix has in its name only what meets a weight that is not zero: a masked
network computes a hidden unit of the coordinates that feed it, and of no others. So
the passes of an autoregressive inverse, θ ← T⁻¹(z; θ), share all names but those of
the coordinate that a pass settles.

Movements (Reshape, Split, Concat, …) make no names: they are run on the names.

Where 0 · ∞ would be a NaN in the file, the weight 0 takes no part here.

Source: Alpern, Wegman & Zadeck, Detecting equality of variables in programs, POPL 1988.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.importer.spare.seen import MORE, NotSpared

Names = NDArray[np.int64]
_ROWS = 8  # codes of one name: 0 where it has no row, else 1 + the row


@dataclass(frozen=True)
class Named:
    """A value by names.

    Args:
        names: its shape, with one in place of the rows.
        axis: of the rows; None where it has none.
        dtype: its type.
    """

    names: Names
    axis: int | None
    dtype: torch.dtype

    @property
    def from_right(self) -> int:
        """The axis of the rows, counted from the last (−1)."""
        assert self.axis is not None
        return self.axis - self.names.ndim


@dataclass
class Table:
    """Names given so far; they start at one."""

    known: dict[Hashable, int] = field(default_factory=dict)
    constants: dict[int, tuple[torch.dtype, float | int | bool]] = field(
        default_factory=dict
    )
    marks: bytearray = field(default_factory=lambda: bytearray(1))
    """By name: one for a constant."""

    def name(self, key: Hashable) -> int:
        """Return the name of what has this key."""
        found = self.known.setdefault(key, len(self.known) + 1)
        if found == len(self.marks):
            self.marks.append(0)
        return found

    def constant(self, dtype: torch.dtype, value: float | int | bool) -> int:
        """Return the name of a constant number."""
        bits = np.float64(value).tobytes() if dtype.is_floating_point else int(value)
        found = self.name(("constant", dtype, bits))
        self.constants[found] = (dtype, value)
        self.marks[found] = 1
        return found

    def are_constant(self, names: Names) -> NDArray[np.bool_]:
        """Return which names are those of constants."""
        found: NDArray[np.bool_] = np.frombuffer(bytes(self.marks), bool)[names]
        return found

    def of_tensor(self, value: Tensor, axis: int | None) -> Named:
        """Return a constant tensor by names.

        Raises:
            NotSpared: its rows are not alike, or it holds no plain numbers.
        """
        if value.is_complex():
            raise NotSpared("complex numbers are not followed")
        if axis is not None:
            first = value.narrow(axis, 0, 1)
            if not torch.equal(first.expand_as(value), value):
                raise NotSpared("a constant has rows that differ")
            value = first
        numbers = value.detach().cpu().reshape(-1).tolist()
        names = [self.constant(value.dtype, number) for number in numbers]
        shaped = np.array(names, np.int64).reshape(tuple(value.shape))
        return Named(shaped, axis, value.dtype)

    def coded(self, value: Named) -> Tensor:
        """Return codes of the names of `MORE` rows, to be moved."""
        names, axis = value.names, value.axis
        if axis is None:
            return torch.from_numpy(names * _ROWS)
        fixed = self.are_constant(names)
        rows = [
            np.where(fixed, names * _ROWS, names * _ROWS + 1 + r) for r in range(MORE)
        ]
        return torch.from_numpy(np.concatenate(rows, axis=axis))

    def decoded(self, codes: Tensor, axis: int | None, dtype: torch.dtype) -> Named:
        """Return names after a movement.

        Raises:
            NotSpared: a row holds what belongs to another.
        """
        found = codes.numpy()
        names, rows = found // _ROWS, found % _ROWS
        zero = self.constant(dtype, 0)
        names = np.where(found == 0, zero, names)  # what a Pad puts there
        if axis is None:
            if rows.any():
                raise NotSpared("a value without rows holds what belongs to one")
            return Named(names, None, dtype)
        names = np.moveaxis(names, axis, 0)
        rows = np.moveaxis(rows, axis, 0)
        own = np.arange(1, MORE + 1).reshape(-1, *(1,) * (names.ndim - 1))
        if not ((names == names[:1]).all() and ((rows == own) | (rows == 0)).all()):
            raise NotSpared("a row holds what belongs to another")
        if not ((rows == 0) == self.are_constant(names)).all():
            raise NotSpared("a row holds what belongs to another")
        return Named(np.moveaxis(names[:1], 0, axis), axis, dtype)


def elementwise(table: Table, key: Hashable, operands: Sequence[Names]) -> Names:
    """Return the names of an operator applied number by number, with broadcasting."""
    wide = np.broadcast_arrays(*operands)
    columns = [part.reshape(-1).tolist() for part in wide]
    found = [table.name((key, *names)) for names in zip(*columns, strict=True)]
    return np.array(found, np.int64).reshape(wide[0].shape)


def along(
    table: Table, key: Hashable, names: Names, axes: Sequence[int], reduces: bool
) -> Names:
    """Return the names of an operator over axes: one for all, or one for each place."""
    last = np.moveaxis(names, axes, range(-len(axes), 0))
    shape, before = last.shape, last.shape[: last.ndim - len(axes)]
    rows = [
        tuple(row)
        for row in last.reshape(*before, -1)
        .reshape(int(np.prod(before, dtype=int)), -1)
        .tolist()
    ]
    if reduces:
        made = [table.name((key, row)) for row in rows]
        kept = np.array(made, np.int64).reshape(*before, *(1,) * len(axes))
    else:
        groups = [table.name(("row", row)) for row in rows]
        size = len(rows[0]) if rows else 0
        made = [table.name((key, g, place)) for g in groups for place in range(size)]
        kept = np.array(made, np.int64).reshape(shape)
    return np.moveaxis(kept, range(-len(axes), 0), axes)
