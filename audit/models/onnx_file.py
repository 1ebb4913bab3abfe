"""ONNX files (`.onnx`): our importer computes, onnxruntime is its referee.

An ONNX file holds no code. `reference` runs the very file in onnxruntime, so that
every forward pass of the importer can be compared with an independent one. Where
derivatives are taken by finite differences, onnxruntime computes alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch
from onnx import TensorProto

from audit.ground.errors import ModelError
from audit.importer import ExposedFile, Graph, OnnxFile, ValueInfo, load_graph
from audit.models.identity import onnx_hash
from audit.models.metadata import KEY, read_metadata
from audit.models.network import (
    TEXT,
    Network,
    Port,
    calling,
    described,
    taken_once,
)
from audit.models.onnx_inside import Inside
from audit.models.onnx_links import behind
from audit.models.onnxruntime_file import Runtime

STRAIGHT_THROUGH = "straight_through"


def load(
    path: Path, device: torch.device, trusted: bool, cuts: frozenset[str]
) -> Network:
    """Open an ONNX file, with the tensors `cuts` inside it as further outputs.

    Raises:
        ModelError: it is damaged, asks for too much, or uses unknown operators.
    """
    file = OnnxFile(path)
    graph = _cut(load_graph(file, device=device, inside=cuts), cuts)
    return _network(graph, file, device, cuts)


def load_straight_through(
    path: Path, device: torch.device, cuts: frozenset[str]
) -> Network:
    """Open a quantised ONNX file with the straight-through derivative.

    Its QuantizeLinear / DequantizeLinear pairs pass gradients as if they did not
    round. That is an estimate, not the derivative of the file, and `details` says so.

    Raises:
        ModelError: it is damaged, asks for too much, or uses unknown operators.
    """
    file = OnnxFile(path)
    graph = load_graph(file, device=device, quantised="straight_through", inside=cuts)
    network = _network(_cut(graph, cuts), file, device, cuts)
    details = {**network.details, "derivative": STRAIGHT_THROUGH}
    double = cache(lambda: replace(network.double(), details=details))
    return replace(network, details=details, double=double)


def load_exposed(
    path: Path, device: torch.device, cuts: frozenset[str], seed: int
) -> Network:
    """Open an ONNX file with its random operators drawing from an input.

    `details` says what was done: `noise` names the input, `law` and `count` are of its
    numbers, `seed` is what they are drawn by, and `exposed` tells it to a reader.

    Raises:
        ConfigError: the file draws nothing.
        ModelError: it is damaged, asks for too much, or what it draws cannot be an
            input.
    """
    file = ExposedFile(path, cuts)
    made = file.exposure
    graph = _cut(load_graph(file, device=device, inside=cuts), cuts)
    weights = onnx_hash(OnnxFile(path))
    rows = "; it is given one row a call" if made.one_row else ""
    jumps = (
        f"; {made.jumps} chooses by comparing noise with the input: where its branches "
        "differ there the output jumps, which no local number sees: read the realised "
        "values"
        if made.jumps
        else ""
    )
    note = (
        f"the random operators of {path.name} ({', '.join(made.operators)}) draw from "
        f"the input '{made.name}', {made.count} {made.law} numbers a row drawn by "
        f"--noise-in-graph {seed}{rows}{jumps}"
    )
    known = {"noise": made.name, "law": made.law, "count": made.count, "seed": seed}
    known |= {"exposed": note}

    def stated(network: Network) -> Network:
        return replace(
            network,
            weights_sha256=weights,
            details={**network.details, **known},
            again=lambda: load_exposed(path, device, cuts, seed),
            double=cache(lambda: stated(network.double())),
        )

    return stated(_network(graph, file, device, cuts))


def _cut(graph: Graph, cuts: frozenset[str]) -> Graph:
    """Return the graph with tensors inside it as further outputs."""
    if not cuts:
        return graph
    inside = sorted(cuts - set(graph.output_names))
    return graph.with_outputs([*graph.output_names, *inside])


def load_values(path: Path, device: torch.device, cuts: frozenset[str]) -> Network:
    """Open an ONNX file in onnxruntime alone: values, no gradients.

    Raises:
        ModelError: it is damaged, or onnxruntime does not know its operators.
    """
    file = OnnxFile(path)
    runtime = Runtime(file, tuple(sorted(cuts)))
    inputs, outputs = runtime.ports
    weights = onnx_hash(file)
    proto = file.message()
    inputs = _with_defaults(inputs, proto.graph.initializer, file)
    texts = {entry.key: entry.value for entry in proto.metadata_props}
    return Network(
        format="onnx",
        files=file.files,
        inputs=inputs,
        outputs=outputs,
        call=runtime,
        weights_sha256=weights,
        dtype=_own_dtype(inputs),
        device=device,
        again=lambda: load_values(path, device, cuts),
        double=lambda: _no_double(path),
        metadata=read_metadata(texts.get(KEY), path),
        details={"operators": sorted({node.op_type for node in proto.graph.node})},
        behind=partial(behind, file),
    )


def _with_defaults(
    inputs: tuple[Port, ...], stored: Iterable[TensorProto], file: OnnxFile
) -> tuple[Port, ...]:
    """Return the inputs with what those with a default have, where nothing is given."""
    read, tensors = file.tensors, {tensor.name: tensor for tensor in stored}
    return tuple(
        replace(port, default=described(read(tensors[port.name])))
        if port.default is not None and port.name in tensors
        else port
        for port in inputs
    )


def _no_double(path: Path) -> Network:
    raise ModelError(
        f"'{path.name}' is run by onnxruntime, in the types it was written in",
        "Finite differences have no float64",
        "Leave --dtype out, or --method finite-difference",
    )


def _network(
    graph: Graph,
    file: OnnxFile,
    device: torch.device,
    cuts: frozenset[str],
    known: tuple[str, Mapping[str, object]] | None = None,
) -> Network:
    """Return a graph as a network; its file's hash and metadata may be known."""
    path = file.path
    weights, metadata = known = known or (
        onnx_hash(file),
        read_metadata(graph.metadata.get(KEY), path),
    )
    inputs, inside = _inputs(graph), Inside(graph, file)

    def double() -> Network:
        return _double(_network(graph.to(torch.float64), file, device, cuts, known))

    return Network(
        format="onnx",
        files=file.files,
        inputs=inputs,
        outputs=tuple(map(_port, graph.outputs)),
        call=calling(graph),
        weights_sha256=weights,
        dtype=_own_dtype(inputs),
        device=device,
        again=lambda: load(path, device, False, cuts),
        double=cache(double),
        metadata=metadata,
        details=_details(graph, file),
        reference=Runtime(file, tuple(sorted(cuts))),
        census=taken_once(inside.census),
        locate=inside.locate,
        behind=partial(behind, file),
        part=cache(lambda outputs: calling(graph.with_outputs(outputs))),
        graph=lambda rows: graph.given(n for n in graph.optional_names if n in rows),
        shared=True,
    )


