"""φ and all rows of its Jacobian at some inputs, by a sweep and the head's own slopes.

How many inputs go together is a matter of the shapes alone, so that no number depends
on the batch size, the number of workers, or what the machine does beside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from audit.importer.sweep import Linear, Piece, Sweep
from audit.models.swept_head import Parameters, Sources, cotangents_of, scales_of

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
"""How far a sweep may be from autograd, of ‖J‖, by the type of the network."""
_FORWARD = 2**21  # numbers that a forward run keeps: 8 MiB
_MOST = 2048
Inputs = Callable[[slice], Sequence[Tensor]]
"""Some of the rows -> the inputs of the graph."""


@dataclass(frozen=True)
class SweptRows:
    """Outputs of a graph, φ, and its Jacobian.

    Args:
        sweep: of the graph.
        outputs: the names of its outputs, in order.
        parameters: outputs -> φ.
        sources: which number of the outputs each φ_j is made of; None: of all.
        size: p.
        dtype: the type the network takes.
        pull: inputs that are pulled back together; 0: as many as the shapes say.
        plain: whether φ are numbers of the outputs as they stand: D is 1 then.
    """

    sweep: Sweep
    outputs: tuple[str, ...]
    parameters: Parameters
    sources: Sources | None
    size: int
    dtype: torch.dtype
    pull: int = 0
    plain: bool = False

    @property
    def together(self) -> tuple[int, int]:
        """The inputs that are pulled back, and run forward, together."""
        return self.backward_rows, self.forward_rows

    @property
    def pulled_bytes(self) -> int:
        """The bytes of one input's cotangents at their widest."""
        return self.size * self.sweep.widest * self.dtype.itemsize

    @property
    def forward_rows(self) -> int:
        """The inputs of one forward run: a power of two, no fewer than backwards."""
        kept = sum(prod(place.shape) for place in self.sweep.path.places.values())
        return max(_power(_FORWARD // max(kept, 1)), self.backward_rows)

    @property
    def narrow_rows(self) -> int:
        """The inputs that start together, through the narrow steps at the end."""
        narrow = self.size * self.sweep.narrow
        if not narrow:
            return self.forward_rows
        return max(_power(self.sweep.at_once // narrow), self.backward_rows)

    @property
    def backward_rows(self) -> int:
        """The inputs that are pulled back together: a power of two by default."""
        shapes = self.sweep.at_once // (self.size * self.sweep.widest)
        return self.pull or _power(shapes)

    def fill(self, inputs: Inputs, entries: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return φ [N, p] and D [N, p], in float64, and write A into `entries`.

        J = D A; without D, which the head makes, it is A itself. D is not multiplied
        in: float32 may have no number for what it makes.

        Args:
            inputs: of the graph, by rows.
            entries: A [N, p, d], in the network's own type.

        Raises:
            NotSwept: a value has another shape than at opening.
        """
        found = []
        with torch.no_grad():
            for first in range(0, len(entries), self.forward_rows):
                part = slice(first, first + self.forward_rows)
                found.append(self._part(inputs(part), entries[part]))
        phi = torch.cat([one for one, _ in found])
        if all(scale is None for _, scale in found):
            return phi, None
        scales = [torch.ones_like(one) if s is None else s for one, s in found]
        return phi, torch.cat(scales)

    def _part(
        self, inputs: Sequence[Tensor], entries: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        linear = self.sweep.linearise(inputs)
        values = dict(zip(self.outputs, linear.values, strict=True))
        outputs = {n: v for n, v in values.items() if isinstance(v, Tensor)}
        if self.sources is not None:
            return self._scaled(linear, outputs, entries, self.sources)
        phi, cotangents = cotangents_of(self.parameters, outputs)
        for first, last in self._parts(len(entries)):
            part = [[piece.cut(first, last) for piece in own] for own in cotangents]
            linear.rows(part, first, last, entries[first:last], self.backward_rows)
        return phi, None

    def _scaled(
        self,
        linear: Linear,
        outputs: Mapping[str, Tensor],
        entries: Tensor,
        sources: Sources,
    ) -> tuple[Tensor, Tensor | None]:
        if self.plain:
            phi, scale = self.parameters(outputs), None
        else:
            phi, scale = scales_of(self.parameters, outputs, sources)
        axes: list[list[Piece]] = sources.axes(list(outputs.values()))
        for first, last in self._parts(len(entries)):
            linear.rows(axes, first, last, entries[first:last], self.backward_rows)
        if scale is None:
            return phi, None
        still = [j for j, output in enumerate(sources.output) if output < 0]
        if still:
            entries[:, still] = 0.0
            scale[:, still] = 1.0
        return phi, None if bool((scale == 1).all()) else scale

    def _parts(self, n: int) -> list[tuple[int, int]]:
        """Return (first, last) of the inputs that start together."""
        together = self.narrow_rows
        return [(first, min(first + together, n)) for first in range(0, n, together)]


def _power(number: int) -> int:
    """Return the largest power of two up to a number, between 1 and `_MOST`."""
    return int(2 ** (min(max(number, 1), _MOST).bit_length() - 1))


def apart(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest ‖J − J'‖ / ‖J'‖ of some inputs [n, …]; ∞ where none tells."""
    difference = (ours - theirs).flatten(1).norm(dim=1)
    size = theirs.flatten(1).norm(dim=1)
    known = size.isfinite()
    if not bool(known.any()):
        return float("inf")
    found = torch.where(difference == 0, 0.0, difference / size)[known]
    return float(found.nan_to_num(nan=torch.inf).max())
