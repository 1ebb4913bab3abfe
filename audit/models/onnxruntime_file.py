"""An ONNX file as onnxruntime runs it: the referee of our own importer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import Tensor

from audit.errors import ModelError
from audit.models.network import Port, Values

_FOLDER = "session.model_external_initializers_file_folder_path"
_TYPES = {
    "float": "float32",
    "double": "float64",
    "bool": "bool",
    **{name: name for name in ("float16", "int8", "int16", "int32", "int64", "uint8")},
}


@dataclass(frozen=True)
class Runtime:
    """A file in onnxruntime; the session opens when it is first needed.

    Args:
        path: the file.
        inside: tensors inside the graph that become further outputs.
    """

    path: Path
    inside: tuple[str, ...] = ()

    def __call__(self, values: Values) -> dict[str, Tensor]:
        """Run the file on tensors of the types it declares.

        Raises:
            ModelError: onnxruntime cannot open or run it.
        """
        arrays = {name: value.detach().cpu().numpy() for name, value in values.items()}
        try:
            names = [output.name for output in self._session.get_outputs()]
            results = self._session.run(names, arrays)
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise ModelError(
                f"onnxruntime cannot run '{self.path.name}' ({_first_line(error)})",
                "Every ONNX file is compared with onnxruntime before it is audited",
                "Check the file with onnx.checker and export it again",
            ) from None
        return {
            name: torch.as_tensor(result)
            for name, result in zip(names, results, strict=True)
            if hasattr(result, "dtype")
        }

    @property
    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        """The inputs and outputs as onnxruntime reads them."""
        try:
            session = self._session
        except Exception as error:  # as above
            raise ModelError(
                f"onnxruntime cannot open '{self.path.name}' ({_first_line(error)})",
                "Expected a complete ONNX file",
                "Export or download it again",
            ) from None
        return _ports(session.get_inputs()), _ports(session.get_outputs())

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        source: str | bytes = str(self.path)
        if self.inside:
            source = with_outputs(self.path, self.inside)
            options.add_session_config_entry(_FOLDER, str(self.path.resolve().parent))
        return onnxruntime.InferenceSession(
            source,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # it would print
        )


def with_outputs(path: Path, names: Sequence[str]) -> bytes:
    """Return the file's graph with tensors inside it as further outputs."""
    proto = onnx.load(path, load_external_data=False)
    there = {output.name for output in proto.graph.output}
    proto.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names if name not in there
    )
    data = proto.SerializeToString()
    assert isinstance(data, bytes)
    return data


def _ports(declared: Sequence[onnxruntime.NodeArg]) -> tuple[Port, ...]:
    found = []
    for each in declared:
        kind = each.type.removeprefix("tensor(").removesuffix(")")
        shape = tuple(a if isinstance(a, (int, str)) else None for a in each.shape)
        found.append(Port(each.name, _TYPES.get(kind, ""), shape))
    return tuple(found)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
