"""dφ/dx by the reverse sweep of the imported program, and its oracle.

The Jacobian that a scan stores is taken by rules, all rows of a block at once, where
the file is a graph whose every step on the way has one. Autograd, a backward pass for
each row, is the oracle: at opening both are held against each other on the first rows.
They have to agree to 1e-5 of each input's ‖J‖ where the network computes in float32,
and to 1e-10 in float64; else autograd stays, and the report says so.

How many inputs go together is a matter of the shapes alone, so that no number depends
on the batch size, the number of workers, or what the machine does beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import Tensor

from audit.ground.errors import AuditError
from audit.importer.sweep import Linear, NotSwept, Sweep, sweep_of
from audit.linalg.operators import Matrix
from audit.models.batching import Layout, layout_of
from audit.models.density import Values
from audit.models.opened import OpenModel
from audit.models.swept_head import (
    Parameters,
    Sources,
    cotangents_of,
    scales_of,
    sources_of,
)

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
_TRIED = 8  # rows that both are held against each other on
_ENTRIES = 2**22  # of their Jacobians
_FORWARD = 2**21  # numbers that a forward run keeps: 8 MiB
_BACKWARD = 2**20  # numbers of the widest cotangents: 4 MiB
_IMAGES = 2**19  # the same where they are images
_MOST = 512
_LARGEST = 2**24  # numbers of one input's J; beyond, products are what is asked for


@dataclass(frozen=True)
class SweptMap:
    """x -> φ and J, by rules.

    Args:
        sweep: of the graph.
        inputs: the names of the graph's inputs, in order.
        outputs: of its outputs, likewise.
        condition: the perturbed input. event: the shape of one.
        layout: how rows lie in a call of the file.
        parameters: outputs -> φ.
        sources: which number of the outputs each φ_j is made of; None: of all.
        size: p.
        dtype: the type the network takes.
    """

    sweep: Sweep
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    condition: str
    event: tuple[int, ...]
    layout: Layout
    parameters: Parameters
    sources: Sources | None
    size: int
    dtype: torch.dtype

    def linearize(self, x: Tensor, held: Values) -> tuple[Tensor, Matrix]:
        """Return φ [N, p] and J [N, p, d] in float64.

        Raises:
            NotSwept: a value has another shape than at opening.
        """
        rows = x.detach().to(self.dtype)
        entries = x.new_empty(len(x), self.size, x.shape[1], dtype=torch.float64)
        found = []
        for first in range(0, len(rows), self.forward_rows):
            part = slice(first, first + self.forward_rows)
            values = {name: value[part] for name, value in held.items()}
            found.append(self._part(rows[part], values, entries[part]))
        return torch.cat(found), Matrix(entries)

    @property
    def forward_rows(self) -> int:
        """The inputs of one forward run: a power of two, no fewer than backwards."""
        kept = sum(prod(place.shape) for place in self.sweep.path.places.values())
        return max(_power(_FORWARD // max(kept, 1)), self.backward_rows)

    @property
    def backward_rows(self) -> int:
        """The inputs that are pulled back together: a power of two."""
        most = _IMAGES if self.sweep.has_images else _BACKWARD
        return _power(most // (self.size * self.sweep.widest))

    def _part(self, x: Tensor, held: Values, entries: Tensor) -> Tensor:
        """Fill in J of some inputs, and return their φ."""
        placed = self.layout.place({self.condition: x.reshape(-1, *self.event), **held})
        linear = self.sweep.linearise([placed[name] for name in self.inputs])
        values = dict(zip(self.outputs, linear.values, strict=True))
        outputs = {n: v for n, v in values.items() if isinstance(v, Tensor)}
        if self.sources is not None:
            return self._scaled(linear, outputs, entries)
        phi, cotangents = cotangents_of(self.parameters, outputs)
        together = self.backward_rows
        rows = entries.new_empty(together, *entries.shape[1:], dtype=self.dtype)
        for first in range(0, len(x), together):
            last = min(first + together, len(x))
            part = [[piece.cut(first, last) for piece in own] for own in cotangents]
            linear.rows(part, first, last, rows[: last - first])
            entries[first:last] = rows[: last - first]
        return phi

    def _scaled(
        self, linear: Linear, outputs: Mapping[str, Tensor], entries: Tensor
    ) -> Tensor:
        assert self.sources is not None
        phi, scale = scales_of(self.parameters, outputs, self.sources)
        axes = self.sources.axes(list(outputs.values()))
        still = [j for j, output in enumerate(self.sources.output) if output < 0]
        together = self.backward_rows
        rows = entries.new_empty(together, *entries.shape[1:], dtype=self.dtype)
        for first in range(0, len(phi), together):
            last = min(first + together, len(phi))
            here = rows[: last - first]
            linear.rows(axes, first, last, here)
            torch.mul(here, scale[first:last].unsqueeze(-1), out=entries[first:last])
        if still:
            entries[:, still] = 0.0
        return phi


def _power(number: int) -> int:
    """Return the largest power of two up to a number, between 1 and `_MOST`."""
    return int(2 ** (min(max(number, 1), _MOST).bit_length() - 1))


def with_sweep(model: OpenModel) -> OpenModel:
    """Return a model with its sweep, where there is one and it agrees with autograd."""
    made = _made(model)
    if made is None:
        return model
    apart = _apart(model, made)
    if apart <= TOLERANCE[made.dtype]:
        return replace(model, swept=made)
    note = (
        f"the reverse sweep of the graph differs from autograd by {apart:.1e} of the "
        "Jacobian on the first inputs: derivatives are taken by autograd"
    )
    warnings = (*model.gates.warnings, ("sweep_differs", note))
    return replace(model, gates=replace(model.gates, warnings=warnings))


def _made(model: OpenModel) -> SweptMap | None:
    """Return the sweep of a model, unchecked; None where it does not apply."""
    network, subject = model.network, model.subject
    plain = model.space == "input" and not model.by_differences
    if not plain or network.passed or network.dtype not in TOLERANCE:
        return None
    family = model.density.family
    if network.format != "onnx" or model.head.masks or not family.parametric:
        return None
    if family.size * model.density.d > _LARGEST:
        return None
    graph = model.graph
    layout = layout_of(network, subject.condition, subject.event)
    if graph is None or layout.rows is not None or layout.axes[subject.condition] != 0:
        return None
    part = graph.with_outputs(subject.used)
    try:
        more, fewer = (_example(model, layout, part.input_names, n) for n in (3, 2))
        sweep = sweep_of(part, subject.condition, more, fewer)
    except (NotSwept, AuditError, RuntimeError, KeyError):
        return None
    if sweep.alone:
        return None
    shapes = {name: tuple(subject.outputs[name].shape[1:]) for name in subject.used}
    return SweptMap(
        sweep,
        part.input_names,
        subject.used,
        subject.condition,
        subject.event,
        layout,
        subject.parameters,
        sources_of(model.head, family, shapes),
        family.size,
        network.dtype,
    )


def _example(
    model: OpenModel, layout: Layout, names: tuple[str, ...], rows: int
) -> list[Tensor]:
    """Return the inputs of a call with so many rows."""
    index = np.resize(model.probe_index(), rows)
    x, held = model.rows(index)
    condition = model.subject.condition
    shaped = x.to(model.network.dtype).reshape(rows, *model.subject.event)
    placed = layout.place({condition: shaped, **held})
    return [placed[name] for name in names]


def _apart(model: OpenModel, made: SweptMap) -> float:
    """Return the largest ‖J − J'‖ / ‖J'‖ of the first inputs, J' by autograd."""
    entries = made.size * model.density.d
    tried = max(1, min(_TRIED, _ENTRIES // max(entries, 1)))
    x, held = model.rows(model.probe_index()[:tried])
    _, oracle = model.density.parameter_map.linearize(x, held)
    theirs = oracle.dense()
    try:
        _, own = made.linearize(x, held)
    except (NotSwept, AuditError, RuntimeError):
        return float("inf")
    apart = (own.entries - theirs).flatten(1).norm(dim=1)
    size = theirs.flatten(1).norm(dim=1)
    known = size.isfinite()
    if not bool(known.any()):
        return float("inf")
    found = torch.where(apart == 0, 0.0, apart / size)[known]
    return float(found.nan_to_num(nan=torch.inf).max())
