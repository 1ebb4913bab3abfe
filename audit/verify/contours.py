"""Lines of equal height of a function on a grid, by marching squares.

Each cell of the grid has heights at its four corners. Where the level lies between two
neighbours, the line crosses their edge, at the place that a straight line between them
gives. A cell has none, two or four crossings; four (a saddle) are joined as the mean of
the corners says. Segments that end at one crossing are chained into lines.

Source: Lorensen & Cline, Computer Graphics 21 (1987), in the plane.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

Point = tuple[float, float]
Line = list[Point]
Edge = tuple[int, int, int]
"""The corner [i, j] that an edge begins at, and its direction: 0 along x, 1 along y."""


def contours(
    x: Sequence[float],
    y: Sequence[float],
    heights: Sequence[Sequence[float]],
    level: float,
) -> list[Line]:
    """Return the lines at which a function is at a level.

    Args:
        x: the grid of the first coordinate, ascending [G₁].
        y: of the second [G₂].
        heights: of the function [G₁, G₂].
        level: of the lines.

    Returns:
        Each line as its points; a closed one ends where it begins.
    """
    joined: dict[Edge, list[Edge]] = {}
    for i, j in _crossed(heights, level):
        for a, b in _segments(heights, i, j, level):
            joined.setdefault(a, []).append(b)
            joined.setdefault(b, []).append(a)
    places = {edge: _crossing(x, y, heights, edge, level) for edge in joined}
    return [[places[edge] for edge in chain] for chain in _chains(joined)]


def _crossed(heights: Sequence[Sequence[float]], level: float) -> list[tuple[int, int]]:
    """Return the cells, few of many, whose corners lie on both sides of the level."""
    above = np.array(heights) > level
    corners = np.stack([above[:-1, :-1], above[1:, :-1], above[1:, 1:], above[:-1, 1:]])
    i, j = np.nonzero(np.any(corners, axis=0) & ~np.all(corners, axis=0))
    return list(zip(i.tolist(), j.tolist(), strict=True))


def _segments(
    heights: Sequence[Sequence[float]], i: int, j: int, level: float
) -> Iterator[tuple[Edge, Edge]]:
    """Yield the pieces of the line in one cell."""
    corners = (
        heights[i][j],
        heights[i + 1][j],
        heights[i + 1][j + 1],
        heights[i][j + 1],
    )
    above = [corner > level for corner in corners]
    edges: tuple[Edge, ...] = ((i, j, 0), (i + 1, j, 1), (i, j + 1, 0), (i, j, 1))
    crossed = [k for k in range(4) if above[k] != above[(k + 1) % 4]]
    if len(crossed) == 2:
        yield edges[crossed[0]], edges[crossed[1]]
    elif len(crossed) == 4:
        inside = sum(corners) / 4 > level
        # the line cuts off the corners that are not as the middle is
        first = 0 if above[0] != inside else 1
        for corner in (first, first + 2):
            yield edges[corner - 1], edges[corner]


def _crossing(
    x: Sequence[float],
    y: Sequence[float],
    heights: Sequence[Sequence[float]],
    edge: Edge,
    level: float,
) -> Point:
    """Return where the line crosses an edge."""
    i, j, up = edge
    k, m = (i, j + 1) if up else (i + 1, j)
    start, stop = heights[i][j], heights[k][m]
    share = (level - start) / (stop - start)
    return x[i] + share * (x[k] - x[i]), y[j] + share * (y[m] - y[j])


def _chains(joined: dict[Edge, list[Edge]]) -> Iterator[list[Edge]]:
    """Yield the edges of each line in their order, the open lines first."""
    left = {edge: list(others) for edge, others in joined.items()}
    ends = [edge for edge, others in left.items() if len(others) == 1]
    for start in [*ends, *left]:
        chain = [start]
        while left[chain[-1]]:
            following = left[chain[-1]].pop(0)
            left[following].remove(chain[-1])
            chain.append(following)
        if len(chain) > 1:
            yield chain
