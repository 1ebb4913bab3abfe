"""ONNX files (`.onnx`): our importer computes, onnxruntime is its referee.

An ONNX file holds no code. `reference` runs the very file in onnxruntime, so that
every forward pass of the importer can be compared with an independent one.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.errors import ModelError
from audit.models.metadata import KEY, read_metadata
from audit.models.network import Arrays, Network, Port, Reference, Values
from audit.models.onnx import Graph, ValueInfo, load_graph


def load(
    path: Path, device: torch.device, trusted: bool, cuts: frozenset[str]
) -> Network:
    """Open an ONNX file, with the tensors `cuts` inside it as further outputs.

    Raises:
        ModelError: it is damaged, asks for too much, or uses unknown operators.
    """
    graph = load_graph(path, device=device)
    if cuts:
        graph = graph.with_outputs([*graph.output_names, *sorted(cuts)])
    return _network(graph, path, device, None)


def _network(
    graph: Graph, path: Path, device: torch.device, dtype: torch.dtype | None
) -> Network:
    def call(values: Values) -> dict[str, Tensor]:
        results = graph(*(values[name] for name in graph.input_names))
        named = dict(zip(graph.output_names, results, strict=True))
        return {name: v for name, v in named.items() if isinstance(v, Tensor)}

    weights, external = _weights(path)
    inputs = tuple(map(_port, graph.inputs))
    return Network(
        "onnx",
        (path, *external),
        inputs,
        tuple(map(_port, graph.outputs)),
        call,
        weights,
        dtype or _own_dtype(inputs),
        device,
        lambda: _network(graph.to(torch.float64), path, device, torch.float64),
        read_metadata(graph.metadata.get(KEY), path),
        {"opset": graph.opset, "operators": sorted(set(graph.op_types))},
        _reference(path),
    )


def _port(info: ValueInfo) -> Port:
    dtype = "" if info.dtype is None else str(info.dtype).removeprefix("torch.")
    return Port(info.name, dtype, info.shape)


def _own_dtype(inputs: tuple[Port, ...]) -> torch.dtype:
    """Return the type of the first floating input; float32 if there is none."""
    for port in inputs:
        if port.dtype.startswith(("float", "double", "bfloat")):
            dtype = getattr(torch, port.dtype)
            assert isinstance(dtype, torch.dtype)
            return dtype
    return torch.float32


def _reference(path: Path) -> Reference:
    """Return the file as onnxruntime runs it; the session opens at the first call."""

    @cache
    def session() -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def run(values: Arrays) -> dict[str, NDArray[np.generic]]:
        try:
            names = [output.name for output in session().get_outputs()]
            return dict(zip(names, session().run(names, dict(values)), strict=True))
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise ModelError(
                f"onnxruntime cannot run '{path.name}' ({_first_line(error)})",
                "Every ONNX file is compared with onnxruntime before it is audited",
                "Check the file with onnx.checker and export it again",
            ) from None

    return run


def _weights(path: Path) -> tuple[str, tuple[Path, ...]]:
    """Return the hash of all stored tensors, and the external files they are in."""
    proto = onnx.load(path, load_external_data=False)
    digest, external = hashlib.sha256(), dict[str, None]()
    constants = [a.t for n in proto.graph.node for a in n.attribute if a.HasField("t")]
    for tensor in [*sorted(proto.graph.initializer, key=lambda t: t.name), *constants]:
        digest.update(f"{tensor.name}:{tensor.data_type}:{list(tensor.dims)}".encode())
        if tensor.external_data:
            external |= {
                e.value: None for e in tensor.external_data if e.key == "location"
            }
        else:
            digest.update(onnx.numpy_helper.to_array(tensor).tobytes())
    files = tuple(path.parent / name for name in external)
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest(), files


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
