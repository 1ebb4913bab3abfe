"""From a file or a ModelProto to a `Model`; nothing in a file is trusted.

Sizes are checked against the bytes that are there before anything is allocated. The
nodes come back in an order in which they can run; a cycle, a value nobody makes and a
value made twice are errors.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from audit.errors import ModelError
from audit.models.onnx.program import (
    Attribute,
    Function,
    Model,
    Node,
    Program,
    Reference,
    ValueInfo,
)
from audit.models.onnx.registry import DOMAIN_ALIASES
from audit.models.onnx.tensors import TensorReader
from audit.models.onnx.values import Host


def read_model(source: str | Path | ModelProto) -> Model:
    """Read a model and its external data.

    Raises:
        ModelError: it is missing, damaged, or refers to files outside its folder.
    """
    if isinstance(source, ModelProto):
        return _Reader(TensorReader(None)).model(source)
    path = Path(source)
    return _Reader(TensorReader(path.resolve().parent)).model(_parse(path))


def _parse(path: Path) -> ModelProto:
    try:
        proto = onnx.load(path, load_external_data=False)
    except FileNotFoundError as error:
        given = f"There is no file '{path}'"
        raise ModelError(given, "Expected an ONNX file", "Check the path") from error
    except (DecodeError, OSError, ValueError) as error:
        raise ModelError(
            f"'{path}' is not a readable ONNX file ({error})",
            "Expected a serialised ModelProto",
            "Export or download the file again; it may be truncated",
        ) from error
    if not proto.HasField("graph"):
        given = f"'{path}' holds no graph"
        raise ModelError(given, "Expected an ONNX model", "Export the file again")
    return proto


def opsets_of(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Return domain -> version; a domain that is listed twice counts once."""
    opsets: dict[str, int] = {}
    for entry in imports:
        domain = DOMAIN_ALIASES.get(entry.domain, entry.domain)
        opsets[domain] = max(entry.version, opsets.get(domain, 0))
    return opsets


@dataclass
class _Reader:
    tensors: TensorReader
    opsets: Mapping[str, int] = field(default_factory=dict)

    def model(self, proto: ModelProto) -> Model:
        opsets = opsets_of(proto.opset_import) or {"": 1}
        self.opsets = opsets
        functions = {}
        for function in proto.functions:
            key = (function.domain, function.name, getattr(function, "overload", ""))
            functions[key] = read_function(function, opsets, self.tensors)
        metadata = {entry.key: entry.value for entry in proto.metadata_props}
        return Model(self.program(proto.graph), opsets, metadata, functions)

    def program(self, proto: GraphProto, outer: Iterable[str] = ()) -> Program:
        """Read a graph; `outer` are the names it may take from around it."""
        constants = self.constants(proto)
        inputs = tuple(
            value_info(info) for info in proto.input if info.name not in constants
        )
        known = {info.name for info in inputs} | set(constants) | set(outer)
        made = {name for node in proto.node for name in node.output if name}
        nodes = [
            self.node(node, index, known | made)
            for index, node in enumerate(proto.node)
        ]
        return Program(
            proto.name,
            inputs,
            tuple(value_info(info) for info in proto.output),
            tuple(in_order(nodes, known)),
            constants,
        )

    def constants(self, proto: GraphProto) -> dict[str, Host]:
        found = {tensor.name: self.tensors(tensor) for tensor in proto.initializer}
        for sparse in proto.sparse_initializer:
            found[sparse.values.name] = self.tensors.sparse(sparse)
        return found

    def node(self, proto: NodeProto, index: int, known: set[str]) -> Node:
        domain = DOMAIN_ALIASES.get(proto.domain, proto.domain)
        return Node(
            proto.op_type,
            tuple(proto.input),
            tuple(proto.output),
            {item.name: self.attribute(item, known) for item in proto.attribute},
            proto.name or f"{proto.op_type}_{index}",
            f"{domain}:{proto.overload}" if proto.overload else domain,
            self.opsets.get(domain, 0),
        )

    def attribute(self, proto: AttributeProto, known: set[str]) -> Attribute:
        kind = AttributeProto
        if proto.ref_attr_name:
            return Reference(proto.ref_attr_name)
        readers: dict[int, Callable[[], Attribute]] = {
            kind.FLOAT: lambda: proto.f,
            kind.INT: lambda: proto.i,
            kind.STRING: lambda: proto.s.decode("utf-8", "replace"),
            kind.TENSOR: lambda: self.tensors(proto.t),
            kind.GRAPH: lambda: self.program(proto.g, known),
            kind.SPARSE_TENSOR: lambda: self.tensors.sparse(proto.sparse_tensor),
            kind.TYPE_PROTO: lambda: proto.tp,
            kind.FLOATS: lambda: list(proto.floats),
            kind.INTS: lambda: list(proto.ints),
            kind.STRINGS: lambda: [s.decode("utf-8", "replace") for s in proto.strings],
            kind.TENSORS: lambda: [self.tensors(tensor) for tensor in proto.tensors],
        }
        if proto.type not in readers:
            raise ModelError(
                f"Attribute '{proto.name}' has the unknown type {proto.type}",
                "Expected a type of the ONNX standard",
                "Export the file again",
            )
        return readers[proto.type]()


