"""Which operators lie between an input and an output, and what they let through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from audit.ground.errors import ModelError
from audit.importer.program import Node, Program
from audit.importer.registry import find
from audit.importer.values import FLOATS, TORCH_TYPES

Edge = Callable[[Node, int, int], bool]  # does it lead from an input to an output?


@dataclass(frozen=True)
class PathOp:
    """An operator on the way; `zero_derivative`: no derivative passes through it."""

    name: str
    op: str
    zero_derivative: bool


def path_ops(program: Program, source: str, output: str) -> tuple[PathOp, ...]:
    """Return the operators that depend on `source` and that `output` depends on."""
    check_names(program, source, output)
    reached = after(program, [source], any_edge)
    needed = before(program, [output])
    found = []
    for node in program.nodes:
        edges = [
            (position, place)
            for position, name in enumerate(reads(node))
            if name in reached
            for place, out in enumerate(node.outputs)
            if out in needed
        ]
        if edges:
            zero = not any(passes(node, *edge) for edge in edges)
            found.append(PathOp(node.name, node.op, zero))
    return tuple(found)


def reaches(program: Program, source: str, output: str) -> bool:
    """Return whether some path lets a derivative through at every operator."""
    check_names(program, source, output)
    return output in after(program, [source], passes)


def reads(node: Node) -> list[str]:
    """Return the names a node reads, those of its subgraphs last."""
    return [*node.inputs, *(n for _, body in node.bodies() for n in body.free_names())]


def any_edge(node: Node, _source: int, _output: int) -> bool:
    """Follow every dependency on numbers; a shape holds none of them."""
    return node.op not in ("Shape", "Size")


def passes(node: Node, source: int, output: int) -> bool:
    """Return whether a derivative can pass from an input to an output of a node."""
    bodies = [body for _, body in node.bodies()]
    if bodies:
        return any(_passes_body(node, body, source, output) for body in bodies)
    if node.op in ("Cast", "CastLike") and not node.domain:
        dtype = TORCH_TYPES.get(node.attributes.get("to", 1))
        return source == 0 and dtype in FLOATS
    entry = find(node.domain, node.op, node.opset)
    return entry is not None and entry.passes(source, output)


@dataclass(frozen=True)
class Ports:
    """How a control-flow node hands its inputs to its subgraph and takes its outputs.

    Args:
        inputs: input of the node -> input of the subgraph.
        first_output: output of the subgraph that is the node's first one.
        carried: pairs of (output, input) of the subgraph: the state of a loop.
    """

    inputs: dict[int, int]
    first_output: int = 0
    carried: tuple[tuple[int, int], ...] = ()

    def entered(self, node: Node, body: Program, source: int) -> set[str]:
        """Return the name in the subgraph that an input of the node arrives at."""
        if source >= len(node.inputs):
            return {reads(node)[source]}  # captured from around the node
        place = self.inputs.get(source)
        return set() if place is None else {body.inputs[place].name}

    def left(self, body: Program, output: int) -> set[str]:
        """Return the name in the subgraph that an output of the node comes from."""
        place = self.first_output + output
        return {body.outputs[place].name} if place < len(body.outputs) else set()

    def reached(self, body: Program, sources: set[str], follow: Edge) -> set[str]:
        """Return what some edges lead to in the subgraph, round after round."""
        while True:
            found = after(body, sources, follow)
            again = {
                body.inputs[into].name
                for out, into in self.carried
                if body.outputs[out].name in found
            }
            if again <= sources:
                return found
            sources = sources | again

    def needed(self, body: Program, outputs: set[str]) -> set[str]:
        """Return what outputs of the subgraph depend on, round after round."""
        while True:
            found = before(body, outputs)
            again = {
                body.outputs[out].name
                for out, into in self.carried
                if body.inputs[into].name in found
            }
            if again <= outputs:
                return found
            outputs = outputs | again


def ports(node: Node) -> Ports:
    """Return how a node with subgraphs is connected with them."""
    count = len(node.inputs)
    if node.op == "Loop":  # trip count and condition come first
        states = range(count - 2)
        carried = tuple((1 + i, 2 + i) for i in states)
        return Ports({2 + i: 2 + i for i in states}, 1, carried)
    if node.op == "Scan":
        skip = 1 if node.opset < 9 else 0  # sequence_lens
        states = range(count - skip - int(node.attributes.get("num_scan_inputs", 0)))
        inputs = {i: i - skip for i in range(skip, count)}
        return Ports(inputs, 0, tuple((i, i) for i in states))
    if node.op == "SequenceMap":
        return Ports({i: i for i in range(count)})
    return Ports({})  # If: it only captures


def _passes_body(node: Node, body: Program, source: int, output: int) -> bool:
    """Follow a derivative through a subgraph."""
    way = ports(node)
    sources = way.entered(node, body, source)
    if not sources:
        return False
    if node.op in ("Loop", "Scan") and (
        (way.first_output + output, way.inputs.get(source)) in way.carried
    ):
        return True  # no round at all: the state is handed on
    return not way.left(body, output).isdisjoint(way.reached(body, sources, passes))


def after(program: Program, sources: Iterable[str], follow: Edge) -> set[str]:
    """Return the names that some edges lead to from the sources."""
    found = set(sources)
    for node in program.nodes:
        for position, name in enumerate(reads(node)):
            if name in found:
                found.update(
                    out
                    for place, out in enumerate(node.outputs)
                    if out and follow(node, position, place)
                )
    return found


def before(program: Program, outputs: Iterable[str]) -> set[str]:
    """Return the names that outputs depend on, with the outputs."""
    found = set(outputs)
    for node in reversed(program.nodes):
        if not found.isdisjoint(node.outputs):
            found.update(name for name in reads(node) if name)
    return found


def check_names(program: Program, source: str, output: str) -> None:
    """Refuse names that the graph does not have.

    Raises:
        ModelError: it has no such tensor.
    """
    made = {name for node in program.nodes for name in node.outputs}
    inputs = {info.name for info in program.inputs}
    for name in (source, output):
        if not name or name not in inputs | made:
            raise ModelError(
                f"The graph has no tensor '{name}'",
                f"Its inputs are {sorted(inputs)}",
                "Use a name of the file",
            )
