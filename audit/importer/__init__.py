"""ONNX graphs as differentiable torch functions.

    from audit.importer import load_graph
    graph = load_graph("model.onnx")
    (phi,) = graph(x)

Reverse mode, double backward and torch.func work on the result wherever the operators
permit. Nothing here knows of densities. Where to find things: `loading` reads files,
`registry` and `ops/` hold the operators, `build` makes the plan that `graph` runs.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import torch
from onnx import ModelProto

from audit.ground.errors import ModelError, boundary
from audit.importer.exposed import ExposedFile
from audit.importer.functions import expand
from audit.importer.graph import Graph, ValueInfo
from audit.importer.loading import read_model
from audit.importer.paths import PathOp
from audit.importer.readable import readable
from audit.importer.source import OnnxFile
from audit.importer.straight_through import straight_through
from audit.importer.values import Policy

__all__ = ["ExposedFile", "Graph", "OnnxFile", "PathOp", "ValueInfo", "load_graph"]


def load_graph(
    source: str | Path | ModelProto | OnnxFile,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    simplify: bool = True,
    quantised: Literal["exact", "straight_through"] = "exact",
    inside: Collection[str] | None = None,
) -> Graph:
    """Read an ONNX model as a torch function.

    Args:
        source: path of the file (with its external data beside it), the file opened,
            or a ModelProto.
        dtype: evaluate every floating tensor in this type; None: as the file says.
        device: where to keep constants and run; None: the CPU.
        simplify: fold constants, drop dead and duplicate nodes first.
        quantised: derivative of QuantizeLinear / DequantizeLinear pairs: "exact" is
            zero and `path_ops` says so; "straight_through" is one inside their range.
        inside: tensors inside that are asked for: where there are any, outputs that
            depend on an operator we do not have are left out.

    Raises:
        ModelError: the file is missing, damaged or asks for too much.
        UnsupportedOperator: it uses an operator that is not implemented.
    """
    given = "The graph"
    if not isinstance(source, ModelProto):
        given = f"'{getattr(source, 'path', source)}'"
    with boundary(
        f"{given} cannot be read",
        "Expected a graph of the ONNX standard",
        "Check it with onnx.checker, and export it again",
        ModelError,
    ):
        return _loaded(source, dtype, device, simplify, quantised, inside)


def _loaded(
    source: str | Path | ModelProto | OnnxFile,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
    simplify: bool,
    quantised: str,
    inside: Collection[str] | None,
) -> Graph:
    model = read_model(source)
    place = torch.device(device) if device is not None else None
    opset = model.opsets.get("", 0)
    program = expand(model)
    if quantised == "straight_through":
        program = straight_through(program)
    if inside is not None:
        program = readable(program, inside)
    return Graph(program, Policy(dtype, place), opset, model.metadata, simplify)
