"""What a saved torch program computes with, beside what it calls parameters.

`torch.jit.freeze` and `torch.export` turn parameters into constants of the graph, and a
number written in `forward` is a constant too. Both walks give names that do not change
when the same module is saved again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.node import map_aggregate

from audit.models.identity import Named


def script_values(module: torch.jit.ScriptModule) -> Iterator[Named]:
    """Yield what a TorchScript module computes with.

    Parameters, buffers and the other attributes that methods read come by name; then
    the constants of the methods, where they are used.
    """
    found = _Found(dict([*module.named_parameters(), *module.named_buffers()]))
    for method in sorted(module._c._method_names()):
        found.read_method(("", module._c), method)
    yield from sorted(found.state.items())
    yield from found.constants


@dataclass
class _Found:
    """What has been seen in the methods read so far."""

    state: dict[str, object]
    constants: list[Named] = field(default_factory=list)

    def read_method(self, owner: tuple[str, object], method: str) -> None:
        """Read a method of a module, given as its name and itself."""
        graph = owner[1]._get_method(method).graph.copy()  # type: ignore[attr-defined]
        torch._C._jit_pass_inline(graph)
        own = next(iter(graph.inputs())).debugName()
        self._read(graph, {own: owner}, method)

    def _read(
        self, block: torch._C.Block, known: dict[str, tuple[str, object]], method: str
    ) -> None:
        for node in block.nodes():
            kind, inputs = node.kind(), [value.debugName() for value in node.inputs()]
            owner = known.get(inputs[0]) if inputs else None
            for i, value in enumerate(node.inputs()):
                self._used(value, f"{method}/{kind}[{i}]")
            if kind == "prim::GetAttr" and owner is not None:
                known[node.output().debugName()] = self._attribute(node, *owner)
            elif kind == "prim::CallMethod" and owner is not None:  # of an interface
                self.read_method(owner, node.s("name"))
            for inner in node.blocks():
                self._read(inner, known, method)
        for i, value in enumerate(block.outputs()):
            self._used(value, f"{method}[{i}]")

    def _used(self, value: torch._C.Value, place: str) -> None:
        """Keep a constant once for each use: equal ones are shared."""
        if value.node().kind() == "prim::Constant":
            constant = value.toIValue()
            if not isinstance(constant, torch.device):  # where it runs is no matter
                self.constants.append((place, constant))

    def _attribute(
        self, node: torch._C.Node, path: str, owner: object
    ) -> tuple[str, object]:
        """Return an attribute with its path, and keep it if it is no module."""
        name = node.s("name")
        value = owner.getattr(name)  # type: ignore[attr-defined]
        where = f"{path}.{name}" if path else name
        if not isinstance(value, torch._C.ScriptModule):
            self.state.setdefault(where, value)
        return where, value


def program_values(program: ExportedProgram) -> Iterator[Named]:
    """Yield what an exported program computes with.

    Parameters, buffers and lifted constants come by name; then the numbers that are
    written in the graph and its subgraphs, in their order.
    """
    state = dict([*program.named_parameters(), *program.named_buffers()])
    yield from sorted((dict(program.constants) | state).items())
    for name, module in program.graph_module.named_modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                yield from _literals(name, node)


def _literals(place: str, node: Node) -> Iterator[Named]:
    """Yield the arguments of a node that are no results of others."""
    if node.op != "call_function":
        return
    found: list[object] = []

    def keep(value: object) -> object:
        hidden = isinstance(value, (Node, torch.device, Tensor))
        found.append("…" if hidden else value)
        return value

    map_aggregate((node.args, dict(node.kwargs)), keep)  # type: ignore[arg-type]
    yield f"{place}/{node.target}", found
