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


def model(cases, source):
    """Slices of Shape(x) = [n, 2, 3], or of a constant, which never meet a tensor."""
    first = (
        make.make_node("Shape", ["x"], ["host"])
        if source == "shape"
        else make.make_node("Identity", ["kept"], ["host"])
    )
    nodes, outputs, given = [first], [], {"axis": [-1], "kept": [5, 6, 7]}
    for k, bounds in enumerate(cases):
        told = {f"{name}{k}": [value] for name, value in bounds.items()}
        said = [f"start{k}", f"end{k}", "axis", f"step{k}"]
        given |= told
        nodes += [
            make.make_node("Slice", ["host", *said], [f"cut{k}"]),
            make.make_node("Size", [f"cut{k}"], [f"count{k}"]),
            make.make_node("Slice", ["x", *said], [f"part{k}"]),
        ]
        outputs += [
            make.make_tensor_value_info(f"cut{k}", WHOLE, [None]),
            make.make_tensor_value_info(f"count{k}", WHOLE, []),
            make.make_tensor_value_info(f"part{k}", REAL, ["n", 2, None]),
        ]
    graph = make.make_graph(
        nodes,
        "g",
        [make.make_tensor_value_info("x", REAL, ["n", 2, 3])],
        outputs,
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
    for start in ENDS:
        cases = [
            {"start": start, "end": end, "step": step}
            for end, step in itertools.product(ENDS, STEPS)
        ]
        made = model(cases, source)
        path = tmp_path / "slice.onnx"
        onnx.save(made, path)
        session = onnxruntime.InferenceSession(made.SerializeToString())
        expected = threes(session.run(None, {"x": x}))
        ours = threes(load_graph(OnnxFile(path))(torch.from_numpy(x)))
        for case, found, wanted in zip(cases, ours, expected, strict=True):
            agree(case, found, wanted, whole)


def threes(values):
    return zip(*[iter(values)] * 3, strict=True)


def agree(case, found, wanted, whole):
    """Assert that one slice, its size and that of a tensor are onnxruntime's."""
    start, end, step = case.values()
    (ours, count, part), (theirs, _, cut) = found, wanted
    assert np.asarray(ours).tolist() == theirs.tolist(), case
    assert int(np.asarray(count)) == len(theirs), case
    assert part.tolist() == cut.tolist(), case
    if start >= -3 and end < 2**62 and (step > 0 or end >= -3):
        assert theirs.tolist() == whole[start:end:step].tolist(), case
