"""From a file or a ModelProto to a `Model`; nothing in a file is trusted.

Sizes are checked against the bytes that are there before anything is allocated. The
nodes come back in an order in which they can run; a cycle, a value nobody makes and a
value made twice are errors.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from audit.ground.errors import ModelError, UnsupportedOperator
from audit.importer.program import (
    Attribute,
    Function,
    Model,
    Node,
    Program,
    Reference,
    ValueInfo,
)
from audit.importer.registry import DOMAIN_ALIASES
from audit.importer.source import OnnxFile
from audit.importer.tensors import TensorReader, text
from audit.importer.values import Host

DEFAULTS_SINCE = 4  # before this IR version every initialiser had to be an input too


def read_model(source: str | Path | ModelProto | OnnxFile) -> Model:
    """Read a model and its external data.

    Raises:
        ModelError: it is missing, damaged, or refers to files outside its folder.
    """
    if isinstance(source, ModelProto):
        return _Reader(TensorReader(None)).model(source)
    file = source if isinstance(source, OnnxFile) else OnnxFile(source)
    return _Reader(file.tensors).model(file.message())


def domain_of(name: str | bytes) -> str:
    """Return the domain that a name means."""
    domain = text(name)
    return DOMAIN_ALIASES.get(domain, domain)


def opsets_of(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Return domain -> version; a domain that is listed twice counts once."""
    opsets: dict[str, int] = {}
    for entry in imports:
        domain = domain_of(entry.domain)
        opsets[domain] = max(entry.version, opsets.get(domain, 0))
    return opsets


@dataclass
class _Reader:
    tensors: TensorReader
    opsets: Mapping[str, int] = field(default_factory=dict)

    def model(self, proto: ModelProto) -> Model:
        opsets = opsets_of(proto.opset_import) or {"": 1}
        self.opsets = opsets
        check_known(opsets)
        functions = {}
        for function in proto.functions:
            key = (
                domain_of(function.domain),
                text(function.name),
                text(getattr(function, "overload", "")),
            )
            functions[key] = read_function(function, opsets, self.tensors)
        metadata = {
            text(entry.key): text(entry.value) for entry in proto.metadata_props
        }
        program = self.program(proto.graph)
        if proto.ir_version < DEFAULTS_SINCE:
            program = program.given(())
        return Model(program, opsets, metadata, functions)

    def program(self, proto: GraphProto, outer: Iterable[str] = ()) -> Program:
        """Read a graph; `outer` are the names it may take from around it."""
        constants = self.constants(proto)
        declared = tuple(value_info(info) for info in proto.input)
        inputs = tuple(info for info in declared if info.name not in constants)
        optional = tuple(info for info in declared if info.name in constants)
        known = {info.name for info in inputs} | set(constants)
        made = {text(name) for node in proto.node for name in node.output if name}
        visible = known | made | set(outer)
        nodes = [
            self.node(node, index, visible) for index, node in enumerate(proto.node)
        ]
        _refuse_two_meanings(nodes, set(outer) - known)
        return Program(
            proto.name,
            inputs,
            tuple(value_info(info) for info in proto.output),
            tuple(in_order(nodes, known)),
            constants,
            optional,
        )

    def constants(self, proto: GraphProto) -> dict[str, Host]:
        found = {
            text(tensor.name): self.tensors(tensor) for tensor in proto.initializer
        }
        for sparse in proto.sparse_initializer:
            found[text(sparse.values.name)] = self.tensors.sparse(sparse)
        return found

    def node(self, proto: NodeProto, index: int, known: set[str]) -> Node:
        domain = domain_of(proto.domain)
        op = text(proto.op_type)
        return Node(
            op,
            tuple(text(name) for name in proto.input),
            tuple(text(name) for name in proto.output),
            {text(item.name): self.attribute(item, known) for item in proto.attribute},
            text(proto.name) or f"{op}_{index}",
            f"{domain}:{text(proto.overload)}" if proto.overload else domain,
            self.opsets.get(domain, 0),
        )

    def attribute(self, proto: AttributeProto, known: set[str]) -> Attribute:
        kind = AttributeProto
        if proto.ref_attr_name:
            return Reference(text(proto.ref_attr_name))
        readers: dict[int, Callable[[], Attribute]] = {
            kind.FLOAT: lambda: proto.f,
            kind.INT: lambda: proto.i,
            kind.STRING: lambda: text(proto.s),
            kind.TENSOR: lambda: self.tensors(proto.t),
            kind.GRAPH: lambda: self.program(proto.g, known),
            kind.SPARSE_TENSOR: lambda: self.tensors.sparse(proto.sparse_tensor),
            kind.TYPE_PROTO: lambda: proto.tp,
            kind.FLOATS: lambda: list(proto.floats),
            kind.INTS: lambda: list(proto.ints),
            kind.STRINGS: lambda: [text(item) for item in proto.strings],
            kind.TENSORS: lambda: [self.tensors(tensor) for tensor in proto.tensors],
        }
        if proto.type not in readers:
            raise ModelError(
                f"Attribute '{proto.name}' has the unknown type {proto.type}",
                "Expected a type of the ONNX standard",
                "Export the file again",
            )
        return readers[proto.type]()


