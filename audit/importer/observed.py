"""What a graph is seen to do with a few rows.

Three runs: three rows, the last two of them alone, and three again of which the last
two have another condition. A size that is the same for three and for two rows is fixed,
one that is in proportion counts rows. A tensor goes row by row when a row keeps its
numbers, whichever rows stand beside it and wherever it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.ground.errors import InputError
from audit.importer.flops import Shape, constant_shapes, multiply_adds
from audit.importer.graph import Graph
from audit.importer.values import Value

ROWS = 3
Rows = dict[str, Value]


@dataclass(frozen=True)
class Size:
    """A size of a shape: a fixed number, or so many times the number of rows."""

    fixed: int = 0
    per_row: int = 0


@dataclass(frozen=True)
class Observed:
    """The shapes of every tensor, in a run of three rows and in one of two."""

    three: Mapping[str, Shape]
    two: Mapping[str, Shape]

    def sizes(self, name: str) -> tuple[Size, ...] | None:
        """Return a shape as a function of the number of rows, None if it is none."""
        if name not in self.three or name not in self.two:
            return None
        pairs = list(zip(self.three[name], self.two[name], strict=False))
        if len(self.three[name]) != len(self.two[name]):
            return None
        if not all(a == b or 2 * a == 3 * b for a, b in pairs):
            return None
        return tuple(Size(a) if a == b else Size(0, a // ROWS) for a, b in pairs)

    def is_batch(self, name: str) -> bool:
        """Return whether axis 0 counts the rows and the other axes are fixed."""
        first, *others = self.sizes(name) or (Size(),)
        return first == Size(0, 1) and not any(size.per_row for size in others)

    def flops(self, graph: Graph) -> list[float]:
        """Return the multiply-adds of each node that one row more costs."""
        return [
            max(0.0, multiply_adds(node, self.three) - multiply_adds(node, self.two))
            for node in graph.program.nodes
        ]


def observe(graph: Graph, rows: Rows) -> Observed:
    """Run a graph with three rows and with two and return the shapes."""
    names = graph.tensor_names
    whole = graph.with_outputs(names)
    fixed = constant_shapes(graph.program)
    found = []
    for picked in (rows, taken(rows, [1, 2])):
        values = dict(zip(names, run(whole, picked), strict=True))
        found.append(fixed | _shapes(values | picked))
    return Observed(*found)


def work_of(graph: Graph, example: Mapping[str, Tensor], condition: str) -> float:
    """Return the multiply-adds of one row.

    Args:
        graph: the file.
        example: a few rows of every input.
        condition: the input that has rows.

    Raises:
        InputError: the condition is not a tensor with rows.
    """
    return sum(observe(graph, few_rows(example, condition)).flops(graph))


def by_row(
    graph: Graph, rows: Rows, condition: str, names: Sequence[str]
) -> frozenset[str]:
    """Return those of the floating tensors whose row i depends on row i alone."""
    part = graph.with_outputs(names)
    base = run(part, rows)
    alone = run(part, taken(rows, [1, 2]))
    beside = run(part, _disturbed(rows, condition))
    return frozenset(
        name
        for name, a, b, c in zip(names, base, alone, beside, strict=True)
        if isinstance(a, Tensor) and isinstance(b, Tensor) and isinstance(c, Tensor)
        if a.is_floating_point() and same(a[1:], b) and same(a[:1], c[:1])
    )


def few_rows(example: Mapping[str, Tensor], condition: str) -> Rows:
    """Return three rows of an example, made from fewer if need be.

    Raises:
        InputError: the condition is not a tensor with rows.
    """
    x = example.get(condition)
    if x is None or x.ndim == 0 or not len(x) or not x.is_floating_point():
        raise InputError(
            f"The example has no rows of the input '{condition}'",
            "Expected a floating tensor [rows, ...]",
            "Pass a few rows of every input of the graph",
        )
    count = len(x)
    picked = [row % count for row in range(ROWS)]
    rows = _picked(dict(example), count, picked)
    apart = torch.tensor([1 + 0.125 * (row // count) for row in range(ROWS)]).to(x)
    return rows | {condition: x[picked] * apart.reshape(-1, *[1] * (x.ndim - 1))}


def taken(rows: Rows, picked: Sequence[int]) -> Rows:
    """Return some of the three rows; what has no rows stays as it is."""
    return _picked(rows, ROWS, picked)


def run(graph: Graph, rows: Rows) -> tuple[Value, ...]:
    """Evaluate a graph on named inputs."""
    with torch.no_grad():
        return graph(*[rows.get(name) for name in graph.input_names])


def same(a: Value, b: Value) -> bool:
    """Return whether two values agree but for rounding."""
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.shape != b.shape:
        return False
    if not a.is_floating_point():
        return torch.equal(a, b)
    tolerance = torch.finfo(a.dtype).eps ** 0.5
    largest = float(a.nan_to_num(0, 0, 0).abs().max()) if a.numel() else 0.0
    return torch.allclose(a, b, tolerance, tolerance * largest, equal_nan=True)


def _picked(rows: Mapping[str, Value], count: int, picked: Sequence[int]) -> Rows:
    return {
        name: value[list(picked)]
        if isinstance(value, Tensor) and value.ndim and len(value) == count
        else value
        for name, value in rows.items()
    }


def _disturbed(rows: Rows, condition: str) -> Rows:
    """Return the rows with another condition in all but the first."""
    x = rows[condition]
    assert isinstance(x, Tensor)
    largest = float(x.abs().max()) if x.numel() else 0.0
    other = 0.5 * x - 0.25 * (largest or 1.0)
    return rows | {condition: torch.cat([x[:1], other[1:]])}


def _shapes(values: Mapping[str, Value]) -> dict[str, Shape]:
    return {
        name: tuple(value.shape)
        for name, value in values.items()
        if isinstance(value, Tensor)
    }
