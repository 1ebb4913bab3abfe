"""The narrowest set of vertices that separates a source from a set of sinks.

Menger and Ford-Fulkerson: the least total width of such a set is the largest flow when
each vertex lets its width through. A vertex v becomes two, v_in -> v_out, joined by an
arc of that capacity; the arcs between vertices are unbounded. networkx finds the flow.

Of several narrowest sets the one nearest to the sinks is returned: v is in it when the
sinks can be reached from v_out in the residual graph, but not from v_in. That is the
side of the sinks in the partition of `networkx.minimum_cut`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

END = ("end", 0)


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
    import networkx  # 0.1 s, which a graph without draws need not wait for

    flow: Any = networkx.DiGraph()
    flow.add_node(END)
    for vertex, width in enumerate(widths):
        room = {} if width is None else {"capacity": width}
        flow.add_edge(("in", vertex), ("out", vertex), **room)
    flow.add_edges_from((("out", a), ("in", b)) for a, b in edges)
    flow.add_edges_from((("out", sink), END) for sink in sinks)
    try:
        _, (_, near) = networkx.minimum_cut(
            flow,
            ("in", source),
            END,
            flow_func=networkx.algorithms.flow.boykov_kolmogorov,
        )
    except networkx.NetworkXUnbounded:
        return None
    cut = [v for v in range(len(widths)) if ("out", v) in near]
    return [v for v in cut if ("in", v) not in near]
