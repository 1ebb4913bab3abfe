"""The random operators of a graph: what each draws, and what it makes of it.

A random operator is a function of its inputs and of base noise: independent numbers
that are standard normal or uniform. Written out, the numbers are a tensor like others:

    RandomNormal, RandomNormalLike      mean + scale z
    RandomUniform, RandomUniformLike    low + (high − low) u
    Bernoulli                           1[u < p]
    Dropout in training mode            x 1[u ≥ ratio] / (1 − ratio)

The last two are steps in p and in the ratio, through which no derivative passes and
whose local form would be wrong: they are refused where p or the ratio depends on an
input of the graph. The seed that an operator may have of its own is not used.

Sources: the operators' definitions in the ONNX standard; Kingma & Welling,
Auto-Encoding Variational Bayes (2014), section 2.4, for noise as an input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from audit.importer import refused_draws
from audit.importer.reaching import (
    ALONE,
    LIKE,
    bodies_of,
    branching,
    compared,
    needed,
    reached,
    stepped,
)
from audit.importer.refused_draws import Axes, label

_STEPS = {"Bernoulli": (0,), "Dropout": (1, 2)}  # inputs that are thresholds
T = TypeVar("T")


@dataclass(frozen=True)
class Draw:
    """A random operator, and the numbers it needs.

    Args:
        node: it.
        law: of each number, normal or uniform.
        shape: of the numbers; names or None for sizes that are left open.
        like: the tensor whose shape that is, "" where the operator says it.
    """

    node: NodeProto
    law: str
    shape: Axes
    like: str

    @property
    def label(self) -> str:
        """How messages name it."""
        return label(self.node)


class Reading:
    """A graph whose random operators are looked for.

    Args:
        proto: with shapes inferred.
    """

    def __init__(self, proto: ModelProto) -> None:
        self.graph: GraphProto = proto.graph
        self._kept = {tensor.name: tensor for tensor in self.graph.initializer}
        infos = (*self.graph.input, *self.graph.output, *self.graph.value_info)
        self._infos = {info.name: info for info in infos}
        self._makers = {n: node for node in self.graph.node for n in node.output if n}
        given = {info.name for info in self.graph.input} - set(self._kept)
        self._varying = reached(self.graph, given)

    def draws(self, wanted: set[str]) -> list[Draw]:
        """Return the random operators that the wanted tensors depend on, in order.

        Raises:
            NotInference: one lies in a body, has a threshold that depends on an
                input, or a shape that nothing tells.
        """
        live = needed(self.graph, wanted)
        found = []
        for node in self.graph.node:
            if live.isdisjoint(node.output):
                continue
            for body in bodies_of(node):
                self._refuse_bodies(body)
            if self.is_random(node):
                found.append(self._draw(node))
        self._refuse_steps(found, live)
        return found

    def is_random(self, node: NodeProto) -> bool:
        """Whether a node draws numbers that can be an input.

        Raises:
            NotInference: it is a Dropout that draws or not as an input says.
        """
        if node.domain not in ("", "ai.onnx"):
            return False
        if node.op_type != "Dropout":
            return node.op_type in (*LIKE, *ALONE)
        if len(node.input) < 3 or not node.input[2]:
            return False
        training, ratio = self.constant(node.input[2]), self.ratio(node)
        if training is None:
            raise refused_draws.mode(node)
        return bool(training.any()) and not (ratio is not None and ratio == 0)

    def ratio(self, node: NodeProto) -> float | None:
        """Return a Dropout's ratio, 0.5 by default; None where it is computed.

        Raises:
            NotInference: it is no share below one.
        """
        if len(node.input) < 2 or not node.input[1]:
            return 0.5
        array = self.constant(node.input[1])
        if array is None:
            return None
        ratio = float(array.reshape(-1)[0])
        if not 0 <= ratio < 1:
            raise refused_draws.share(node, ratio)
        return ratio

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """Return a constant of the graph; None if it is computed, or lies outside."""
        tensor = self._kept.get(name)
        node = self._makers.get(name)
        if tensor is None and node is not None and node.op_type == "Constant":
            tensor = next((a.t for a in node.attribute if a.name == "value"), None)
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            return None
        return np.asarray(numpy_helper.to_array(tensor))

    def type_of(self, name: str) -> int:
        """Return the element type of a tensor; float where nothing tells."""
        if name in self._kept:
            return int(self._kept[name].data_type)
        info = self._infos.get(name)
        found = 0 if info is None else info.type.tensor_type.elem_type
        return int(found) or int(TensorProto.FLOAT)

    def axes_of(self, name: str) -> Axes | None:
        """Return the shape of a tensor, None where nothing tells its rank."""
        if name in self._kept:
            return tuple(self._kept[name].dims)
        info = self._infos.get(name)
        if info is None or not info.type.tensor_type.HasField("shape"):
            return None
        dims = info.type.tensor_type.shape.dim
        return tuple(
            int(d.dim_value) if d.HasField("dim_value") else d.dim_param or None
            for d in dims
        )

    def _draw(self, node: NodeProto) -> Draw:
        for place in _STEPS.get(node.op_type, ()):
            if place < len(node.input) and node.input[place] in self._varying:
                raise refused_draws.step(node, node.input[place])
        law = "normal" if "Normal" in node.op_type else "uniform"
        if node.op_type in ALONE:
            fixed: tuple[int, ...] = ()
            return Draw(node, law, tuple(attribute(node, "shape", fixed)), "")
        axes = self.axes_of(node.input[0])
        if axes is None or not all(isinstance(axis, int) for axis in axes[1:]):
            raise refused_draws.shape(node, axes)
        return Draw(node, law, axes, node.input[0])

    def branching(self, draws: list[Draw]) -> NodeProto | None:
        """Return a Where by which the map may jump, None if there is none."""
        return branching(self.graph, self._compared(draws))

    def _compared(self, draws: list[Draw]) -> dict[str, NodeProto]:
        made = {name for draw in draws for name in draw.node.output if name}
        return compared(self.graph, made, self._varying)

    def _refuse_steps(self, draws: list[Draw], live: set[str]) -> None:
        """Refuse 1[u < p(x)] where it is written with a comparison."""
        mixed = {n: by for n, by in self._compared(draws).items() if n in live}
        node = stepped(self.graph, mixed)
        if node is not None:
            raise refused_draws.compared(node)

    def _refuse_bodies(self, body: GraphProto) -> None:
        for node in body.node:
            if node.op_type in (*LIKE, *ALONE):
                raise refused_draws.in_body(node)
            for inner in bodies_of(node):
                self._refuse_bodies(inner)


def attribute(node: NodeProto, name: str, default: T) -> T:
    """Return an attribute of a node, of the kind of its default."""
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else cast(T, helper.get_attribute_value(found))
