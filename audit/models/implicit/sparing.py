"""A law's computation by a program that computes each number once.

`audit.importer.spare` writes it from the imported graph: shape arithmetic is done, and
what a masked network computes in vain, or again, is left out. It gives the numbers of
the file but for their rounding. That follows from the graph; against errors of ours,
the first rows of its first call are computed both ways, with their derivatives, and
where they differ the file is run as it is. Rows with a number that is not finite are
the file's, which says how. No row depends on another one.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import torch
from torch import Tensor

from audit.ground.errors import AuditError
from audit.importer import Graph
from audit.importer.spare import Emitted, NotSpared, spared
from audit.models.density import Values
from audit.models.network import Call

LEAST = 256
"""Rows of a call; fewer are not worth a program."""
_TRIED = 64  # rows that are computed both ways
_ODD = 4  # of them: where a map is steep, rounding shows
_APART = {torch.float64: 1e-9}
_SINGLE = 1e-4  # of the largest number


class Sparing:
    """Some outputs of a law, as a call.

    Args:
        call: the file's own.
        graph: of these outputs; None where there is none.
    """

    def __init__(self, call: Call, graph: Callable[[], Graph | None]) -> None:
        self._call, self._graph = call, graph
        self._tried, self._lock = False, Lock()
        self._program: Emitted | None = None
        self._inputs: tuple[str, ...] = ()
        self._outputs: tuple[str, ...] = ()

    def __call__(self, values: Values) -> dict[str, Tensor]:
        """Return the outputs by name."""
        if not _many(values):
            return self._call(values)
        with self._lock:
            if not self._tried:
                self._begin(values)
        if self._program is None:
            return self._call(values)
        found = self._named(self._program, values)
        finite = _finite_rows(found)
        if bool(finite.all()):
            return found
        if any(value.requires_grad for value in found.values()):
            return self._mended(self._program, values, finite)
        rows = (~finite).nonzero()[:, 0]
        theirs = self._call({name: value[rows] for name, value in values.items()})
        return {n: v.index_copy(0, rows, theirs[n]) for n, v in found.items()}

    def _mended(
        self, program: Emitted, values: Values, finite: Tensor
    ) -> dict[str, Tensor]:
        """Return outputs to differentiate, the file's own where ours are not finite.

        Each way is differentiated on its own rows alone: 0 · ∞ comes back from none.
        """
        if not bool(finite.any()):
            return self._call(values)
        theirs = self._call(_but(values, finite, lambda v: v.detach()))
        good = int(finite.to(torch.uint8).argmax())
        ours = self._named(
            program, _but(values, ~finite, lambda v: v.detach()[good : good + 1])
        )
        return {n: torch.where(_as(finite, v), v, theirs[n]) for n, v in ours.items()}

    def _named(self, program: Emitted, values: Values) -> dict[str, Tensor]:
        results = program([values[name] for name in self._inputs])
        return dict(zip(self._outputs, results, strict=True))

    def _own(self, values: Values) -> dict[str, Tensor]:
        found = self._call(values)
        return {name: found[name] for name in self._outputs}

    def _begin(self, values: Values) -> None:
        """Write the program, if there is to be one."""
        self._tried = True
        try:
            graph = self._graph()
            if graph is None or set(values) & set(graph.optional_names):
                return
            self._inputs, self._outputs = graph.input_names, graph.output_names
            program = spared(graph, [values[name].detach() for name in self._inputs])
            if self._agrees(program, values):
                self._program = program
        except (NotSpared, AuditError, KeyError):
            return

    def _agrees(self, program: Emitted, values: Values) -> bool:
        few = {name: value.detach()[:_TRIED] for name, value in values.items()}
        moved = [name for name, value in values.items() if value.is_floating_point()]
        ours = _with_slopes(lambda v: self._named(program, v), few, moved)
        theirs = _with_slopes(self._own, few, moved)
        return all(
            _near(ours.get(name, torch.zeros_like(value)), value)
            for name, value in theirs.items()
        )


def _many(values: Values) -> bool:
    """Whether values are those of many rows, on the processor, under no transform."""
    given = list(values.values())
    return bool(given) and all(
        value.dim() > 0
        and len(value) == len(given[0]) >= LEAST
        and value.device.type == "cpu"
        and not torch._C._functorch.is_functorch_wrapped_tensor(value)
        for value in given
    )


def _with_slopes(call: Call, values: Values, moved: list[str]) -> dict[str, Tensor]:
    """Return outputs, and the derivatives of their sum by some inputs, by name."""
    with torch.enable_grad():
        leaves = {name: values[name].clone().requires_grad_() for name in moved}
        found = call({**values, **leaves})
        total = sum((v.double().sum() for v in found.values()), torch.zeros(()))
        results = {name: value.detach() for name, value in found.items()}
        if not total.requires_grad:
            return results
        slopes = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    named = zip(moved, slopes, strict=True)
    return results | {f"d {n}": g for n, g in named if g is not None}


def _near(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two results are the same but for rounding, where theirs is finite."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    known = torch.isfinite(theirs)
    if not theirs.is_floating_point() or not bool(known.any()):
        return torch.equal(ours, theirs)
    apart = torch.where(known, (ours - theirs).abs(), 0.0)
    size = theirs[known].abs().max()
    near = apart <= _APART.get(theirs.dtype, _SINGLE) * size
    return int((~near).reshape(len(near), -1).any(dim=1).sum()) <= _ODD


def _finite_rows(found: Values) -> Tensor:
    """Return which rows are finite in all outputs [rows]."""
    rows = [
        torch.isfinite(v.detach()).reshape(len(v), -1).all(1) for v in found.values()
    ]
    return torch.stack(rows).all(dim=0)


def _as(rows: Tensor, value: Tensor) -> Tensor:
    """Return rows [n] in the rank of a value [n, …]."""
    return rows.reshape(-1, *(1,) * (value.dim() - 1))


def _but(
    values: Values, rows: Tensor, other: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Return values with something else in some rows."""
    return {n: torch.where(_as(rows, v), other(v), v) for n, v in values.items()}
