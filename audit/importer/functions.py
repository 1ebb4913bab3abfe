"""Expanding calls: local functions of the model and bodies of the standard.

A node is left alone when the table has its operator; otherwise the body that the model
or the standard gives for it takes its place, with its values renamed so that two calls
do not meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import onnx
from onnx import defs

from audit.ground.errors import ModelError
from audit.importer.limits import MAX_EXPANSION
from audit.importer.loading import read_function
from audit.importer.packed import parted
from audit.importer.program import Attribute, Function, Model, Node, Program, Reference
from audit.importer.refused import refusal
from audit.importer.registry import find

MAX_DEPTH = 50


def expand(model: Model) -> Program:
    """Return the main graph with every function call replaced by its body."""
    return _Expander(model).program(model.program)


@dataclass
class _Expander:
    model: Model
    count: int = 0
    nodes: int = 0
    bodies: dict[object, Function | None] = field(default_factory=dict)

    def program(self, program: Program) -> Program:
        nodes = tuple(
            new for node in program.nodes for new in self.expanded(node, depth=0)
        )
        return replace(program, nodes=nodes)

    def expanded(self, node: Node, depth: int) -> Iterator[Node]:
        function = self.body_of(node)
        if function is None:
            inner = {key: self.program(body) for key, body in node.bodies()}
            self._count(node)
            yield node.with_bodies(inner) if inner else node
            return
        if depth >= MAX_DEPTH:
            raise ModelError(
                f"{node.label} calls functions more than {MAX_DEPTH} deep",
                "Expected functions that do not call themselves",
                "Export the file again",
            )
        self.count += 1
        for inner_node in _inlined(node, function, f"{node.name}/{self.count}"):
            yield from self.expanded(inner_node, depth + 1)

    def body_of(self, node: Node) -> Function | None:
        domain, _, overload = node.domain.partition(":")
        local = self.model.functions.get((domain, node.op, overload))
        if local is not None:
            return local
        if find(node.domain, node.op, node.opset) or refusal(node):
            return None
        if (written := parted(node)) is not None:
            return written
        key = (node.domain, node.op, node.opset)
        if key not in self.bodies:
            self.bodies[key] = standard_body(*key, self.model.opsets)
        return self.bodies[key]

    def _count(self, node: Node) -> None:
        self.nodes += 1
        if self.nodes > MAX_EXPANSION:
            raise ModelError(
                f"Expanding functions makes more than {MAX_EXPANSION} nodes "
                f"(at {node.label})",
                "Expected a graph of bounded size",
                "Do not use this file if you do not know it",
            )


def standard_body(
    domain: str, op: str, opset: int, opsets: Mapping[str, int]
) -> Function | None:
    """Return the function body that the standard gives for an operator, or None."""
    try:
        schema = defs.get_schema(op, opset, domain)
    except defs.SchemaError:
        return None
    if not schema.has_function:  # type: ignore[attr-defined]
        return None
    proto = onnx.FunctionProto()
    proto.CopyFrom(schema.function_body)
    return read_function(proto, opsets)


def _inlined(call: Node, function: Function, prefix: str) -> Iterator[Node]:
    names = dict(zip(function.inputs, call.inputs, strict=False))
    names |= dict.fromkeys(function.inputs[len(call.inputs) :], "")
    given = function.defaults | call.attributes
    outputs = dict(zip(function.outputs, call.outputs, strict=False))
    direct = {name: new for name, new in outputs.items() if new and name not in names}
    names |= direct
    for node in function.nodes:
        yield _renamed(node, names, given, prefix)
    for name, new in outputs.items():
        if new and name not in direct:  # an input handed straight to an output
            yield Node(
                "Identity", (names[name],), (new,), name=f"{prefix}/{name}", opset=13
            )


def _renamed(
    node: Node, names: dict[str, str], given: dict[str, Attribute], prefix: str
) -> Node:
    inputs = tuple(_name(name, names, prefix) for name in node.inputs)
    for name in node.outputs:
        _name(name, names, prefix)
    attributes = {}
    for key, value in node.attributes.items():
        if isinstance(value, Reference):
            if value.name in given:
                attributes[key] = given[value.name]
        elif isinstance(value, Program):
            attributes[key] = _renamed_body(value, names, given, prefix)
        else:
            attributes[key] = value
    return replace(
        node,
        inputs=inputs,
        outputs=tuple(_name(name, names, prefix) for name in node.outputs),
        attributes=attributes,
        name=f"{prefix}/{node.name}",
    )


def _name(name: str, names: dict[str, str], prefix: str) -> str:
    if not name:
        return ""
    return names.setdefault(name, f"{prefix}/{name}")


def _renamed_body(
    body: Program, names: dict[str, str], given: dict[str, Attribute], prefix: str
) -> Program:
    own = {info.name for info in body.inputs} | set(body.constants)
    inner = {name: new for name, new in names.items() if name not in own}
    inner |= {name: f"{prefix}/{name}" for name in own}

    def rename(name: str) -> str:
        return _name(name, inner, prefix)

    return replace(
        body,
        inputs=tuple(replace(info, name=rename(info.name)) for info in body.inputs),
        constants={rename(name): array for name, array in body.constants.items()},
        nodes=tuple(_renamed(node, inner, given, prefix) for node in body.nodes),
        outputs=tuple(replace(info, name=rename(info.name)) for info in body.outputs),
    )
