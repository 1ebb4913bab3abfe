"""The bottleneck: what depends on x alone runs once for each input.

The imported graph is cut (`audit.importer.bottleneck`); φ is then what crosses the
cut, h(x), and scores with respect to h are pulled back through the Jacobian of h. The
cut is tried on real rows before it is used: both ways must give the same scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from audit.importer import Graph
from audit.importer.bottleneck import Bottleneck, find_bottleneck
from audit.models.density import DifferentiableMap, Values
from audit.models.implicit.laws import FileLaw, Slot, read_by
from audit.models.implicit.sparing import Sparing
from audit.models.maps import AutogradMap
from audit.models.network import Call, calling

WHOLE = "the whole network runs for every draw"


@dataclass(frozen=True)
class CutLaw:
    """A law behind a cut, and the map from x to what crosses it."""

    law: FileLaw
    embedding: DifferentiableMap
    note: str


def cut(
    law: FileLaw, event: tuple[int, ...], example: Mapping[str, Tensor], draws: int
) -> CutLaw | str:
    """Return the law behind the best cut, or why there is none.

    Args:
        law: the whole file, its φ the condition.
        event: the shape of one condition.
        example: a few rows of every input.
        draws: S, for the cost model.
    """
    network = law.network
    rows = {name: value[:4] for name, value in example.items()}
    if network.graph is None:
        return f"{WHOLE}: only a file that is one graph can be cut"
    graph = network.graph(rows)
    if graph is None:
        return f"{WHOLE}: it could not be turned into a graph"
    if example[law.main[0].name].dim() != 1 + len(event):
        return f"{WHOLE}: the file has no batch axis"
    condition = law.main[0].name
    drawn = [slot.name for slot in (law.target, law.noise) if slot is not None]
    outputs = read_by(law.head, *law.head.parameters)
    found = find_bottleneck(graph, condition, drawn, outputs, rows, draws)
    if found is None or condition in found.tensors:
        return f"{WHOLE}: no part of it that depends on x alone is worth a cut"
    slots = tuple(map(Slot, found.tensors, found.shapes))
    behind = replace(
        law, main=slots, calls=_calls(found.after), graphs=cache(found.after.pruned)
    )
    embedding = AutogradMap(_embedding(found.before, condition), event, network.dtype)
    return CutLaw(behind, embedding, _note(found, draws))


def _calls(after: Graph) -> Callable[[tuple[str, ...]], Call]:
    """Return outputs -> the part after the cut, without what they do not need."""

    def sparing(outputs: tuple[str, ...]) -> Call:
        graph = after.pruned(outputs)
        return Sparing(calling(graph), lambda: graph)

    return cache(sparing)


def _embedding(before: Graph, condition: str) -> Callable[[Tensor, Values], Tensor]:
    call = calling(before)

    def function(x: Tensor, held: Values) -> Tensor:
        found = call({condition: x, **held})
        return torch.cat(
            [v.reshape(len(v), -1) for v in found.values()], dim=1
        ).double()

    return function


def _note(found: Bottleneck, draws: int) -> str:
    """Say where the cut is and what it saves, in multiply-adds per input."""
    whole = 3 * draws * (found.flops_before + found.flops_after)
    passes = 1 + 2 * min(found.width, draws)
    behind = passes * found.flops_before + 3 * draws * found.flops_after
    names = ", ".join(found.tensors[:3]) + (" …" if len(found.tensors) > 3 else "")
    return (
        f"the part that depends on x alone runs once for each input, not for each "
        f"draw: cut at {names} ({found.width} numbers), {whole / behind:.1f} times "
        f"fewer multiply-adds at {draws} draws"
    )
