"""What shape arithmetic may make: the size of the result counts, not a product."""

from functools import partial

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from audit.ground.errors import ModelError
from audit.importer import load_graph
from audit.importer.foresight import Foreseen, Small
from audit.importer.limits import MAX_ELEMENTS
from audit.importer.ops import host, indexing
from audit.importer.program import Node

DRAWS = 20_480  # of five coordinates: their indices multiply to more than the limit


def small(op, run, **attributes):
    return Small(Node(op, (), (), attributes), run)


def indices(count):
    return np.arange(count, dtype=np.int64)


@pytest.mark.parametrize("op", ["Add", "Mul", "Max", "Where"])
def test_indices_of_many_draws_may_be_added_elementwise(op):
    run = {"Add": np.add, "Mul": np.multiply, "Max": host.max_, "Where": np.where}[op]
    operands = [indices(DRAWS)] * (3 if op == "Where" else 2)
    assert DRAWS**2 > MAX_ELEMENTS
    np.testing.assert_array_equal(small(op, run)(*operands), run(*operands))


@pytest.mark.parametrize("axis", [0, -1])
def test_and_gathered_and_joined(axis):
    x, index = indices(DRAWS), indices(DRAWS)[::-1]
    picked = small("Gather", host.gather, axis=axis)(x, index)
    np.testing.assert_array_equal(picked, index)
    joined = small("Concat", partial(host.concat, axis=0))(x, index)
    assert joined.shape == (2 * DRAWS,)


@pytest.mark.parametrize(
    ("op", "operands"),
    [
        ("Add", (indices(DRAWS)[:, None], indices(DRAWS)[None])),
        ("Gather", (indices(1 << 14).reshape(2, -1), np.zeros(1 << 15, np.int64))),
    ],
)
def test_what_makes_too_much_is_refused_before_it_runs(op, operands):
    def ran(*_):
        raise AssertionError("it ran")

    with pytest.raises(ModelError, match=f"The result of {op} would have the shape"):
        small(op, ran)(*operands)


def test_a_softplus_of_many_rows_is_not_rehearsed(tmp_path, monkeypatch):
    """As torch exports it; a rehearsal has torch import its compiler, for a second."""

    def rehearsed(*_):
        raise AssertionError("it was rehearsed")

    monkeypatch.setattr(Foreseen, "_rehearse", rehearsed)
    nodes = [
        helper.make_node("Softplus", ["x"], ["soft"]),
        helper.make_node("Greater", ["x", "limit"], ["large"]),
        helper.make_node("Where", ["large", "x", "soft"], ["y"]),
        helper.make_node("Concat", ["y", "x", "soft"], ["z"], axis=1),
    ]
    rows = np.random.default_rng(0).normal(0, 20, (512, 4)).astype(np.float32)
    limit = onnx.numpy_helper.from_array(np.float32(20.0), "limit")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])
        for name, width in (("x", 4), ("z", 12))
    ]
    graph = helper.make_graph(nodes, "softplus", ends[:1], ends[1:], [limit])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(model, tmp_path / "model.onnx")
    (found,) = load_graph(str(tmp_path / "model.onnx"))(torch.from_numpy(rows))
    soft = np.logaddexp(0, rows.astype(np.float64))
    wanted = np.concatenate([np.where(rows > 20, rows, soft), rows, soft], axis=1)
    assert rows.size**3 > MAX_ELEMENTS
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


class Made(TorchDispatchMode):
    """Keeps the largest number of elements of what is made in the block."""

    most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            made = [v.numel() for v in tree_leaves(result) if isinstance(v, Tensor)]
            self.most = max([self.most, *made])
        return result


OPERATORS = {
    "GatherElements": indexing.gather_elements,
    "ScatterElements": indexing.scatter_elements,
    "ScatterND": indexing.scatter_nd,
}
PLACED = {
    ("GatherElements", "none"): lambda x, at, new: torch.gather(x, 0, at[:, :2]),
    ("ScatterElements", "none"): lambda x, at, new: x.scatter(0, at[:, :2], new),
    ("ScatterElements", "max"): lambda x, at, new: x.scatter_reduce(
        0, at[:, :2], new, "amax"
    ),
    ("ScatterND", "none"): lambda x, at, new: x.index_put((at[:, 0],), new),
    ("ScatterND", "max"): lambda x, at, new: x.index_reduce(0, at[:, 0], new, "amax"),
}


@pytest.mark.parametrize(("op", "reduction"), PLACED)
@pytest.mark.parametrize("given", ["tensor", "array"])
def test_what_is_placed_by_index_is_no_larger_than_an_operand(
    op, reduction, given, monkeypatch
):
    """So it is not rehearsed, though its operands multiply to more than the limit."""
    monkeypatch.setattr(Foreseen, "_rehearse", None)
    torch.manual_seed(0)
    x, new = torch.randn(DRAWS, 2), torch.randn(DRAWS, 2)
    at = torch.randperm(DRAWS).unsqueeze(1).expand(-1, 2)
    index = at[:, :1] if op == "ScatterND" else at.contiguous()
    operands = (x, index if given == "tensor" else index.numpy())
    attributes = {} if op == "GatherElements" else {"reduction": reduction}
    operands = operands if op == "GatherElements" else (*operands, new)
    run = partial(OPERATORS[op], **attributes)
    with Made() as made:
        found = Foreseen(Node(op, (), (), attributes), run)(*operands)
    assert DRAWS**2 > MAX_ELEMENTS
    assert made.most <= x.numel()
    assert torch.equal(found, PLACED[op, reduction](x, at, new))