def read_function(
    proto: onnx.FunctionProto,
    opsets: Mapping[str, int],
    tensors: TensorReader | None = None,
) -> Function:
    """Read a function body; its own opset imports win over the model's."""
    own: MutableMapping[str, int] = opsets_of(proto.opset_import)
    reader = _Reader(tensors or TensorReader(None), ChainMap(own, dict(opsets)))
    known = set(proto.input)
    made = {name for node in proto.node for name in node.output if name}
    nodes = [
        reader.node(node, index, known | made) for index, node in enumerate(proto.node)
    ]
    defaults = {
        item.name: reader.attribute(item, known) for item in proto.attribute_proto
    }
    return Function(
        tuple(proto.input), tuple(proto.output), tuple(in_order(nodes, known)), defaults
    )


def value_info(proto: onnx.ValueInfoProto) -> ValueInfo:
    """Read a declared type; what the file leaves open stays None."""
    kind = proto.type.WhichOneof("value") or "tensor_type"
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return ValueInfo(proto.name, kind.removesuffix("_type"))
    tensor = getattr(proto.type, kind)
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(_dimension(dim) for dim in tensor.shape.dim)
    return ValueInfo(proto.name, "tensor", tensor.elem_type or None, shape)


def _dimension(proto: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if proto.HasField("dim_value") and proto.dim_value >= 0:
        return int(proto.dim_value)
    return proto.dim_param or None


def in_order(nodes: list[Node], known: set[str]) -> list[Node]:
    """Return the nodes with every value made before it is read (a stable sort)."""
    makers = _makers(nodes, known)
    done: set[str] = set(known)
    ordered: list[Node] = []
    waiting = nodes
    while waiting:
        late = []
        for node in waiting:
            needs = [name for name in _reads(node) if name in makers]
            if all(name in done for name in needs):
                ordered.append(node)
                done.update(node.outputs)
            else:
                late.append(node)
        if len(late) == len(waiting):
            raise ModelError(
                f"The graph has a cycle through {late[0].label}",
                "Expected nodes that can run in some order",
                "Export the file again",
            )
        waiting = late
    return ordered


def _makers(nodes: list[Node], known: set[str]) -> set[str]:
    makers: set[str] = set()
    for node in nodes:
        for name in filter(None, node.outputs):
            if name in makers or name in known:
                raise ModelError(
                    f"The value '{name}' is made twice ({node.label})",
                    "Expected one maker for each value",
                    "Export the file again",
                )
            makers.add(name)
    return makers


def _reads(node: Node) -> list[str]:
    names = [name for name in node.inputs if name]
    for _, body in node.bodies():
        names += body.free_names()
    return names