def _inputs(graph: Graph) -> tuple[Port, ...]:
    """Return what the graph takes; what it has a default for comes last."""
    constants = graph.program.constants
    required = [_port(info, None) for info in graph.inputs]
    return (
        *required,
        *(_port(info, described(constants[info.name])) for info in graph.optional),
    )


def _details(graph: Graph, file: OnnxFile) -> dict[str, object]:
    operators = sorted(set(graph.op_types))
    return {"opset": graph.opset, "operators": operators, **_left_out(graph, file)}


def _left_out(graph: Graph, file: OnnxFile) -> dict[str, str]:
    """Say which outputs of the file are none of the graph's, if any."""
    names = [info.name for info in file.message().graph.output]
    lost = [name for name in names if name not in graph.output_names]
    if not lost:
        return {}
    return {
        "told": f"left out of {file.path.name}: {', '.join(lost)}, made by operators "
        "that draw random numbers or are not implemented"
    }


def _double(network: Network) -> Network:
    """Return a network of float64 without its referee, which runs the file's types."""
    return replace(network, dtype=torch.float64, reference=None, locate=None)


def _port(info: ValueInfo, default: str | None = None) -> Port:
    dtype = "" if info.dtype is None else str(info.dtype).removeprefix("torch.")
    dtype = TEXT if info.is_text else dtype
    return Port(info.name, dtype, info.shape, default)


def _own_dtype(inputs: tuple[Port, ...]) -> torch.dtype:
    """Return the type of the first floating input; float32 if there is none."""
    for port in inputs:
        if port.dtype.startswith(("float", "double", "bfloat")):
            dtype = getattr(torch, port.dtype)
            assert isinstance(dtype, torch.dtype)
            return dtype
    return torch.float32
