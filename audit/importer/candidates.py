"""Sets of tensors at which a graph may be cut, and what a cut costs.

Each set stands on every way from x to the sinks: the outputs, and the nodes where a
draw comes in. `bottleneck` says why these sets, and derives the cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from audit.importer import mincut
from audit.importer.anatomy import Anatomy


def cost(before: float, after: float, width: int, draws: int) -> float:
    """Return the multiply-adds of the derivative in x at S draws of one input."""
    passes = 1 + 2 * min(width, draws)
    return passes * before + 3.0 * draws * after + width * draws


def candidates(anatomy: Anatomy, draws: int) -> Iterator[tuple[str, ...]]:
    """Yield sets of tensors to cut, in the order of the file; x alone is none."""
    for names in (frontier(anatomy), narrowest(anatomy), sweep(anatomy, draws)):
        if names and names != [anatomy.condition]:
            yield tuple(sorted(names, key=anatomy.rank))


def frontier(anatomy: Anatomy) -> list[str]:
    """Return the last tensors that may be cut, on every way."""
    found, queue, passed = [], list(anatomy.sinks), set()
    for name in queue:
        if name in passed:
            continue
        passed.add(name)
        if name in anatomy.cuttable:
            found.append(name)
        else:
            queue += anatomy.sources[name]
    return found


def narrowest(anatomy: Anatomy) -> list[str]:
    """Return the cut of the fewest numbers without x, none if there is none."""
    names = sorted(anatomy.sources, key=anatomy.rank)
    place = {name: i for i, name in enumerate(names)}
    if anatomy.condition not in place:
        return []
    free = anatomy.cuttable - {anatomy.condition}
    widths = [anatomy.width(name) if name in free else None for name in names]
    edges = [(place[a], place[b]) for b in names for a in anatomy.sources[b]]
    sinks = [place[name] for name in anatomy.sinks]
    cut = mincut.narrowest(edges, widths, place[anatomy.condition], sinks)
    return [names[i] for i in cut or ()]


def sweep(anatomy: Anatomy, draws: int) -> list[str]:
    """Return the cheapest set of tensors alive after some node, in the file's order.

    Any single tensor that all ways go through is such a set.
    """
    last = _last_uses(anatomy)
    made: dict[float, list[str]] = {}
    ends: dict[float, list[str]] = {}
    for name, index in last.items():
        made.setdefault(anatomy.order[name], []).append(name)
        ends.setdefault(index, []).append(name)
    flops = {index: anatomy.flops[int(index)] for index in made if index >= 0}
    total, done, width, uncut, least, place = sum(flops.values()), 0.0, 0, 0, inf, -1.0
    for index in sorted(made):
        done += flops.get(index, 0.0)
        for sign, names in ((1, made[index]), (-1, ends.get(index, []))):
            cut = anatomy.cuttable.intersection(names)
            width += sign * sum(map(anatomy.width, cut))
            uncut += sign * (len(names) - len(cut))
        price = cost(done, total - done, width, draws)
        if not uncut and price < least:
            least, place = price, index
    return [name for name in last if anatomy.order[name] <= place < last[name]]


def _last_uses(anatomy: Anatomy) -> dict[str, float]:
    """Where each tensor on a way to a sink is read for the last time."""
    sinks = set(anatomy.sinks)
    last = {name: inf if name in sinks else -1.0 for name in anatomy.sources}
    for name, sources in anatomy.sources.items():
        for source in sources:
            last[source] = max(last[source], anatomy.order[name])
    return last
