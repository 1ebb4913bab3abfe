"""Turning a program into a plan: bind operators, place constants, clean up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from audit.ground.errors import ModelError
from audit.importer import branches, cleanup
from audit.importer.binding import (
    bind,
    bind_function,
    check_inputs,
    constant_of,
    operator_of,
)
from audit.importer.conditions import Conditions
from audit.importer.foresight import Small
from audit.importer.norms import lengths
from audit.importer.ops.lengths import length
from audit.importer.places import Body, Constant, Place
from audit.importer.plan import ABSENT, Plan, Remembered, ShapeOf, Step, Upload
from audit.importer.program import Node, Program
from audit.importer.registry import Operator, find_host
from audit.importer.replaced import Shielded, replaced
from audit.importer.saturation import unsaturated
from audit.importer.texts import Textual, has_text
from audit.importer.values import Policy, Value
from audit.importer.within import within

SHAPES = ("Shape", "Size")


@dataclass
class Builder:
    """Builds the plan of one program.

    Args:
        outer: constants of the enclosing graph that its subgraphs may read.
        around: of the subgraph of an operator, what is known of the graph around it,
            and the operator.
        text: whether text can be among the values around it.
    """

    program: Program
    policy: Policy
    simplify: bool = True
    outer: Mapping[str, Constant] = field(default_factory=dict)
    around: tuple[Conditions, Node] | None = None
    slots: list[Value] = field(default_factory=lambda: [None])
    steps: list[Step] = field(default_factory=list)
    places: dict[str, Place | Constant] = field(default_factory=dict)
    placed: dict[tuple[int, bool], int] = field(default_factory=dict)
    uploads: dict[int, int] = field(default_factory=dict)
    calls: dict[object, tuple[Place | Constant | None, ...]] = field(
        default_factory=dict
    )
    cleared: frozenset[str] = frozenset()
    lengths: frozenset[str] = frozenset()
    known: Conditions | None = None
    text: bool = False

    def build(self, captured: Iterable[str] = ()) -> Plan:
        """Return the plan; `captured` names become inputs after the declared ones."""
        self.places |= self.outer
        self.text = self.text or has_text(self.program)
        for name, array in self.program.constants.items():
            self.places[name] = Constant(self.policy, array)
        names = [info.name for info in self.program.inputs] + list(captured)
        inputs = tuple(self._new_slot() for _ in names)
        self.places |= {
            name: Place(slot) for name, slot in zip(names, inputs, strict=True)
        }
        wanted = [info.name for info in self.program.outputs]
        nodes: Sequence[Node] = self.program.nodes
        if self.simplify:
            nodes = unsaturated(cleanup.fused(nodes), self.program.constants)
            nodes = cleanup.live(nodes, wanted)
            self.known = self._known(nodes)
            nodes = branches.held(nodes, self.known, wanted)
        self.cleared = replaced(nodes)
        self.lengths = lengths(nodes, self.program.constants)
        for node in cleanup.guarded(nodes):
            self._add(node)
        outputs = tuple(self.operand(name, host=False) for name in wanted)
        steps = cleanup.with_deaths(self.steps, outputs)
        written = {
            s
            for step in steps
            for s in step.outputs
            if step.run.__class__ is not Upload
        }
        fixed = frozenset(outputs) - written - set(inputs)
        return Plan(tuple(self.slots), steps, inputs, outputs, fixed)

    def _known(self, nodes: Sequence[Node]) -> Conditions:
        """Return what is known of the nodes of the program."""
        if self.around is None:
            return Conditions.of(nodes, self.program)
        around, node = self.around
        return within(around, node, self.program, nodes)

    def _add(self, node: Node) -> None:
        if node.op == "Constant" and not node.domain:
            self.places[node.outputs[0]] = Constant(self.policy, constant_of(node))
            return
        if self.simplify and (source := cleanup.passed_through(node)) is not None:
            self.places[node.outputs[0]] = self._place(node, source)
            return
        entry = operator_of(node)
        check_inputs(node, entry)
        known = [self._place(node, name) for name in node.inputs if name]
        if all(isinstance(place, Constant) for place in known) and self._fold(
            node, entry
        ):
            return
        if self._is_host(node, known):
            self._add_host(node)
        else:
            self._add_step(node, entry)

    def _place(self, node: Node, name: str) -> Place | Constant:
        if name not in self.places:
            raise ModelError(
                f"{node.label} reads '{name}', which nothing makes",
                "Expected a graph input, a constant or the output of a node",
                "Export the file again",
            )
        return self.places[name]

    def _fold(self, node: Node, entry: Operator) -> bool:
        """Run a node whose inputs are all constants; False if it has to wait."""
        if not (self.simplify and entry.pure) or any(True for _ in node.bodies()):
            return False
        constants = [self.places.get(name) for name in node.inputs]
        arguments = [
            _argument(place, position in entry.host)
            for position, place in enumerate(constants)
        ]
        results = cleanup.fold(node, self._bound(node, entry), arguments)
        if results is None:
            return False
        for name, value in zip(node.outputs, results, strict=False):
            array = value if isinstance(value, np.ndarray) else None
            tensor = None if isinstance(value, np.ndarray) else value
            self.places[name] = Constant(self.policy, array, tensor)
        return True

    def _types(self, node: Node) -> tuple[int | None, ...]:
        """Return the declared element types of a node's inputs, where known."""
        declared = {info.name: info.onnx_type for info in self.program.inputs}
        return tuple(
            place.onnx_type
            if isinstance(place := self.places.get(name), Constant)
            else declared.get(name)
            for name in node.inputs
        )

    def _is_host(self, node: Node, known: list[Place | Constant]) -> bool:
        if find_host(node.domain, node.op) is None:
            return False
        if node.op in SHAPES:
            return True
        return any(isinstance(place, Place) for place in known) and all(
            place.is_small() if isinstance(place, Constant) else place.host
            for place in known
        )

    def _add_host(self, node: Node) -> None:
        run = find_host(node.domain, node.op)
        assert run is not None
        bound = bind_function(node, run, self.policy)
        if node.op in SHAPES:
            slots = tuple(self._any_slot(name) for name in node.inputs)
            self._emit(node, ShapeOf(bound), slots, host=True)
        else:
            slots = tuple(self.operand(name, host=True) for name in node.inputs)
            self._emit(node, Remembered(Small(node, bound)), slots, host=True)

    def _add_step(self, node: Node, entry: Operator) -> None:
        inputs = [
            self.operand(name, host=position in entry.host)
            for position, name in enumerate(node.inputs)
        ]
        bodies = {key: self._body(node, body, inputs) for key, body in node.bodies()}
        call = cleanup.call_key(node, inputs) if entry.pure and not bodies else None
        if self.simplify and call in self.calls:
            for name, place in zip(node.outputs, self.calls[call], strict=True):
                if place is not None:
                    self.places[name] = place
            return
        is_length = not self.lengths.isdisjoint(node.outputs)
        run = length if is_length else self._bound(node, entry, bodies)
        shielded = not self.cleared.isdisjoint(node.outputs)
        run = Shielded.of(node, run) if shielded else run
        self._emit(node, run, tuple(inputs))
        if call is not None:
            self.calls[call] = tuple(self.places.get(name) for name in node.outputs)

    def _bound(
        self, node: Node, entry: Operator, bodies: Mapping[str, Body] | None = None
    ) -> Callable[..., Value]:
        """Return a node's operator, or where text may come its twin beside it."""
        run = bind(node, entry, self.policy, bodies, self._types(node))
        twin = find_host(node.domain, node.op) if self.text else None
        if twin is None:
            return run
        bound = Small(node, bind_function(node, twin, self.policy))
        return Textual(run, bound, self.policy)

    def _body(self, node: Node, body: Program, inputs: list[int]) -> Body:
        """Plan a subgraph; what it takes from outside joins the node's inputs."""
        free = {name: self._place(node, name) for name in body.free_names()}
        constants = {k: v for k, v in free.items() if isinstance(v, Constant)}
        captured = [name for name in free if name not in constants]
        around = (self.known, node) if self.known is not None else None
        inner = Builder(body, self.policy, self.simplify, constants, around)
        inner.text = self.text
        plan = inner.build(captured)
        first = len(inputs)
        inputs += [self.operand(name, host=False) for name in captured]
        return Body(plan, body.outputs, slice(first, len(inputs)))

    def _emit(
        self,
        node: Node,
        run: Callable[..., Value],
        inputs: tuple[int, ...],
        host: bool = False,
    ) -> None:
        outputs = tuple(self._new_slot() if name else ABSENT for name in node.outputs)
        self.steps.append(Step(node, run, inputs, outputs))
        for name, slot in zip(node.outputs, outputs, strict=True):
            if name:
                self.places[name] = Place(slot, host)

    def operand(self, name: str, host: bool) -> int:
        """Return the slot to read a value from, as an array or as a tensor."""
        if not name:
            return ABSENT
        place = self.places.get(name)
        if place is None:
            raise ModelError(
                f"Nothing makes the value '{name}'",
                "Expected a graph input, a constant or the output of a node",
                "Check the names of the outputs",
            )
        if isinstance(place, Constant):
            return self._constant_slot(place, host)
        if place.host and not host:
            return self._upload(place.slot)
        return place.slot

    def _any_slot(self, name: str) -> int:
        place = self.places.get(name)
        return place.slot if isinstance(place, Place) else self.operand(name, False)

    def _constant_slot(self, constant: Constant, host: bool) -> int:
        key = (id(constant), host)
        if key not in self.placed:
            self.placed[key] = self._new_slot()
            value = constant.as_host() if host else constant.as_tensor()
            self.slots[self.placed[key]] = value
        return self.placed[key]

    def _upload(self, slot: int) -> int:
        if slot not in self.uploads:
            self.uploads[slot] = self._new_slot()
            node = Node("Upload", (), ())
            run = Upload(self.policy)
            self.steps.append(Step(node, run, (slot,), (self.uploads[slot],)))
        return self.uploads[slot]

    def _new_slot(self) -> int:
        self.slots.append(None)
        return len(self.slots) - 1


def _argument(place: Place | Constant | None, host: bool) -> Value:
    if not isinstance(place, Constant):
        return None
    return place.as_host() if host else place.as_tensor()
