"""A bug planted in one operator's derivative is found by the gates, and named."""

from functools import wraps

import pytest
import torch
from importer import onnx_zoo
from torch import Tensor

from audit.ground.errors import ModelError
from audit.importer import registry
from audit.models.onnx_file import load
from models.subjects import CPU, examined

FILES = [(name, False) for name in onnx_zoo.ZOO] + [("mlp", True), ("arithmetic", True)]


class TenPercentMore(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 1.1 * gradient


def wrong(value):
    """The same value with a derivative that is 10 % too large."""
    if isinstance(value, (tuple, list)):
        return type(value)(wrong(each) for each in value)
    if isinstance(value, Tensor) and value.requires_grad:
        return TenPercentMore.apply(value)
    return value


def plant(monkeypatch, op):
    """Plant the bug in every version of an operator of the default domain."""
    for entry in registry._OPERATORS[("", op)]:
        run = entry.run

        @wraps(run)
        def planted(*inputs, _run=run, **attributes):
            return wrong(_run(*inputs, **attributes))

        monkeypatch.setitem(entry.__dict__, "run", planted)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    files = {}
    for name, dynamo in FILES:
        module, shape = onnx_zoo.build(name)
        path = folder / f"{name}_{dynamo}.onnx"
        onnx_zoo.export(module, shape, str(path), dynamo)
        generator = torch.Generator().manual_seed(3)
        files[path] = torch.randn(12, *shape, generator=generator)
    return files


def smooth_ops(path):
    """The operators that a derivative passes on its way."""
    network = load(path, CPU, False, frozenset())
    graph = network.call.__closure__[0].cell_contents
    found = [graph.path_ops(graph.input_names[0], name) for name in graph.output_names]
    ops = {each.op for ops in found for each in ops if not each.zero_derivative}
    return sorted(op for op in ops if ("", op) in registry._OPERATORS)


def refusal(path, x):
    """What the gates say of a file; nothing if they let it pass."""
    try:
        examined(path, x)
    except ModelError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_the_zoo_passes(zoo):
    for path, x in zoo.items():
        found = examined(path, x)
        assert found.derivative_error_float64 < 1e-6, path
        assert found.forward_error < 1e-4


@pytest.mark.slow
def test_a_ten_percent_error_is_found_in_nearly_every_operator(zoo, monkeypatch):
    missed, named, planted = [], 0, 0
    for path, x in zoo.items():
        for op in smooth_ops(path):
            with monkeypatch.context() as patch:
                plant(patch, op)
                planted += 1
                said = refusal(path, x)
                if "derivative differs from central differences" not in said:
                    missed.append((path.stem, op))
                named += f"first at {op} " in said
    print(f"{planted} plantings, {planted - len(missed)} found, {named} named")
    print("missed:", missed)
    assert planted > 60
    assert len(missed) <= 0.07 * planted
    assert named >= 0.9 * planted
