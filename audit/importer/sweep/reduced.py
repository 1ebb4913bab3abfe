"""Reductions of a row, and elements picked by an index that changes.

y_j = f(x_i, i in group j): each element of x is in one group, so one autograd call on
the step gives all its partial derivatives, ∂y_j(i)/∂x_i = grad(Σ y, x)_i. Cotangents
are stretched over the groups and multiplied by them.

GatherElements with an index that is computed: cotangents are added where it points.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from audit.importer.ops.indexing import wrapped
from audit.importer.sweep.rows import Dense, Piece, dense
from audit.importer.sweep.rules import Kept, Place, Rule, Site, only_piece, rule
from audit.importer.sweep.stretched import lifted
from audit.importer.values import Value, axis_of, ints


@rule(
    *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1"),
    *("ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"),
)
def reduced(site: Site) -> Rule | None:
    """Return the rule of a reduction along axes of a row."""
    found = site.only()
    if found is None or found[0] != 0 or not site.others_fixed():
        return None
    place = found[1]
    given = site.arguments[1] if len(site.arguments) > 1 else None
    listed = site.attribute("axes", None) if given is None else ints(given)
    if not isinstance(listed, list) or not listed:
        return None
    axes = sorted(axis_of(int(axis), place.rank) for axis in listed)
    if place.axis in axes:
        return None
    if place.joined is not None and not site.attribute("keepdims", 1):
        return None
    return Reduced(site, [place.dim(axis) for axis in axes])


@rule("GatherElements")
def gathered(site: Site) -> Rule | None:
    """Return the rule of elements picked along an axis of a row."""
    found = site.only()
    if found is None or found[0] != 0:
        return None
    place, out = found[1], found[2]
    axis = axis_of(int(site.attribute("axis", 0)), place.rank)  # type: ignore[call-overload]
    index = site.arguments[1]
    same = isinstance(index, Tensor | np.ndarray) and index.ndim == place.rank
    if axis == place.axis or place.axis != out.axis or not same:
        return None
    if place.joined is not None or out.joined is not None:
        return None
    return Gathered(site, place.dim(axis))


class Reduced:
    """Groups of elements, each made one number.

    Args:
        site: where it is.
        axes: of cotangents [n, r, *row of x] that are reduced, ascending.
    """

    def __init__(self, site: Site, axes: Sequence[int]) -> None:
        self._run, self._axes = site.step.run, tuple(axes)
        ((_, self._place),) = site.active.items()
        self._out: Place = site.outputs[0]
        self._keeps = bool(site.attribute("keepdims", 1))

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return the value and its partial derivatives."""
        x, *rest = arguments
        assert isinstance(x, Tensor)
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            y = self._run(leaf, *rest)
            assert isinstance(y, Tensor)
            total = y.sum()
        (partial,) = torch.autograd.grad(total, leaf)
        return y.detach(), (lifted(partial, self._place),)

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Stretch and multiply."""
        piece, (partial,) = only_piece(given), kept
        g = dense(piece, self._out.shape).g
        if not self._keeps:
            for axis in self._axes:
                g = g.unsqueeze(axis)
        return [[Dense(piece.start, g * partial, owned=True)]]


class Gathered:
    """Elements picked along an axis.

    Args:
        site: where it is.
        axis: of cotangents [n, r, *row].
    """

    def __init__(self, site: Site, axis: int) -> None:
        self._run, self._axis = site.step.run, axis
        ((_, self._place),) = site.active.items()
        self._out: Place = site.outputs[0]
        self._native = axis_of(
            int(site.attribute("axis", 0)),  # type: ignore[call-overload]
            self._place.rank,
        )

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Return the value and the index."""
        x, index = arguments[:2]
        assert isinstance(x, Tensor)
        assert isinstance(index, Tensor | np.ndarray)
        where = wrapped(index, x.shape[self._native], x)
        return self._run(*arguments), (lifted(where, self._out),)

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Add cotangents where the index points."""
        piece, (index,) = only_piece(given), kept
        g = dense(piece, self._out.shape).g
        n = max(len(g), len(index))
        g = g.expand(n, *g.shape[1:])
        back = g.new_zeros(n, g.shape[1], *self._place.shape)
        back.scatter_add_(self._axis, index.expand(g.shape), g)
        return [[Dense(piece.start, back, owned=True)]]
