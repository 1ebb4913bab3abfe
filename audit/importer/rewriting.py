"""Random operators written with ordinary ones, on columns of a noise input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from audit.importer.drawing import Draw, Reading, attribute

_LEAST = 2.0**-24  # the distance of uniform numbers from 0 and 1, in float32 too


@dataclass(frozen=True)
class Exposure:
    """The input that was made of a graph's random operators.

    Args:
        name: of the input.
        law: of each of its numbers, normal or uniform.
        count: m, its numbers a row.
        operators: those that drew them.
        one_row: whether the file is given one row a call.
        jumps: an operator that noise and an input choose by, "" for none.
    """

    name: str
    law: str
    count: int
    operators: tuple[str, ...]
    one_row: bool
    jumps: str = ""


class Writer:
    """Writes the nodes that take the place of a random operator.

    Args:
        exposure: the input. kind: its element type.
        reading: of the graph, for types.
    """

    def __init__(self, exposure: Exposure, kind: int, reading: Reading) -> None:
        self._exposure, self._kind, self._reading = exposure, kind, reading
        self._nodes: list[NodeProto] = []
        self._made = 0
        names = {n for node in reading.graph.node for n in (*node.input, *node.output)}
        self._prefix = exposure.name
        while any(name.startswith(f"{self._prefix}:") for name in names):
            self._prefix += "_"

    def port(self, first: int | str | None) -> ValueInfoProto:
        """Return the input as it is declared, with this first axis."""
        shape = [first, self._exposure.count]
        return helper.make_tensor_value_info(self._exposure.name, self._kind, shape)

    def written(self, draw: Draw, place: int, count: int) -> list[NodeProto]:
        """Return the nodes for a draw that takes `count` columns from `place` on."""
        self._nodes = []
        numbers = self._columns(draw, place, count)
        if draw.law == "uniform" and self._exposure.law == "normal":
            numbers = self._uniform(numbers)
        match draw.node.op_type:
            case "Bernoulli":
                self._bernoulli(draw, numbers)
            case "Dropout":
                self._dropout(draw, numbers)
            case "RandomNormal" | "RandomNormalLike":
                mean = attribute(draw.node, "mean", 0.0)
                scale = attribute(draw.node, "scale", 1.0)
                self._affine(draw, numbers, scale, mean)
            case _:
                low = attribute(draw.node, "low", 0.0)
                high = attribute(draw.node, "high", 1.0)
                self._affine(draw, numbers, high - low, low)
        return self._nodes

    def _columns(self, draw: Draw, place: int, count: int) -> str:
        """Return a draw's numbers in the shape that it draws.

        A shape that needs other numbers than there are fails when it runs.
        """
        numbers = self._exposure.name
        if count < self._exposure.count:
            index = np.arange(place, place + count, dtype=np.int64)
            numbers = self._add("Gather", numbers, self._constant(index), axis=1)
        if draw.like:
            return self._add("Reshape", numbers, self._add("Shape", draw.like))
        shape = np.array(draw.shape, dtype=np.int64)
        return self._add("Reshape", numbers, self._constant(shape))

    def _uniform(self, normal: str) -> str:
        """Return Φ(z), kept off 0 and 1."""
        half = self._number(0.5)
        erf = self._add("Erf", self._add("Mul", normal, self._number(math.sqrt(0.5))))
        u = self._add("Add", self._add("Mul", erf, half), half)
        above = self._add("Max", u, self._number(_LEAST))
        return self._add("Min", above, self._number(1 - _LEAST))

    def _affine(self, draw: Draw, numbers: str, factor: float, shift: float) -> None:
        scaled = self._add("Mul", numbers, self._number(factor))
        moved = self._add("Add", scaled, self._number(shift))
        self._cast(moved, self._reading.type_of(draw.node.output[0]), draw.node)

    def _bernoulli(self, draw: Draw, numbers: str) -> None:
        (p, *_), out = draw.node.input, draw.node.output[0]
        below = self._add("Less", numbers, self._add("Cast", p, to=self._kind))
        self._cast(below, self._reading.type_of(out), draw.node)

    def _dropout(self, draw: Draw, numbers: str) -> None:
        """Write x 1[u ≥ ratio] / (1 − ratio), and the mask where it is asked for."""
        node = draw.node
        kind = self._reading.type_of(node.input[0])
        given = len(node.input) > 1 and node.input[1]
        ratio = (
            self._add("Cast", node.input[1], to=self._kind)
            if given
            else self._number(0.5)
        )
        outputs = [*node.output, ""][:2]
        dropped = self._add("Less", numbers, ratio)
        kept = self._add("Not", dropped)
        if outputs[1]:
            self._end("Identity", outputs[1], kept)
        if outputs[0]:
            share = self._add("Sub", self._number(1.0), ratio)
            mask = self._add("Div", self._add("Cast", kept, to=self._kind), share)
            self._end(
                "Mul", outputs[0], node.input[0], self._add("Cast", mask, to=kind)
            )

    def _cast(self, name: str, kind: int, node: NodeProto) -> None:
        if kind == self._kind and not name.endswith(":Less"):
            self._end("Identity", node.output[0], name)
        else:
            self._end("Cast", node.output[0], name, to=kind)

    def _number(self, value: float) -> str:
        kind = np.float64 if self._kind == TensorProto.DOUBLE else np.float32
        return self._constant(np.array(value, dtype=kind))

    def _constant(self, array: NDArray[Any]) -> str:
        return self._add("Constant", value=numpy_helper.from_array(array))

    def _add(self, op: str, *inputs: str, **attributes: int | TensorProto) -> str:
        self._made += 1
        return self._end(op, f"{self._prefix}:{self._made}:{op}", *inputs, **attributes)

    def _end(
        self, op: str, output: str, *inputs: str, **attributes: int | TensorProto
    ) -> str:
        name = f"{self._prefix}:{op}:{output}"
        node = helper.make_node(op, list(inputs), [output], name=name)
        for key, value in attributes.items():
            node.attribute.append(helper.make_attribute(key, value))
        self._nodes.append(node)
        return output
