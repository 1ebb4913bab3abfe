"""A graph as read from the file: plain data, before anything is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from audit.importer.values import Host

Attribute: TypeAlias = Any  # int, float, str, list, Host, Program or a type


@dataclass(frozen=True)
class ValueInfo:
    """The declared type of a graph input or output.

    Args:
        kind: "tensor", "sequence", "optional" or "map".
        onnx_type: element type of a tensor, None when the file does not say.
        shape: sizes, names of symbolic sizes, None for unknown ones.
    """

    name: str
    kind: str = "tensor"
    onnx_type: int | None = None
    shape: tuple[int | str | None, ...] | None = None


@dataclass(frozen=True)
class Node:
    """One operator call. `opset` is the version of its domain that it means."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute] = field(default_factory=dict)
    name: str = ""
    domain: str = ""
    opset: int = 0

    @property
    def label(self) -> str:
        """How messages name the node."""
        domain = f"{self.domain}." if self.domain else ""
        return f"node '{self.name}' ({domain}{self.op}, opset {self.opset})"

    def bodies(self) -> Iterator[tuple[str, Program]]:
        """Yield the subgraphs among the attributes."""
        for key, value in self.attributes.items():
            if isinstance(value, Program):
                yield key, value

    def with_bodies(self, bodies: dict[str, Program]) -> Node:
        """Return the node with some of its subgraphs replaced."""
        return replace(self, attributes=self.attributes | bodies)


@dataclass(frozen=True)
class Program:
    """A graph: nodes in an order in which they can run, and its constants.

    Args:
        inputs: what has to be given.
        optional: inputs with a default value; it is among the constants.
    """

    name: str
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    nodes: tuple[Node, ...]
    constants: dict[str, Host]
    optional: tuple[ValueInfo, ...] = ()

    def given(self, names: Iterable[str]) -> Program:
        """Return the graph with some optional inputs, in this order, after the others.

        The remaining ones are constants from then on.
        """
        known = {info.name: info for info in self.optional}
        taken = {name: known[name] for name in names if name in known}
        return replace(
            self,
            inputs=(*self.inputs, *taken.values()),
            constants={n: v for n, v in self.constants.items() if n not in taken},
            optional=(),
        )

    def free_names(self) -> list[str]:
        """Return the names read from an enclosing graph, in order of use."""
        known = {info.name for info in self.inputs} | set(self.constants)
        free: dict[str, None] = {}
        for node in self.nodes:
            wanted = [*node.inputs]
            for _, body in node.bodies():
                wanted += body.free_names()
            free |= {name: None for name in wanted if name and name not in known}
            known |= set(node.outputs)
        for info in self.outputs:
            if info.name not in known:
                free[info.name] = None
        return list(free)


@dataclass(frozen=True)
class Function:
    """A function body: a local function of the model, or one of the standard."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    defaults: dict[str, Attribute]


@dataclass(frozen=True)
class Reference:
    """An attribute inside a function body that stands for the caller's."""

    name: str


@dataclass(frozen=True)
class Model:
    """A whole file."""

    program: Program
    opsets: dict[str, int]
    metadata: dict[str, str]
    functions: dict[tuple[str, str, str], Function]
