"""The narrowest set of vertices that separates a source from a set of sinks.

Menger and Ford-Fulkerson: the least total width of such a set is the largest flow when
each vertex lets its width through. A vertex v becomes two, v_in -> v_out, joined by an
arc of that capacity; the arcs between vertices are unbounded. Dinic's method finds the
flow: it layers the residual graph by breadth-first search and fills the layers by
depth-first search, here with a list for a stack, so that a long graph is no danger.

Of several narrowest sets the one nearest to the sinks is returned: v is in it when the
sinks can be reached from v_out in the residual graph, but not from v_in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def narrowest(
    edges: Iterable[tuple[int, int]],
    widths: Sequence[int | None],
    source: int,
    sinks: Iterable[int],
) -> list[int] | None:
    """Return the vertices of the narrowest cut nearest to the sinks.

    Args:
        edges: pairs of vertices (from, to).
        widths: the width of each vertex; None: it cannot be cut.
        source: a vertex.
        sinks: vertices, which may be cut themselves.

    Returns:
        None where only vertices without a width would separate the two sides.
    """
    unbounded = 1 + sum(width or 0 for width in widths)
    end = 2 * len(widths)
    network = Network(end + 1)
    for vertex, width in enumerate(widths):
        network.join(2 * vertex, 2 * vertex + 1, unbounded if width is None else width)
    for a, b in edges:
        network.join(2 * a + 1, 2 * b, unbounded)
    for sink in sinks:
        network.join(2 * sink + 1, end, unbounded)
    if network.fill(2 * source, end, unbounded) >= unbounded:
        return None
    near = network.leading_to(end)
    return [v for v in range(len(widths)) if not near[2 * v] and near[2 * v + 1]]


class Network:
    """A flow network. Arc a and arc a ^ 1 are each other's way back."""

    def __init__(self, size: int) -> None:
        self.heads: list[int] = []
        self.room: list[int] = []
        self.arcs: list[list[int]] = [[] for _ in range(size)]

    def join(self, a: int, b: int, room: int) -> None:
        """Add an arc from a to b."""
        for tail, head, capacity in ((a, b, room), (b, a, 0)):
            self.arcs[tail].append(len(self.heads))
            self.heads.append(head)
            self.room.append(capacity)

    def fill(self, source: int, end: int, limit: int) -> int:
        """Send all the flow there is room for, up to a limit; return how much."""
        total = 0
        while total < limit:
            layers = self._layers(source)
            if end not in layers:
                break
            total += self._saturate(source, end, layers)
        return total

    def leading_to(self, end: int) -> list[bool]:
        """Return for each vertex whether the end can still be reached from it."""
        found = [False] * len(self.arcs)
        found[end] = True
        queue = [end]
        for vertex in queue:
            for arc in self.arcs[vertex]:
                tail = self.heads[arc]
                if self.room[arc ^ 1] and not found[tail]:
                    found[tail] = True
                    queue.append(tail)
        return found

    def _layers(self, source: int) -> dict[int, int]:
        layers, queue = {source: 0}, [source]
        for vertex in queue:
            for arc in self.arcs[vertex]:
                if self.room[arc] and self.heads[arc] not in layers:
                    layers[self.heads[arc]] = layers[vertex] + 1
                    queue.append(self.heads[arc])
        return layers

    def _saturate(self, source: int, end: int, layers: Mapping[int, int]) -> int:
        """Send flow from layer to layer until every such path is blocked."""
        tried = [0] * len(self.arcs)
        path: list[int] = []
        sent = 0
        while True:
            vertex = self.heads[path[-1]] if path else source
            if vertex == end:
                sent += self._send(path)
                path.clear()
            elif tried[vertex] < len(self.arcs[vertex]):
                arc = self.arcs[vertex][tried[vertex]]
                head = self.heads[arc]
                if self.room[arc] and layers.get(head) == layers[vertex] + 1:
                    path.append(arc)
                else:
                    tried[vertex] += 1
            elif path:
                tried[self.heads[path.pop() ^ 1]] += 1
            else:
                return sent

    def _send(self, path: Sequence[int]) -> int:
        amount = min(self.room[arc] for arc in path)
        for arc in path:
            self.room[arc] -= amount
            self.room[arc ^ 1] += amount
        return amount
