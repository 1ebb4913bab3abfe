"""Questions about the inside of an ONNX graph: what lies on a path, what goes wrong.

`locate` runs our importer and onnxruntime side by side with every tensor of the graph
as an output, and names the first operator where they part: in its value, or in its
derivative along one direction. Values may part where no operator differs: rounding of
one is what a later one makes large (the logarithm of a sigmoid's tail). So each
operator is also given what onnxruntime gave it, and makes of it what onnxruntime made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from audit.ground.errors import AuditError
from audit.importer import Graph, OnnxFile, PathOp
from audit.importer.steps import step_to
from audit.linalg.cotangents import pulled_back
from audit.models.gates.subject import relative_error
from audit.models.network import Census, Values, calling
from audit.models.onnxruntime_file import Runtime

_SHAPES = ("Shape", "Size")  # they read no numbers
_VALUE, _DERIVATIVE = 1e-3, 3e-2
_ROUNDING = 1e-5  # of a tensor's size: what one operator of float32 may lose
_MAX_TENSORS = 4000


@dataclass(frozen=True)
class Inside:
    """A graph and its file."""

    graph: Graph
    file: OnnxFile

    def census(self, condition: str, outputs: Sequence[str]) -> Census:
        """Return whether a derivative can pass, and what stops it on the way."""
        names = [name for name in outputs if name in self.graph.output_names]
        paths = [self.graph.path_ops(condition, name) for name in names]
        connected = any(self.graph.reaches(condition, name) for name in names)
        quantised = [
            f"{node.op} (node '{node.name}')"
            for name in names
            for node in self.graph.quantised_nodes(condition, name)
        ]
        return Census(
            connected,
            tuple(dict.fromkeys(_stops(paths))),
            tuple(dict.fromkeys(quantised)),
        )

    def locate(self, values: Values, condition: str | None) -> str | None:
        """Return the first operator that differs from onnxruntime; "" if unknown.

        None: values differ, and no operator does that is given onnxruntime's inputs.
        """
        names = [name for name in self._makers if name in set(self.graph.tensor_names)]
        if not names or len(names) > _MAX_TENSORS:
            return ""
        try:
            return self._search(names, values, condition)
        except (AuditError, RuntimeError, ValueError):
            return ""  # to name the operator is a courtesy; the refusal stands

    def _search(
        self, names: list[str], values: Values, condition: str | None
    ) -> str | None:
        graph = self.graph.with_outputs(names)
        runtime = Runtime(self.file, tuple(names))
        if condition is not None:
            differs = _derivatives_differ(graph, runtime, values, condition)
            return next((self._makers[name] for name in differs), "")
        theirs = runtime(values)
        first = next(iter(_values_differ(graph, theirs, values)), None)
        if first is None:
            return ""
        if not any(True for _ in _steps_differ(graph, names, {**values, **theirs})):
            return None
        return self._makers[first]

    @cached_property
    def _makers(self) -> dict[str, str]:
        """Tensor -> the operator that makes it, in the order of the file."""
        nodes = self.file.message().graph.node
        return {
            name: f"{node.op_type} (node '{node.name or f'{node.op_type}_{i}'}')"
            for i, node in enumerate(nodes)
            for name in node.output
            if name
        }


def _stops(paths: Iterable[Sequence[PathOp]]) -> list[str]:
    return [
        f"{each.op} (node '{each.name}')"
        for path in paths
        for each in path
        if each.zero_derivative and each.op not in _SHAPES
    ]


def _values_differ(
    graph: Graph, theirs: Mapping[str, Tensor], values: Values
) -> Iterable[str]:
    with torch.no_grad():
        ours = calling(graph)(values)
    for name, value in ours.items():
        if name in theirs and relative_error(value, theirs[name]) > _VALUE:
            yield name


def _steps_differ(graph: Graph, names: Sequence[str], known: Values) -> Iterable[str]:
    """Yield tensors that a step of ours does not make of known values."""
    for name in names:
        inputs, step = step_to(graph, name, known)
        with torch.no_grad():
            (ours,) = step(*(known[given] for given in inputs))
        if (
            name not in known
            or not isinstance(ours, Tensor)
            or relative_error(ours, known[name]) > _ROUNDING
        ):
            yield name


def _derivatives_differ(
    graph: Graph, runtime: Runtime, values: Values, condition: str
) -> Iterable[str]:
    """Yield tensors whose directional derivative is not that of onnxruntime.

    A tensor's entries are added up with the signs of their changes, so that nothing
    cancels and one backward pass tells.
    """
    x = values[condition].detach().clone().requires_grad_()
    ours = calling(graph)({**values, condition: x})
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x)
    h = 1e-2 * x.detach().square().mean().sqrt().clamp_min(1e-6)
    above = runtime({**values, condition: x.detach() + h * v})
    below = runtime({**values, condition: x.detach() - h * v})
    for name, value in ours.items():
        if name in above and value.is_floating_point() and value.numel():
            change = (above[name].double() - below[name].double()) / (2 * float(h))
            theirs = float(change.abs().sum())
            mine = _along(value, change.sign(), x, v)
            if abs(mine - theirs) > _DERIVATIVE * theirs:
                yield name


def _along(value: Tensor, weights: Tensor, x: Tensor, v: Tensor) -> float:
    if not value.requires_grad:
        return 0.0
    gradient = pulled_back(value, x, weights.to(value), keep=True)
    return 0.0 if gradient is None else float((gradient.double() * v).sum())
