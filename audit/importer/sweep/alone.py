"""Any step: autograd of it alone, one backward pass for each of the P rows.

What no rule knows is still right this way: the step is recorded between leaves, and its
graph is walked once for each row. Its graph belongs to all inputs of a run, so these
are pulled back together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from audit.importer.sweep.rows import Dense, Piece, dense
from audit.importer.sweep.rules import Kept, Place, Site
from audit.importer.values import Value


class Alone:
    """A step that autograd differentiates by itself.

    Args:
        site: where it is.
    """

    def __init__(self, site: Site) -> None:
        self._run = site.step.run
        self._active = dict(site.active)
        self._outputs = dict(site.outputs)

    def run(self, arguments: Sequence[Value]) -> tuple[Value, Kept]:
        """Run it between leaves."""
        given = list(arguments)
        leaves = []
        for position in self._active:
            value = given[position]
            assert isinstance(value, Tensor)
            given[position] = value.detach().requires_grad_()
            leaves.append(given[position])
        with torch.enable_grad():
            result = self._run(*given)
        results = result if isinstance(result, tuple) else (result,)
        made = [results[position] for position in self._outputs]
        plain = tuple(
            value.detach() if isinstance(value, Tensor) else value for value in results
        )
        kept = (*leaves, *made)
        return plain if isinstance(result, tuple) else plain[0], kept  # type: ignore[return-value]

    def pull(self, kept: Kept, given: Sequence[Piece | None]) -> list[list[Piece]]:
        """Walk the recorded graph once for each row."""
        leaves, made = kept[: len(self._active)], kept[len(self._active) :]
        there = [
            (value, place, dense(piece, place.shape))
            for value, place, piece in zip(
                made, self._outputs.values(), given, strict=True
            )
            if piece is not None and value.requires_grad
        ]
        if not there:
            return [[] for _ in leaves]
        start = min(piece.start for _, _, piece in there)
        stop = max(piece.stop for _, _, piece in there)
        places = list(self._active.values())
        found = [
            value.new_zeros(place.count(value), stop - start, *place.shape)
            for value, place in zip(leaves, places, strict=True)
        ]
        for row in range(start, stop):
            gradients = self._row(leaves, there, row)
            for rows, place, gradient in zip(found, places, gradients, strict=True):
                if gradient is not None:
                    rows[:, row - start] = place.first(gradient)
        return [[Dense(start, rows, owned=True)] for rows in found]

    @staticmethod
    def _row(
        leaves: Sequence[Tensor],
        there: Sequence[tuple[Tensor, Place, Dense]],
        row: int,
    ) -> Sequence[Tensor | None]:
        """Return one row's gradients of the leaves."""
        asked = [each for each in there if each[2].start <= row < each[2].stop]
        if not asked:
            return [None] * len(leaves)
        totals = []
        for value, place, piece in asked:
            one = piece.g[:, row - piece.start].expand(place.count(value), *place.shape)
            with torch.enable_grad():
                totals.append((value * place.back(one).to(value.dtype)).sum())
        return torch.autograd.grad(totals, leaves, retain_graph=True, allow_unused=True)
