"""Names of a body are seen in the body alone, and hide those from around it."""

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from audit.ground.errors import ModelError
from audit.importer import load_graph

X = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float32)


def value(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def model(body, before=()):
    """c ? body(x) : Neg(x), after some nodes of the outer graph; its output is y."""
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["n"])], "e", [], [value("n")]
    )
    branch = helper.make_graph(body, "t", [], [value(body[-1].output[0])])
    choose = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=other)
    shapes = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3]),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    graph = helper.make_graph([*before, choose], "g", shapes, [value("y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def run(proto, yes=True):
    (y,) = load_graph(proto)(X, torch.tensor(yes))
    return y


def test_a_value_of_a_body_may_be_called_like_the_result_of_its_node():
    proto = model([helper.make_node("Sin", ["x"], ["y"])])
    torch.testing.assert_close(run(proto), X.sin())
    torch.testing.assert_close(run(proto, False), -X)


def test_a_value_of_a_body_may_be_called_like_one_that_is_made_around_it():
    outer = helper.make_node("Exp", ["x"], ["h"])
    proto = model(
        [helper.make_node("Sin", ["x"], ["h"]), helper.make_node("Neg", ["h"], ["k"])],
        [outer],
    )
    torch.testing.assert_close(run(proto), -X.sin())


def test_a_body_reads_what_is_made_around_it():
    outer = helper.make_node("Exp", ["x"], ["h"])
    proto = model([helper.make_node("Neg", ["h"], ["k"])], [outer])
    torch.testing.assert_close(run(proto), -X.exp())


def test_a_name_of_two_meanings_in_one_body_is_refused():
    outer = helper.make_node("Exp", ["x"], ["h"])
    proto = model(
        [
            helper.make_node("Neg", ["h"], ["k"]),
            helper.make_node("Sin", ["x"], ["h"]),
            helper.make_node("Add", ["h", "k"], ["s"]),
        ],
        [outer],
    )
    with pytest.raises(ModelError, match="makes 'h' in a subgraph"):
        load_graph(proto)


def test_a_value_made_twice_in_one_graph_is_still_refused():
    proto = model([helper.make_node("Sin", ["x"], ["k"])])
    proto.graph.node.insert(0, helper.make_node("Sin", ["x"], ["y"]))
    with pytest.raises(ModelError, match="'y' is made twice"):
        load_graph(proto)
    assert isinstance(proto, onnx.ModelProto)
