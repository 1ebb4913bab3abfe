"""One module as ONNX, torch.export or TorchScript, with its contract inside.

Exporters note where they ran: source paths, stack traces. They are taken out again.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import onnx
import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from audit.export.densities import Foreign
from audit.ground.errors import ModelError
from audit.models.metadata import KEY
from audit.models.torch_to_graph import without_log_of_graphs

Example = Mapping[str, Tensor]
Writer = Callable[[nn.Module, Path, Example, str], None]
SHAPES_ALONE = ("audit", "nflows", "numpy", "sbi", "torch", "zuko")
NOTES = ("stack_trace", "from_node", "source_fn_stack", "custom", "nn_module_stack")


def write_onnx(module: nn.Module, path: Path, example: Example, text: str) -> None:
    """Write an ONNX file by the exporter that follows torch.export."""
    program = torch.onnx.export(
        module,
        tuple(example.values()),
        dynamo=True,
        input_names=list(example),
        output_names=_output_names(module, example),
        dynamic_shapes=_shapes(example),
        opset_version=20,
        verbose=False,
    )
    assert program is not None
    _finish_onnx(program.model_proto, path, text)


def write_legacy_onnx(
    module: nn.Module, path: Path, example: Example, text: str
) -> None:
    """Write an ONNX file by the older exporter, which follows a trace."""
    names = _output_names(module, example)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            module,
            tuple(example.values()),
            file,
            dynamo=False,
            input_names=list(example),
            output_names=names,
            dynamic_axes={name: {0: "batch"} for name in (*example, *names)},
            opset_version=17,
        )
        _finish_onnx(onnx.load(file), path, text)


def write_traced_onnx(
    module: nn.Module, path: Path, example: Example, text: str
) -> None:
    """Write an ONNX file by a trace, a tenth of the time that torch.export takes.

    A trace keeps the branch that its example took, and says so. Libraries branch on
    shapes; whoever else branches may do so on values, and is not traced here.

    Raises:
        ModelError: code that is no library's asks for the value of a tensor.
    """
    with (
        warnings.catch_warnings(record=True) as said,
        mock.patch.object(Tensor, "unflatten", _unflattened),
    ):
        warnings.simplefilter("always", TracerWarning)
        write_legacy_onnx(module, path, example, text)
    noted = (one for one in said if issubclass(one.category, TracerWarning))
    others = [one for one in noted if not _of_library(one.filename)]
    if others:
        raise ModelError(
            f"A trace would keep a branch of {Path(others[0].filename).name}:"
            f"{others[0].lineno}",
            "Expected a network that computes the same way for every x",
            "Use torch.where for if",
        )


def _unflattened(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Return x.unflatten(dim, sizes) by sizes that a trace sees.

    The exporter takes those around `dim` for what the example had, rows included.
    """
    at = dim % x.dim()
    return x.reshape(*x.shape[:at], *sizes, *x.shape[at + 1 :])


def _of_library(file: str) -> bool:
    """Tell whether a file is of a library whose branches are on shapes."""
    modules = (sys.modules.get(name) for name in SHAPES_ALONE)
    places = (str(m.__file__) for m in modules if m is not None and m.__file__)
    return any(Path(file).is_relative_to(Path(place).parent) for place in places)


def write_exported(module: nn.Module, path: Path, example: Example, text: str) -> None:
    """Write a torch.export archive."""
    program = torch.export.export(
        module, tuple(example.values()), dynamic_shapes=_shapes(example)
    )
    for part in program.graph_module.modules():
        if isinstance(part, torch.fx.GraphModule):
            for node in part.graph.nodes:
                for note in NOTES:
                    node.meta.pop(note, None)
    raw = io.BytesIO()
    torch.export.save(program, raw, extra_files={KEY: text})
    _rewrite_zip(raw, path)


def write_torchscript(
    module: nn.Module, path: Path, example: Example, text: str
) -> None:
    """Write a trace as TorchScript."""
    traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
        module, tuple(example.values()), strict=False, check_trace=False
    )
    raw = io.BytesIO()
    torch.jit.save(traced, raw, _extra_files={KEY: text})
    _rewrite_zip(raw, path)


TRACED: dict[str, tuple[Writer, ...]] = {".onnx": (write_traced_onnx, write_onnx)}
"""Of a density, whose splines take torch.export half a minute."""
WRITERS: dict[str, tuple[Writer, ...]] = {
    ".onnx": (write_onnx, write_legacy_onnx),
    ".pt2": (write_exported,),
    ".pt": (write_torchscript,),
}


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Hold back what exporters print, and drop the symbols they leave in zuko."""
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            without_log_of_graphs(),
        ):
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
            yield
    finally:
        logging.disable(logging.NOTSET)
        utils = sys.modules.get("zuko.utils")
        if utils is not None:
            utils.GaussLegendre.nodes.cache_clear()


def _shapes(example: Example) -> tuple[dict[int, Any], ...]:
    batch = torch.export.Dim("batch")
    return tuple({0: batch} for _ in example)


def _output_names(module: nn.Module, example: Example) -> list[str]:
    with torch.no_grad():
        return list(module(*example.values()))


def _rewrite_zip(raw: io.BytesIO, path: Path) -> None:
    """Copy an archive undated, its graph compressed, without source positions."""
    with zipfile.ZipFile(raw) as old, zipfile.ZipFile(path, "w") as new:
        for item in old.infolist():
            if item.filename.endswith(".debug_pkl"):
                continue
            copied = zipfile.ZipInfo(item.filename)
            if item.filename.endswith((".json", ".py")):
                copied.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(copied, old.read(item))


def _finish_onnx(proto: onnx.ModelProto, path: Path, text: str) -> None:
    _strip(proto)
    proto.metadata_props.add(key=KEY, value=text)
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _strip(message: Foreign) -> None:
    """Remove doc strings and metadata at every level."""
    for field, value in message.ListFields():
        if field.name in {"doc_string", "metadata_props"}:
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE:
            repeated = not isinstance(value, type(message)) and hasattr(value, "append")
            for part in value if repeated else (value,):
                _strip(part)
