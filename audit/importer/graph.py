"""The loaded graph: a function on tensors, with what can be asked about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from audit.ground.errors import InputError, ModelError
from audit.importer import branches, cleanup
from audit.importer.build import Builder
from audit.importer.conditions import Conditions
from audit.importer.limits import one_call
from audit.importer.paths import PathOp, path_ops, reaches
from audit.importer.plan import Plan
from audit.importer.program import Node, Program
from audit.importer.program import ValueInfo as Declared
from audit.importer.quantised import quantised_nodes
from audit.importer.saturation import unsaturated
from audit.importer.values import Policy, Value

STRING = 8  # TensorProto.STRING


@dataclass(frozen=True)
class ValueInfo:
    """Name, torch type and shape of a graph input or output.

    `shape` has an int for a fixed size, a name or None for one that may change, and is
    None when the file does not say. `dtype` is None for strings and sequences.
    """

    name: str
    dtype: torch.dtype | None
    shape: tuple[int | str | None, ...] | None
    kind: str = "tensor"
    is_text: bool = False


class Graph:
    """A differentiable ONNX graph. Call it with its inputs in order.

    Args:
        program: the graph, with function calls expanded.
        policy: floating type and device to evaluate in.
        opset: version of the default domain.
        metadata: the file's `metadata_props`.
        simplify: clean up before running (the numbers stay the same).
    """

    def __init__(
        self,
        program: Program,
        policy: Policy,
        opset: int,
        metadata: dict[str, str],
        simplify: bool = True,
    ) -> None:
        self._program = program
        self._policy = policy
        self._simplify = simplify
        self.opset = opset
        self.metadata = metadata
        self.inputs = tuple(_info(info, policy) for info in program.inputs)
        self.outputs = tuple(_info(info, policy) for info in program.outputs)
        self.input_names = tuple(info.name for info in self.inputs)
        self.output_names = tuple(info.name for info in self.outputs)
        self.optional = tuple(_info(info, policy) for info in program.optional)
        self.optional_names = tuple(info.name for info in self.optional)
        self._others: dict[tuple[str, ...], Graph] = {}
        self._loops = any(any(node.bodies()) for node in program.nodes)
        self._plan  # noqa: B018  (build now: unsupported operators show at load)

    def __repr__(self) -> str:
        sides = f"{list(self.input_names)} -> {list(self.output_names)}"
        return f"Graph({sides}, {len(self._plan.steps)} steps, opset {self.opset})"

    @cached_property
    def _plan(self) -> Plan:
        return Builder(self._program, self._policy, self._simplify).build()

    def __call__(self, /, *inputs: Value, **optional: Value) -> tuple[Value, ...]:
        """Evaluate the graph.

        Args:
            inputs: a tensor for each input (None for an optional one that is absent).
                Floating tensors are cast to the type the graph is evaluated in.
            optional: tensors for inputs that would otherwise have their defaults.

        Raises:
            InputError: too many or too few inputs, or one of the wrong kind.
            ModelError: an operator rejects its values.
        """
        if optional:
            return self.given(optional)(*inputs, *optional.values())
        values = self.fitted(inputs)
        if not self._loops:
            return self._plan(*values)
        with one_call():
            return self._plan(*values)

    def fitted(self, inputs: Sequence[Value]) -> list[Value]:
        """Return inputs in the types that the graph computes with.

        Raises:
            InputError: too many or too few, or one of the wrong kind.
        """
        if len(inputs) != len(self.inputs):
            raise InputError(
                f"The graph was called with {len(inputs)} inputs",
                f"Expected {len(self.inputs)}: {', '.join(self.input_names)}",
                "Pass None for an optional input that is absent",
            )
        return [
            _fitted(value, info, self._policy)
            for value, info in zip(inputs, self.inputs, strict=True)
        ]

    @property
    def loops(self) -> bool:
        """Whether some operator has a graph of its own: Loop, Scan, If."""
        return self._loops

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """Every value computed by a node of the graph, in order."""
        return tuple(
            name for node in self._program.nodes for name in node.outputs if name
        )

    @property
    def op_types(self) -> tuple[str, ...]:
        """The operator of every node, in order."""
        return tuple(node.op for node in self._program.nodes)

    def with_outputs(self, names: Sequence[str]) -> Graph:
        """Return the graph cut at internal tensors: they become the outputs."""
        known = {info.name: info for info in self._program.outputs}
        there = {*self.tensor_names, *self.input_names, *self._program.constants}
        for name in names:
            if name not in there:
                raise ModelError(
                    f"The graph has no tensor '{name}'",
                    "Expected a name of `graph.tensor_names`",
                    "Names are those of the file; open it in a viewer such as Netron",
                )
        outputs = tuple(known.get(name, Declared(name)) for name in names)
        return self.with_program(replace(self._program, outputs=outputs))

    def given(self, names: Iterable[str]) -> Graph:
        """Return the graph with optional inputs, in this order, after the others.

        The remaining ones are constants then: they have their defaults.

        Raises:
            InputError: the graph has no such optional input.
        """
        key = tuple(names)
        for name in key:
            if name not in self.optional_names:
                raise InputError(
                    f"The graph was given a value for '{name}'",
                    "Its inputs with a default are "
                    + (", ".join(self.optional_names) or "none"),
                    "Leave it out",
                )
        if key not in self._others:
            self._others[key] = self.with_program(self._program.given(key))
        return self._others[key]

    @property
    def program(self) -> Program:
        """The graph as data, for who takes it apart (see `bottleneck`)."""
        return self._program

    @property
    def plan(self) -> Plan:
        """The graph as steps, for who follows it (see `relaxation`)."""
        return self._plan

    def with_program(self, program: Program) -> Graph:
        """Return another program, evaluated in the way of this one."""
        return Graph(program, self._policy, self.opset, self.metadata, self._simplify)

    def literal(self, program: Program) -> Graph:
        """Return another program, every node of it run as it is written."""
        return Graph(program, self._policy, self.opset, self.metadata, simplify=False)

    def pruned(self, names: Sequence[str]) -> Graph:
        """Return the graph of these outputs, safe to be cut between any two nodes.

        What cleaning up reads off several nodes at once (a gate, a softmax that is
        picked from) is settled now, while both nodes are in the same graph.
        """
        program = self.with_outputs(names).program
        nodes: Sequence[Node] = program.nodes
        if self._simplify:
            nodes = unsaturated(cleanup.fused(nodes), program.constants)
        nodes = cleanup.live(nodes, names)
        if self._simplify:
            nodes = branches.held(nodes, Conditions.of(nodes, program), names)
        nodes = cleanup.guarded(nodes)
        return self.with_program(replace(program, nodes=tuple(nodes)))

    def to(
        self,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Graph:
        """Return the graph evaluated in another floating type or place."""
        policy = Policy(
            dtype or self._policy.dtype,
            torch.device(device) if device is not None else self._policy.device,
        )
        return Graph(self._program, policy, self.opset, self.metadata, self._simplify)

    def path_ops(self, source: str, output: str) -> tuple[PathOp, ...]:
        """Return the operators between an input and an output, in order."""
        return path_ops(self._program.given((source,)), source, output)

    def quantised_nodes(self, source: str, output: str) -> tuple[Node, ...]:
        """Return the nodes between two values that compute with few bits, in order."""
        return quantised_nodes(self._program.given((source,)), source, output)

    def reaches(self, source: str, output: str) -> bool:
        """Return whether a derivative can flow from an input to an output."""
        return reaches(self._program.given((source,)), source, output)


def _info(declared: Declared, policy: Policy) -> ValueInfo:
    dtype = None
    if declared.kind == "tensor" and declared.onnx_type not in (None, STRING):
        dtype = policy.dtype_of(int(declared.onnx_type or 0))
    text = declared.kind == "tensor" and declared.onnx_type == STRING
    return ValueInfo(declared.name, dtype, declared.shape, declared.kind, text)


def _fitted(value: Value, info: ValueInfo, policy: Policy) -> Value:
    """Return an input in the type that the graph computes with."""
    if isinstance(value, list):
        return [_fitted(item, replace(info, dtype=None), policy) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.kind not in "OUS":
        raise InputError(
            f"Input '{info.name}' was given as a NumPy array",
            "Expected a torch tensor",
            "Pass torch.from_numpy(array)",
        )
    if not isinstance(value, Tensor) or value.dtype == info.dtype:
        return value
    if info.dtype is None:
        return value.to(policy.cast(value.dtype))
    if value.is_floating_point() and info.dtype.is_floating_point:
        return value.to(info.dtype)
    raise InputError(
        f"Input '{info.name}' was given as {value.dtype}",
        f"Expected {info.dtype}",
        "Convert it first",
    )
