"""Which operators lie between an input and an output, and what they let through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from audit.errors import ModelError
from audit.models.onnx.program import Node, Program
from audit.models.onnx.registry import find
from audit.models.onnx.values import FLOATS, TORCH_TYPES


@dataclass(frozen=True)
class PathOp:
    """An operator on the way; `zero_derivative`: no derivative passes through it."""

    name: str
    op: str
    zero_derivative: bool


def path_ops(program: Program, source: str, output: str) -> tuple[PathOp, ...]:
    """Return the operators that depend on `source` and that `output` depends on."""
    _check(program, source, output)
    after = _after(program, source, any_edge)
    before = _before(program, output)
    found = []
    for node in program.nodes:
        edges = [
            (position, place)
            for position, name in enumerate(reads(node))
            if name in after
            for place, out in enumerate(node.outputs)
            if out in before
        ]
        if edges:
            zero = not any(passes(node, *edge) for edge in edges)
            found.append(PathOp(node.name, node.op, zero))
    return tuple(found)


def reaches(program: Program, source: str, output: str) -> bool:
    """Return whether some path lets a derivative through at every operator."""
    _check(program, source, output)
    return output in _after(program, source, passes)


def reads(node: Node) -> list[str]:
    """Return the names a node reads, those of its subgraphs last."""
    return [*node.inputs, *(n for _, body in node.bodies() for n in body.free_names())]


def any_edge(node: Node, _source: int, _output: int) -> bool:
    """Follow every dependency on numbers; a shape holds none of them."""
    return node.op not in ("Shape", "Size")


def passes(node: Node, source: int, output: int) -> bool:
    """Return whether a derivative can pass from an input to an output of a node."""
    if any(True for _ in node.bodies()):
        return _body_passes(node)
    if node.op in ("Cast", "CastLike") and not node.domain:
        dtype = TORCH_TYPES.get(node.attributes.get("to", 1), torch.int64)
        return source == 0 and dtype in FLOATS
    entry = find(node.domain, node.op, node.opset)
    return entry is not None and entry.passes(source, output)


def _body_passes(node: Node) -> bool:
    """Return whether some operator inside the subgraphs lets a derivative through."""
    inner = [each for _, body in node.bodies() for each in body.nodes]
    return not inner or any(_lets_some_through(each) for each in inner)


def _lets_some_through(node: Node) -> bool:
    return any(
        passes(node, source, output)
        for source in range(max(len(reads(node)), 1))
        for output in range(len(node.outputs))
    )


def _after(program: Program, source: str, follow: object) -> set[str]:
    found = {source}
    for node in program.nodes:
        for position, name in enumerate(reads(node)):
            if name in found:
                found.update(_followed(node, position, follow))
    return found


def _followed(node: Node, position: int, follow: object) -> Iterator[str]:
    for place, out in enumerate(node.outputs):
        if out and callable(follow) and follow(node, position, place):
            yield out


def _before(program: Program, output: str) -> set[str]:
    found = {output}
    for node in reversed(program.nodes):
        if not found.isdisjoint(node.outputs):
            found.update(name for name in reads(node) if name)
    return found


def _check(program: Program, source: str, output: str) -> None:
    made = {name for node in program.nodes for name in node.outputs}
    inputs = {info.name for info in program.inputs}
    for name, known in ((source, inputs | made), (output, inputs | made)):
        if not name or name not in known:
            raise ModelError(
                f"The graph has no tensor '{name}'",
                f"Its inputs are {sorted(inputs)}",
                "Use a name of the file",
            )
