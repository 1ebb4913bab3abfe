"""A torch module as an imported graph, by way of an ONNX export in memory.

Only a graph can be cut. Whoever uses one compares its numbers with the module's own.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import onnx
import torch
from torch import Tensor

from audit.importer import Graph, load_graph
from audit.models.exact_slopes import OPSET, exact_slopes
from audit.models.network import Values


def graph_of_module(
    module: object,
    inputs: Sequence[str],
    outputs: Sequence[str],
    example: Values,
    device: torch.device,
) -> Graph | None:
    """Return a ScriptModule or ExportedProgram as a graph; None if it does not export.

    Args:
        module: what is exported.
        inputs: names of its arguments, in order.
        outputs: names of its results.
        example: a few rows of every input, for a ScriptModule.
        device: where the graph runs.
    """
    arguments = tuple(example[name] for name in inputs if name in example)
    dtype = next((a.dtype for a in arguments if a.is_floating_point()), None)
    try:
        with _silence(), _operators():
            text = _exported(module, inputs, outputs, arguments)
        proto = onnx.load_model_from_string(text)
        wide = dtype if dtype == torch.float64 else None
        return load_graph(proto, dtype=wide, device=device)
    except Exception:  # exporters raise whatever their parts raise
        return None


def _exported(
    module: Any,  # noqa: ANN401
    inputs: Sequence[str],
    outputs: Sequence[str],
    arguments: tuple[Tensor, ...],
) -> bytes:
    if isinstance(module, torch.export.ExportedProgram):
        program = torch.onnx.export(
            module,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamo=True,
            optimize=not _normalises(module),
        )
        assert program is not None
        return bytes(program.model_proto.SerializeToString())
    file = io.BytesIO()
    wide = any(a.dtype == torch.float64 for a in arguments)
    with exact_slopes() if wide else contextlib.nullcontext():
        torch.onnx.export(
            _flat(module, arguments),
            arguments,
            file,  # type: ignore[arg-type]
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: "rows"} for name in (*inputs, *outputs)},
            opset_version=OPSET,
            dynamo=False,
        )
    return file.getvalue()


def _normalises(program: torch.export.ExportedProgram) -> bool:
    """Tell whether a program has a batch norm, which the exporter's optimiser folds.

    Its statistics go into the weights before it, in float32: that is another function,
    off by 1e-7, and nothing that is proven of it is proven of the file.
    """
    return any("batch_norm" in str(node.target) for node in program.graph.nodes)


class _Values(torch.nn.Module):
    """A module that returns what another one puts into a dict, in its order."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """Return the values."""
        return tuple(self.inner(*arguments).values())


def _flat(
    module: Any,  # noqa: ANN401
    arguments: tuple[Tensor, ...],
) -> Any:  # noqa: ANN401
    """Return a ScriptModule without the dict that it may return: exporters know none.

    What it calls stays a script, with its branches and sizes; the dict goes when the
    constants are folded in.
    """
    if not isinstance(module, torch.jit.ScriptModule):
        return module
    with torch.no_grad():
        if not isinstance(module(*arguments), dict):
            return module
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            _Values(module), arguments, check_trace=False
        )
        return torch.jit.freeze(traced.eval())


@contextlib.contextmanager
def _operators() -> Iterator[None]:
    """Have attention run by its operators: the whole encoder layer is none of ONNX."""
    whole = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(whole)


@contextlib.contextmanager
def _silence() -> Any:  # noqa: ANN401
    """Keep what an exporter prints and warns of to itself."""
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
            without_log_of_graphs(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


@contextlib.contextmanager
def without_log_of_graphs() -> Iterator[None]:
    """Keep torch from writing the graph of an export that fails to descriptor 1.

    That is done in C++, past `sys.stdout`, and every export switches it on again.
    """
    native: Any = torch._C
    with mock.patch.object(native, "_jit_onnx_log"):
        yield
