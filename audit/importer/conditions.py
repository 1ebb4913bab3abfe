"""Where a condition of a graph holds or fails all around the inputs.

A comparison of u with v does where u − v is finite and not zero, and both are
continuous functions of the inputs; what logic makes of such does where all of them do,
and a condition that no input of floating numbers takes part in always does. Operators
that only move elements move the answer alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from onnx import TensorProto

from audit.importer.binding import constant_of
from audit.importer.cleanup import OWN
from audit.importer.program import Node, Program
from audit.importer.values import FLOATS, TORCH_TYPES, Host

ALWAYS = ""
"""The name of no tensor: a condition that the inputs do not change."""
_COMPARES = ("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal")
_LOGIC = ("Not", "And", "Or", "Xor", "Identity")
_OVER = ("ReduceMax", "ReduceMin")  # of truth values as numbers: any, all
_SHAPES = ("Shape", "Size")
_MOVES = frozenset(
    (
        *("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand"),
        *("Slice", "Tile", "Gather"),
    )
)
_CONTINUOUS = _MOVES | frozenset(
    (
        *("Add", "Sub", "Mul", "Neg", "Abs", "Sum", "Mean", "Max", "Min", "Clip"),
        *("Identity", "Sin", "Cos", "Atan", "Asinh", "Tanh", "Erf", "Sigmoid", "Exp"),
        *("Softplus", "Softsign", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu"),
        *("Swish", "Mish", "HardSigmoid", "HardSwish", "PRelu", "Sqrt", "Log", "Sinh"),
        *("Cosh", "Concat", "Split", "MatMul", "Gemm", "Conv", "ReduceSum", "ReduceL1"),
        *("ReduceL2", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare"),
        *("ReduceLogSumExp", "Softmax", "LogSoftmax", "BatchNormalization"),
        *("LayerNormalization", "MaxPool", "AveragePool", "GlobalAveragePool"),
        "FallingSigmoid",
    )
)
"""Operators that are continuous wherever they are finite."""

Strict = tuple[Sequence[Node], str]
"""Nodes to add, and the tensor of truth values that they make, or ALWAYS."""


@dataclass
class Conditions:
    """What can be read off a graph.

    Args:
        makers: tensor -> the node that makes it.
        constants: of the graph, by name.
        moving: the tensors that depend on any input by value.
        floating: those that depend on an input of floating numbers.
        jumping: inputs that may not move continuously.
    """

    makers: Mapping[str, Node]
    constants: Mapping[str, Host]
    moving: frozenset[str]
    floating: frozenset[str]
    jumping: frozenset[str] = frozenset()
    _known: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, nodes: Sequence[Node], program: Program) -> Conditions:
        """Return what is known of nodes, in an order in which they run."""
        makers = {name: node for node in nodes for name in node.outputs if name}
        inputs = {info.name: is_float(info.onnx_type) for info in program.inputs}
        moving = reached(nodes, inputs)
        floating = reached(nodes, (name for name, real in inputs.items() if real))
        return cls(makers, program.constants, moving, floating)

    def moves(self, name: str) -> bool:
        """Whether a tensor depends on an input by value."""
        return name in self.moving

    def number(self, name: str) -> float | None:
        """Return a constant of one number, None if it is none."""
        value = self.constants.get(name)
        maker = self.makers.get(name)
        if maker is not None and (maker.op, maker.domain) == ("Constant", ""):
            value = constant_of(maker)
        if value is None or value.size != 1:
            return None
        return float(value.reshape(-1)[0])

    def strict(self, name: str) -> Strict | None:
        """Return where a condition is strict; None if that cannot be told."""
        if name not in self.floating:
            return (), ALWAYS
        node = self.makers.get(name)
        if node is None or node.domain:
            return None
        made = f"{name}/strict"
        if node.op in _COMPARES:
            if not all(self.is_continuous(one) for one in node.inputs):
                return None
            return (Node("Apart", node.inputs, (made,), {}, "", OWN, 1),), made
        if node.op in _LOGIC:
            return self._all_of(node, made)
        if node.op == "Cast":
            return self.strict(node.inputs[0])
        if node.op in _OVER:
            return self._over(node, made)
        if node.op in _MOVES and self.floating.isdisjoint(node.inputs[1:]):
            inner = self.strict(node.inputs[0])
            if inner is None:
                return None
            moved = replace(node, inputs=(inner[1], *node.inputs[1:]), outputs=(made,))
            return (*inner[0], moved), made
        return None

    def _all_of(self, node: Node, made: str) -> Strict | None:
        """Return where all inputs of a node are strict, in the shape of its result."""
        found: list[Node] = []
        sure: list[str] = []
        for k, name in enumerate(node.inputs):
            inner = self.strict(name)
            if inner is None:
                return None
            found += inner[0]
            sure.append(inner[1] or f"{made}/{k}")
            if inner[1] == ALWAYS:
                found.append(Node("Equal", (name, name), (sure[-1],), opset=node.opset))
        if len(sure) == 1:
            return found, sure[0]
        return (*found, Node("And", tuple(sure), (made,), opset=node.opset)), made

    def _over(self, node: Node, made: str) -> Strict | None:
        """Return where all elements are strict that a node joins to one."""
        inner = self.strict(node.inputs[0])
        if inner is None:
            return None
        counted, least = f"{made}/counted", f"{made}/least"
        joined = replace(
            node,
            op="ReduceMin",
            inputs=(counted, *node.inputs[1:]),
            outputs=(least,),
        )
        into, back = {"to": TensorProto.INT32}, {"to": TensorProto.BOOL}
        return (
            *inner[0],
            Node("Cast", (inner[1],), (counted,), into, opset=node.opset),
            joined,
            Node("Cast", (least,), (made,), back, opset=node.opset),
        ), made

    def is_continuous(self, name: str) -> bool:
        """Whether a tensor moves continuously with the inputs where it is finite."""
        if name in self._known:
            return self._known[name]
        node = self.makers.get(name)
        if name not in self.floating or node is None:
            return name not in self.jumping
        self._known[name] = self._is_smooth(node) and all(
            self.is_continuous(one) for one in node.inputs
        )
        return self._known[name]

    def _is_smooth(self, node: Node) -> bool:
        if node.domain:
            return False
        if node.op == "Cast":
            return TORCH_TYPES.get(node.attributes.get("to", 1)) in FLOATS
        if node.op == "Div":
            return node.inputs[1] not in self.moving
        if node.op == "Pow":
            power = self.number(node.inputs[1])
            return power is not None and power > 0
        if node.op == "Gather":
            return node.inputs[1] not in self.floating
        return node.op in _CONTINUOUS


def is_float(onnx_type: int | None) -> bool:
    """Whether a type is one of floating numbers, or not said."""
    return onnx_type is None or TORCH_TYPES.get(onnx_type) in FLOATS


def reached(nodes: Sequence[Node], names: Iterable[str]) -> frozenset[str]:
    """Return what depends on some tensors by value."""
    found = set(names)
    for node in nodes:
        reads = {*node.inputs}
        for _, body in node.bodies():
            reads.update(body.free_names())
        if node.op not in _SHAPES and not found.isdisjoint(reads):
            found.update(name for name in node.outputs if name)
    return frozenset(found)
