"""∂T/∂φ of a file's own map θ = T(φ, z), all coordinates of θ in one sweep.

Autograd walks the graph once for each coordinate, and is the oracle: on a few rows and
draws both are held against each other before the sweep is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audit.families.implicit import ImplicitFamily
from audit.ground.errors import AuditError
from audit.importer import Graph
from audit.importer.sweep import NotSwept, sweep_of
from audit.models.density import Values
from audit.models.implicit.laws import FileLaw, evaluate, read_by
from audit.models.swept_head import sources_of
from audit.models.swept_rows import TOLERANCE, SweptRows, apart

_DRAWS = 2  # of each row that is tried
_MORE, _FEWER = 3, 2


@dataclass(frozen=True)
class SweptSlopes:
    """z [R, m], φ [R, p + c] -> ∂T/∂φ [R, n, p], by rules.

    Args:
        law: the file's functions.
        rows: of the Jacobian, from the inputs of the graph.
        inputs: the names of these, in order.
        oracle: the law whose Jacobians are autograd's.
    """

    law: FileLaw
    rows: SweptRows
    inputs: tuple[str, ...]
    oracle: ImplicitFamily

    def __call__(self, noise: Tensor, phi: Tensor) -> Tensor:
        """Return the Jacobians in the network's own type, or in float64.

        Where a file makes values of another shape of some rows than it made at
        opening, these rows are autograd's.
        """
        try:
            return self.swept(noise, phi)
        except NotSwept:
            return self.oracle.jacobians(noise.unsqueeze(0), phi)[0]

    def swept(self, noise: Tensor, phi: Tensor) -> Tensor:
        """Return the same by rules alone.

        Raises:
            NotSwept: a value has another shape than at opening.
        """
        assert self.law.noise is not None
        values = self.law.values(phi, self.law.noise, noise)
        size = (len(phi), self.rows.size, self.law.size)
        entries = torch.empty(size, dtype=self.rows.dtype, device=phi.device)
        inputs = self.inputs
        _, scale = self.rows.fill(
            lambda part: [values[n][part] for n in inputs], entries
        )
        return entries if scale is None else entries * scale.unsqueeze(-1)


def swept_slopes(
    law: FileLaw, family: ImplicitFamily, phi: Tensor, always: bool = False
) -> tuple[SweptSlopes | None, float]:
    """Return the sweep of a law's map, and how far it is from autograd at φ [n, p + c].

    None where it does not apply, does not pay (unless it is to be there `always`), or
    is too far.
    """
    if law.noise is None or law.network.dtype not in TOLERANCE:
        return None, 0.0
    graph = law.graphs(read_by(law.head, "sample"))
    if graph is None:
        return None, 0.0
    generator = torch.Generator().manual_seed(0)
    size = (_DRAWS, len(phi), law.noise.size)
    z = torch.rand(size, generator=generator, dtype=torch.float64) + 0.1
    z = z.to(phi.device)
    try:
        made = _made(law, graph, family, z[0], phi, always)
        if made is None:
            return None, 0.0
        theirs = family.jacobians(z, phi).flatten(0, 1)
        ours = made.swept(z.flatten(0, 1), phi.repeat(_DRAWS, 1))
    except (NotSwept, AuditError, RuntimeError, KeyError):
        return None, 0.0
    found = apart(ours, theirs)
    return (made if found <= TOLERANCE[law.network.dtype] else None), found


def _made(
    law: FileLaw,
    graph: Graph,
    family: ImplicitFamily,
    z: Tensor,
    phi: Tensor,
    always: bool,
) -> SweptSlopes | None:
    """Return the sweep of a map, unchecked; None where a step has no rule."""
    names, outputs = graph.input_names, graph.output_names
    examples = (_example(law, names, z, phi, rows) for rows in (_MORE, _FEWER))
    sweep = sweep_of(graph, [slot.name for slot in law.main], *examples)
    if sweep.alone or not (always or family.n >= sweep.worth):
        return None
    places = [sweep.path.places.get(slot) for slot in graph.plan.outputs]
    shapes = {
        name: place.shape
        for name, place in zip(outputs, places, strict=True)
        if place is not None and place.axis == 0
    }
    if len(shapes) < len(outputs):
        return None

    def parameters(found: Values) -> Tensor:
        return evaluate(law.head, "sample", found).flatten(1)

    asked = law.head.parameters["sample"]
    sources = sources_of({"sample": asked}, lambda v: v["sample"].flatten(1), shapes)
    rows_of = SweptRows(
        sweep,
        outputs,
        parameters,
        sources,
        family.n,
        law.network.dtype,
        plain=asked.output(sliced=True) is not None,
    )
    return SweptSlopes(law, rows_of, names, family)


def _example(
    law: FileLaw, names: tuple[str, ...], z: Tensor, phi: Tensor, rows: int
) -> list[Tensor]:
    """Return the inputs of a call with so many rows."""
    assert law.noise is not None
    index = torch.from_numpy(np.resize(np.arange(len(phi)), rows)).to(phi.device)
    values = law.values(phi[index], law.noise, z[index])
    return [values[name] for name in names]
