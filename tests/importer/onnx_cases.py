"""The cases that ship with onnx: which ones, and what they say should come out."""

import glob
import os
import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.loader import load_model_tests

EXTRA_KINDS = ("simple", "pytorch-converted", "pytorch-operator")


@dataclass
class Case:
    kind: str
    name: str
    model: onnx.ModelProto
    inputs: list
    outputs: list
    rtol: float
    atol: float

    @property
    def op(self):
        if self.kind != "node":
            return self.kind
        if "_expanded" in self.name:
            return "expanded functions"
        ops = {node.op_type for node in self.model.graph.node} - {"Constant"}
        return ops.pop() if len(ops) == 1 else "several operators"


def is_float(value):
    if isinstance(value, list | tuple):
        return any(is_float(item) for item in value)
    if not isinstance(value, np.ndarray):
        return False
    return value.dtype.kind == "f" or "float" in value.dtype.name


@cache
def node_cases():
    """Return the cases of single operators, made once: it takes seconds."""
    return list(_made())


def _made():
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    for case in found:
        for inputs, outputs in case.data_sets[:1]:
            yield Case(
                "node",
                case.name,
                case.model,
                [_array(value) for value in inputs],
                [_array(value) for value in outputs],
                max(case.rtol, 1e-3),
                max(case.atol, 1e-5),
            )


def _array(value):
    proto = isinstance(value, onnx.TensorProto)
    return numpy_helper.to_array(value) if proto else value


def stored_cases(kind):
    for case in load_model_tests(kind=kind):
        model = onnx.load(os.path.join(case.model_dir, "model.onnx"))
        folder = os.path.join(case.model_dir, "test_data_set_0")
        yield Case(
            kind,
            case.name,
            model,
            _read(folder, "input", model.graph.input),
            _read(folder, "output", model.graph.output),
            max(case.rtol, 1e-3),
            max(case.atol, 1e-5),
        )


def _read(folder, stem, infos):
    count = len(glob.glob(os.path.join(folder, f"{stem}_*.pb")))
    return [
        _value(os.path.join(folder, f"{stem}_{i}.pb"), infos[i]) for i in range(count)
    ]


def _value(path, info):
    with open(path, "rb") as file:
        content = file.read()
    if info.type.WhichOneof("value") == "sequence_type":
        sequence = onnx.SequenceProto.FromString(content)
        return numpy_helper.to_list(sequence)
    return numpy_helper.to_array(onnx.TensorProto.FromString(content))


def default_domain_only(case):
    return all(opset.domain in ("", "ai.onnx") for opset in case.model.opset_import)


def has_slope(value):
    """Whether a value holds floats wide enough to take a difference of."""
    if isinstance(value, list | tuple):
        return any(has_slope(item) for item in value)
    name = value.dtype.name if isinstance(value, np.ndarray | np.generic) else ""
    return name in ("bfloat16", "float16", "float32", "float64")


def smooth_cases():
    """The float cases on which a derivative can be checked."""
    return [c for c in float_cases() if has_slope(c.inputs) and has_slope(c.outputs)]


def float_cases():
    """Every case of the default domain that takes and gives floats."""
    every = [*node_cases(), *(c for kind in EXTRA_KINDS for c in stored_cases(kind))]
    return [
        case
        for case in every
        if default_domain_only(case)
        and is_float(case.inputs)
        and is_float(case.outputs)
    ]
