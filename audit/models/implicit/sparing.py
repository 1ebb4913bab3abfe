"""A law's computation by a program that computes each number once.

`audit.importer.spare` writes it from the imported graph: shape arithmetic is done, and
what a masked network computes in vain, or again, is left out. It gives the numbers of
the file but for their rounding; on the first rows of its first call both are computed,
with their derivatives, and where they differ the file's own order is kept. So it is
where any number is not finite: the file says how.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from audit.importer import Graph
from audit.importer.spare import Emitted, NotSpared, spared
from audit.models.density import Values
from audit.models.network import Call

LEAST = 256
"""Rows of a call; fewer are not worth a program."""
_TRIED = 64  # rows that are computed both ways
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
        self._tried = False
        self._program: Emitted | None = None
        self._inputs: tuple[str, ...] = ()
        self._outputs: tuple[str, ...] = ()

    def __call__(self, values: Values) -> dict[str, Tensor]:
        """Return the outputs by name."""
        if not _many(values):
            return self._call(values)
        if not self._tried:
            self._begin(values)
        if self._program is None:
            return self._call(values)
        found = self._named(self._program, values)
        finite = all(bool(torch.isfinite(v).all()) for v in found.values())
        return found if finite else self._call(values)

    def _named(self, program: Emitted, values: Values) -> dict[str, Tensor]:
        results = program([values[name] for name in self._inputs])
        return dict(zip(self._outputs, results, strict=True))

    def _begin(self, values: Values) -> None:
        """Write the program, if there is to be one."""
        self._tried = True
        graph = self._graph()
        if graph is None or set(values) & set(graph.optional_names):
            return
        self._inputs, self._outputs = graph.input_names, graph.output_names
        try:
            program = spared(graph, [values[name].detach() for name in self._inputs])
            if self._agrees(program, values):
                self._program = program
        except (NotSpared, KeyError):
            return

    def _agrees(self, program: Emitted, values: Values) -> bool:
        few = {name: value.detach()[:_TRIED] for name, value in values.items()}
        moved = [name for name, value in values.items() if value.requires_grad]
        ours = _with_slopes(lambda v: self._named(program, v), few, moved)
        theirs = _with_slopes(self._call, few, moved)
        return all(
            name in ours and _near(ours[name], value)
            for name, value in theirs.items()
            if name in self._outputs or name in moved
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
    if not moved:
        with torch.no_grad():
            return call(values)
    with torch.enable_grad():
        leaves = {name: values[name].clone().requires_grad_() for name in moved}
        found = call({**values, **leaves})
        total = sum((v.sum() for v in found.values()), torch.zeros(()))
        slopes = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    values = {name: value.detach() for name, value in found.items()}
    named = dict(zip(moved, slopes, strict=True))
    return values | {n: slope for n, slope in named.items() if slope is not None}


def _near(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two results are the same but for rounding, where theirs is finite."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    known = torch.isfinite(theirs)
    if not theirs.is_floating_point() or not bool(known.any()):
        return torch.equal(ours, theirs)
    apart = (ours - theirs)[known].abs().max()
    size = theirs[known].abs().max()
    return bool(apart <= _APART.get(theirs.dtype, _SINGLE) * size)
