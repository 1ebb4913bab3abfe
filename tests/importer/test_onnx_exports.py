"""What both of torch's exporters write gives the eager module's numbers and slopes."""

import copy
import time

import onnx_zoo
import onnxruntime
import pytest
import torch
from torch.func import jacrev, jvp, vjp, vmap

from audit.importer import load_graph

NEW = ("arithmetic",)
"""What the new exporter writes by default, in seconds; the old one the others."""
CASES = [
    pytest.param(
        (name, dynamo),
        id=f"{name}-{'dynamo' if dynamo else 'legacy'}",
        marks=[] if dynamo == (name in NEW) else [pytest.mark.slow],
    )
    for name in onnx_zoo.ZOO
    for dynamo in (True, False)
]


@pytest.fixture(scope="module", params=CASES)
def saved(request, tmp_path_factory):
    name, dynamo = request.param
    module, shape = onnx_zoo.build(name)
    path = str(tmp_path_factory.mktemp(name) / "model.onnx")
    onnx_zoo.export(module, shape, path, dynamo)
    return onnx_zoo.Saved(name, module, shape, path)


def flat(function):
    """All outputs in one vector."""

    def run(x):
        out = function(x)
        parts = out if isinstance(out, tuple) else (out,)
        return torch.cat([part.reshape(-1) for part in parts])

    return run


def apart(a, b):
    """Relative Frobenius distance."""
    return float(((a - b).norm() / b.norm()).detach())


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_forward_equals_onnxruntime(saved, rows):
    session = onnxruntime.InferenceSession(saved.path)
    x = saved.inputs(rows)
    expected = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    got = load_graph(saved.path)(x)
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.shape == theirs.shape
        assert float((ours - torch.from_numpy(theirs)).abs().max()) <= 1e-5


def test_jacobian_equals_eager(saved):
    x = saved.inputs(3)
    ours = jacrev(flat(load_graph(saved.path)))(x)
    theirs = torch.autograd.functional.jacobian(flat(saved.module), x)
    assert apart(ours, theirs) <= 1e-5


def test_float64_equals_eager_in_float64(saved):
    x = saved.inputs(3, torch.float64)
    graph = load_graph(saved.path, dtype=torch.float64)
    module = copy.deepcopy(saved.module).double()
    assert all(out.dtype is torch.float64 for out in graph(x))
    assert apart(flat(graph)(x), flat(module)(x)) <= 1e-6  # constants in float32
    ours = jacrev(flat(graph))(x)
    theirs = torch.autograd.functional.jacobian(flat(module), x)
    assert apart(ours, theirs) <= 1e-6


def test_float64_jacobian_equals_differences_of_its_own_forward_pass(saved):
    x = saved.inputs(2, torch.float64)
    graph = flat(load_graph(saved.path, dtype=torch.float64))
    v = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator())
    slope = jvp(graph, (x,), (v,))[1]
    step = 1e-6
    assert apart(slope, (graph(x + step * v) - graph(x - step * v)) / (2 * step)) < 1e-6


def test_double_backward_equals_eager(saved):
    def bent(function, x):
        out = flat(function)(x)
        (grad,) = torch.autograd.grad((out**2).sum(), x, create_graph=True)
        return torch.autograd.grad((grad**2).sum(), x)[0]

    x = saved.inputs(2).requires_grad_()
    ours = bent(load_graph(saved.path), x)
    math = torch.nn.attention.SDPBackend.MATH  # the fused one has no second derivative
    with torch.nn.attention.sdpa_kernel(math):
        theirs = bent(saved.module, x)
    assert apart(ours, theirs) <= 1e-4


def test_transforms_agree(saved):
    x = saved.inputs(2, torch.float64)
    graph = flat(load_graph(saved.path, dtype=torch.float64))
    v = torch.randn(x.shape, dtype=torch.float64)
    out, pull = vjp(graph, x)
    u = torch.randn(out.shape, dtype=torch.float64)
    forward = jvp(graph, (x,), (v,))[1] @ u
    backward = (pull(u)[0] * v).sum()
    assert torch.allclose(forward, backward, rtol=1e-9)


def test_vmap_of_jacrev_equals_row_by_row(saved):
    x = saved.inputs(3, torch.float64)
    graph = load_graph(saved.path, dtype=torch.float64)
    by_row = torch.stack([jacrev(flat(graph))(row[None])[:, 0] for row in x])
    at_once = vmap(jacrev(lambda row: flat(graph)(row[None])))(x)
    assert torch.allclose(by_row, at_once, rtol=1e-9, atol=1e-12)


def test_cleaning_up_changes_no_number(saved):
    x = saved.inputs(3)
    plain, clean = load_graph(saved.path, simplify=False), load_graph(saved.path)
    fuses = "Sigmoid" in plain.op_types  # x * Sigmoid(x): the last bit may move
    for a, b in zip(plain(x), clean(x), strict=True):
        assert (
            torch.allclose(a, b, rtol=1e-6, atol=1e-6) if fuses else torch.equal(a, b)
        )


def test_every_internal_tensor_can_be_an_output(saved):
    x = saved.inputs(2)
    graph = load_graph(saved.path)
    for name in graph.tensor_names:
        (value,) = graph.with_outputs([name])(x)
        assert isinstance(value, torch.Tensor)


def test_loading_is_quick(saved):
    load_graph(saved.path)
    start = time.perf_counter()
    load_graph(saved.path)
    assert time.perf_counter() - start < 0.3


def test_path_reaches_the_outputs(saved):
    graph = load_graph(saved.path)
    for output in graph.output_names:
        path = graph.path_ops(graph.input_names[0], output)
        assert path
        assert graph.reaches(graph.input_names[0], output)


OLD = [(name, opset) for name in ("cnn", "mdn", "deep_set") for opset in (7, 9, 11, 15)]
OLD += [("gru", 11), ("bi_lstm", 14), ("residual", 9), ("arithmetic", 13)]


@pytest.mark.parametrize(("name", "opset"), OLD)
def test_older_opsets_equal_onnxruntime(name, opset, tmp_path):
    module, shape = onnx_zoo.build(name)
    path = str(tmp_path / "model.onnx")
    onnx_zoo.export(module, shape, path, dynamo=False, opset=opset)
    graph = load_graph(path)
    assert graph.opset == opset
    x = onnx_zoo.Saved(name, module, shape, path).inputs(3)
    expected = onnxruntime.InferenceSession(path).run(None, {"x": x.numpy()})
    for ours, theirs in zip(graph(x), expected, strict=True):
        assert float((ours - torch.from_numpy(theirs)).abs().max()) <= 1e-5
    ours = jacrev(flat(graph))(x)
    theirs = torch.autograd.functional.jacobian(flat(module), x)
    assert apart(ours, theirs) <= 1e-5
