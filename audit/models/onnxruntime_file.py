"""An ONNX file as onnxruntime runs it: the referee of our own importer.

Where onnxruntime has no kernel for an operator in the types of the file, the
standard's reference evaluator is the referee.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.ground.errors import AuditError, ModelError, cause
from audit.importer import OnnxFile
from audit.models.class_maps import numbers_of
from audit.models.network import TEXT, Port, Values
from audit.models.onnx_reference import Reference, is_lacking

_TYPES = {
    "float": "float32",
    "double": "float64",
    "bool": "bool",
    "string": TEXT,
    **{name: name for name in ("float16", "int8", "int16", "int32", "int64", "uint8")},
}
_BFLOAT16 = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16)
_AS_THE_STANDARD_SAYS = (
    ("session.qdq_matmulnbits_accuracy_level", "1"),
    ("session.disable_quant_qdq", "1"),
)
"""Products with dequantised numbers are in float32, and rounded where the file says so.

By default onnxruntime fuses such a product with the operators around it: it rounds
what weights are multiplied by to 8 bits, and a result otherwise than the file says.
"""


@dataclass(frozen=True)
class Runtime:
    """A file in onnxruntime; the session opens when it is first needed.

    Args:
        file: the file; onnxruntime itself opens none.
        inside: tensors inside the graph that become further outputs.
    """

    file: OnnxFile
    inside: tuple[str, ...] = ()

    def __call__(self, values: Values) -> dict[str, Tensor]:
        """Run the file on tensors of the types it declares; results lie beside them.

        Raises:
            ModelError: onnxruntime cannot open or run it.
        """
        arrays = {
            name: _array(value) if isinstance(value, Tensor) else value
            for name, value in values.items()
        }
        try:
            found = self._referee(arrays)
        except AuditError:
            raise
        except Exception as error:  # neither runtime's exceptions have a common base
            raise ModelError(
                f"Neither onnxruntime nor onnx.reference can run '{self._name}' "
                f"({cause(error)})"
                if self._lacks_kernels
                else f"onnxruntime cannot run '{self._name}' ({cause(error)})",
                "Every ONNX file is compared with an independent run of it before it "
                "is audited",
                "Export it in float32 (model.float()), or with another opset"
                if self._lacks_kernels
                else "Look at what it was given: robaudit inspect; export it again",
            ) from None
        tensors = {name: _numbers(result) for name, result in found.items()}
        device = next((value.device for value in values.values()), None)
        known = {name: value for name, value in tensors.items() if value is not None}
        return {name: value.to(device) for name, value in known.items()}

    @property
    def name(self) -> str:
        """Who runs the file."""
        return "onnx.reference" if self._lacks_kernels else "onnxruntime"

    def _referee(self, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, object]:
        """Return the outputs by name, of the reference where onnxruntime has none."""
        if self._lacks_kernels:
            return self._second(arrays)
        names = [output.name for output in self._session.get_outputs()]
        try:
            return dict(zip(names, self._session.run(names, arrays), strict=True))
        except Exception as error:
            if not is_lacking(error):
                raise
        self._state["lacks"] = True  # a kernel that it looks for when it runs
        return self._second(arrays)

    @property
    def _lacks_kernels(self) -> bool:
        """Whether onnxruntime lacks an operator in the types of the file."""
        if "lacks" not in self._state:
            self._state["lacks"] = self._takes_short_floats
            if self._state["lacks"]:
                return True
            try:
                self._session  # noqa: B018
            except Exception as error:
                if not is_lacking(error):
                    raise
                self._state["lacks"] = True
        return self._state["lacks"]

    @property
    def _takes_short_floats(self) -> bool:
        """Whether an input is of bfloat16, which onnxruntime takes from no array."""
        declared = self.file.message().graph.input
        kinds = [each.type.tensor_type.elem_type for each in declared]
        return onnx.TensorProto.BFLOAT16 in kinds

    @cached_property
    def _state(self) -> dict[str, bool]:
        return {}

    @cached_property
    def _second(self) -> Reference:
        proto, beside = self.file.whole(self.inside)
        kept = {tensor.name: tensor for tensor in beside}
        for place in proto.graph.initializer:
            if place.name in kept:
                place.CopyFrom(kept[place.name])
        return Reference(proto)

    @property
    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        """The inputs and outputs as onnxruntime reads them.

        An input with a default has the text "" for it.
        """
        try:
            session = self._session
        except AuditError:
            raise
        except Exception as error:  # as above
            raise ModelError(
                f"onnxruntime cannot open '{self._name}' ({cause(error)})",
                "Expected a complete ONNX file",
                "Export or download it again",
            ) from None
        optional = _ports(session.get_overridable_initializers())
        return (
            (
                *_ports(session.get_inputs()),
                *(replace(p, default="") for p in optional),
            ),
            _ports(session.get_outputs()),
        )

    @property
    def _name(self) -> str:
        return self.file.path.name

    @property
    def _session(self) -> onnxruntime.InferenceSession:
        return self._opened[0]

    @cached_property
    def _opened(
        self,
    ) -> tuple[onnxruntime.InferenceSession, list[onnxruntime.OrtValue]]:
        """The session, and the tensors beside its message: it only refers to them."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        for entry in _AS_THE_STANDARD_SAYS:
            options.add_session_config_entry(*entry)
        proto, beside = self.file.whole(self.inside)
        values = [_value(tensor) for tensor in beside]
        if beside:
            names = [tensor.name for tensor in beside]
            options.add_external_initializers(names, values)
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # it would print
        )
        return session, values


def _array(value: Tensor) -> NDArray[np.generic]:
    """Return a tensor as an array, of bfloat16 by its bits."""
    value = value.detach().cpu()
    if value.dtype != torch.bfloat16:
        return np.asarray(value.numpy())
    return value.contiguous().view(torch.int16).numpy().view(_BFLOAT16)


def _numbers(result: object) -> Tensor | None:
    """Return an output as a tensor; see `numbers_of`."""
    if isinstance(result, np.ndarray) and result.dtype == _BFLOAT16:
        bits = np.ascontiguousarray(result).view(np.int16).reshape(result.shape)
        return torch.from_numpy(bits).view(torch.bfloat16)
    return numbers_of(result)


def _value(tensor: onnx.TensorProto) -> object:
    """Return a tensor as onnxruntime takes it, also of types that NumPy lacks."""
    array = onnx.numpy_helper.to_array(tensor)
    if array.dtype.kind == "V" or array.dtype.isbuiltin != 1:
        array = array.view(f"u{array.dtype.itemsize}")
        make = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type
        return make(array, tensor.data_type)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _ports(declared: Sequence[onnxruntime.NodeArg]) -> tuple[Port, ...]:
    found = []
    for each in declared:
        kind = each.type.removeprefix("tensor(").removesuffix(")")
        shape = tuple(a if isinstance(a, (int, str)) else None for a in each.shape)
        found.append(Port(each.name, _TYPES.get(kind, ""), shape))
    return tuple(found)