def check_known(opsets: Mapping[str, int]) -> None:
    """Refuse a version of the standard that is newer than the installed onnx."""
    newest = onnx.defs.onnx_opset_version()
    if opsets.get("", 0) > newest:
        raise UnsupportedOperator(
            f"The file uses opset {opsets['']} of ONNX",
            f"Expected at most {newest}, the newest that onnx {onnx.__version__} knows",
            "Upgrade onnx, or export with an older opset",
        )


def read_function(
    proto: onnx.FunctionProto,
    opsets: Mapping[str, int],
    tensors: TensorReader | None = None,
) -> Function:
    """Read a function body; its own opset imports win over the model's."""
    own: MutableMapping[str, int] = opsets_of(proto.opset_import)
    reader = _Reader(tensors or TensorReader(None), ChainMap(own, dict(opsets)))
    known = {text(name) for name in proto.input}
    made = {text(name) for node in proto.node for name in node.output if name}
    visible = known | made
    nodes = [reader.node(node, index, visible) for index, node in enumerate(proto.node)]
    defaults = {
        text(item.name): reader.attribute(item, known) for item in proto.attribute_proto
    }
    return Function(
        tuple(text(name) for name in proto.input),
        tuple(text(name) for name in proto.output),
        tuple(in_order(nodes, known)),
        defaults,
    )


def value_info(proto: onnx.ValueInfoProto) -> ValueInfo:
    """Read a declared type; what the file leaves open stays None."""
    kind = proto.type.WhichOneof("value") or "tensor_type"
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return ValueInfo(text(proto.name), kind.removesuffix("_type"))
    tensor = getattr(proto.type, kind)
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(_dimension(dim) for dim in tensor.shape.dim)
    return ValueInfo(text(proto.name), "tensor", tensor.elem_type or None, shape)


def _dimension(proto: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if proto.HasField("dim_value") and proto.dim_value >= 0:
        return int(proto.dim_value)
    return text(proto.dim_param) or None


def in_order(nodes: list[Node], known: set[str]) -> list[Node]:
    """Return the nodes with every value made before it is read.

    The order of the file is kept wherever it can be.
    """
    makers = _makers(nodes, known)
    needs = [
        {makers[name] for name in _reads(node) if name in makers} for node in nodes
    ]
    readers: list[list[int]] = [[] for _ in nodes]
    for place, wanted in enumerate(needs):
        for maker in wanted:
            readers[maker].append(place)
    waiting = [len(wanted) for wanted in needs]
    ready = [place for place, count in enumerate(waiting) if not count]
    ordered = []
    while ready:
        place = heappop(ready)
        ordered.append(nodes[place])
        for reader in readers[place]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heappush(ready, reader)
    if len(ordered) < len(nodes):
        stuck = next(node for node, count in zip(nodes, waiting, strict=True) if count)
        raise ModelError(
            f"The graph has a cycle through {stuck.label}",
            "Expected nodes that can run in some order",
            "Export the file again",
        )
    return ordered


def _refuse_two_meanings(nodes: list[Node], outer: set[str]) -> None:
    """Raise if a body reads a name before it makes a value of that name.

    A name of a body is seen in that body alone, and hides one from around it. Nodes are
    put in order here, so such a read could be of either.
    """
    read: set[str] = set()
    for node in nodes:
        read.update(_reads(node))
        for name in read.intersection(node.outputs, outer):
            raise ModelError(
                f"{node.label} makes '{name}' in a subgraph, which reads the value of "
                "that name from around it before",
                "Expected one meaning of a name in a subgraph",
                "Export the file again",
            )


def _makers(nodes: list[Node], known: set[str]) -> dict[str, int]:
    """Return which node makes each value."""
    makers: dict[str, int] = {}
    for place, node in enumerate(nodes):
        for name in filter(None, node.outputs):
            if name in makers or name in known:
                raise ModelError(
                    f"The value '{name}' is made twice ({node.label})",
                    "Expected one maker for each value",
                    "Export the file again",
                )
            makers[name] = place
    return makers


def _reads(node: Node) -> list[str]:
    names = [name for name in node.inputs if name]
    for _, body in node.bodies():
        names += body.free_names()
    return names
