"""Everything that an ONNX file computes with, by where it is used.

Initialisers, dense and sparse, Constant nodes in any of their forms, and the attributes
of every node: in the main graph, in subgraphs and in the bodies of functions. The
coefficients of a linear classifier and the thresholds of a tree are attributes, so an
attribute counts whatever it is called. A value comes once for each use, under the
operator that reads it and how many of its kind came before in that graph: exporters
share equal numbers and name them after their value, so a name alone does not tell two
files apart, and nodes of other kinds may come and go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
)

Stored: TypeAlias = TensorProto | SparseTensorProto | bytes
Named = tuple[str, Stored]
Scope = Mapping[str, Stored]


def stored_values(model: ModelProto) -> Iterator[Named]:
    """Yield (place, value): tensors as they are, other attributes as their bytes."""
    yield from _graph(model.graph, "graph", {})
    for function in sorted(model.functions, key=lambda f: (f.domain, f.name)):
        place = f"{function.domain}.{function.name}"
        yield from _attributes(function.attribute_proto, place, {})
        yield from _nodes(function.node, function.output, place, {})


def _graph(graph: GraphProto, place: str, outer: Scope) -> Iterator[Named]:
    own: dict[str, Stored] = {tensor.name: tensor for tensor in graph.initializer}
    own |= {sparse.values.name: sparse for sparse in graph.sparse_initializer}
    results = [info.name for info in graph.output]
    yield from _nodes(graph.node, results, place, {**outer, **own})


def _nodes(
    nodes: Iterable[NodeProto], results: Iterable[str], place: str, known: Scope
) -> Iterator[Named]:
    """Yield what nodes read, and what is handed out without any node in between."""
    nodes = list(nodes)
    scope = dict(known)
    for node in nodes:
        if node.op_type == "Constant" and len(node.output) == 1:
            for _, value in _attributes(node.attribute, "", {}):
                scope[node.output[0]] = value
    seen: Counter[str] = Counter()
    for node in nodes:
        op = f"{node.domain}.{node.op_type}"
        where = f"{place}/{op}:{seen[op]}"
        seen[op] += 1
        yield from _attributes(node.attribute, where, scope)
        yield from _used(node.input, where, scope)
    yield from _used(results, place, scope)


def _used(names: Iterable[str], place: str, scope: Scope) -> Iterator[Named]:
    for i, name in enumerate(names):
        if name in scope:
            yield f"{place}[{i}]", scope[name]


def _attributes(
    attributes: Iterable[AttributeProto], place: str, scope: Scope
) -> Iterator[Named]:
    for attribute in sorted(attributes, key=lambda a: a.name):
        name = f"{place}.{attribute.name}"
        graphs = [*attribute.graphs]
        tensors: list[Stored] = [*attribute.tensors, *attribute.sparse_tensors]
        if attribute.HasField("g"):
            graphs.append(attribute.g)
        if attribute.HasField("t"):
            tensors.append(attribute.t)
        if attribute.HasField("sparse_tensor"):
            tensors.append(attribute.sparse_tensor)
        for i, graph in enumerate(graphs):
            yield from _graph(graph, f"{name}[{i}]", scope)
        yield from ((f"{name}[{i}]", tensor) for i, tensor in enumerate(tensors))
        if not graphs and not tensors:
            yield name, _bytes(attribute)


def _bytes(attribute: AttributeProto) -> bytes:
    """Return a number, a text, a list of them or a type, without its description."""
    bare = AttributeProto()
    bare.CopyFrom(attribute)
    bare.ClearField("doc_string")
    found = bare.SerializeToString(deterministic=True)
    assert isinstance(found, bytes)
    return found
