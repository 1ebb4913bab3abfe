"""Slices of host values and of tensors with ends beyond either side of an axis."""

import itertools

import numpy as np
import onnx
import onnx.helper as make
import onnxruntime
import pytest
import torch

from audit.importer import OnnxFile, load_graph

ENDS = (-(2**63), -10, -3, -1, 0, 2, 9, 2**63 - 1)
STEPS = (1, -1, -2)
REAL, WHOLE = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def model(start, end, step, source):
    """Slices of Shape(x) = [n, 2, 3], or of a constant, which never meet a tensor."""
    first = (
        make.make_node("Shape", ["x"], ["host"])
        if source == "shape"
        else make.make_node("Identity", ["kept"], ["host"])
    )
    nodes = [
        first,
        make.make_node("Slice", ["host", "start", "end", "axis", "step"], ["cut"]),
        make.make_node("Size", ["cut"], ["count"]),
        make.make_node("Slice", ["x", "start", "end", "axis", "step"], ["part"]),
    ]
    given = {
        "start": [start],
        "end": [end],
        "axis": [-1],
        "step": [step],
        "kept": [5, 6, 7],
    }
    graph = make.make_graph(
        nodes,
        "g",
        [make.make_tensor_value_info("x", REAL, ["n", 2, 3])],
        [
            make.make_tensor_value_info("cut", WHOLE, [None]),
            make.make_tensor_value_info("count", WHOLE, []),
            make.make_tensor_value_info("part", REAL, ["n", 2, None]),
        ],
        [
            onnx.numpy_helper.from_array(np.array(value, np.int64), name)
            for name, value in given.items()
        ],
    )
    opsets = [make.make_opsetid("", 17)]
    return make.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("source", ["shape", "constant"])
def test_slices_of_host_values_are_those_of_onnxruntime(tmp_path, source):
    x = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    whole = np.array([4, 2, 3] if source == "shape" else [5, 6, 7])
    for start, end, step in itertools.product(ENDS, ENDS, STEPS):
        made = model(start, end, step, source)
        path = tmp_path / "slice.onnx"
        onnx.save(made, path)
        found, count, part = load_graph(OnnxFile(path))(torch.from_numpy(x))
        session = onnxruntime.InferenceSession(made.SerializeToString())
        wanted, _, cut = session.run(None, {"x": x})
        case = f"[{start}:{end}:{step}]"
        assert np.asarray(found).tolist() == wanted.tolist(), case
        assert int(np.asarray(count)) == len(wanted), case
        assert part.tolist() == cut.tolist(), case
        if start >= -3 and end < 2**62 and (step > 0 or end >= -3):
            assert wanted.tolist() == whole[start:end:step].tolist(), case
