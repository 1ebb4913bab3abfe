"""Graphs of few nodes in float64, and their Jacobians by autograd, row by row."""

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

from audit.importer import load_graph
from audit.importer.sweep import Axes, sweep_of

OPSET = 18


def graph_of(
    nodes,
    event,
    constants,
    inputs=(),
    outputs=("y",),
    opset=OPSET,
    kind=TensorProto.DOUBLE,
):
    """A graph from x [n, *event] in float64; `inputs` are (name, shape of a row)."""
    ports = [
        helper.make_tensor_value_info(name, kind, ["n", *shape])
        for name, shape in (("x", event), *inputs)
    ]
    made = [helper.make_tensor_value_info(n, kind, None) for n in outputs]
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "g", ports, made, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10
    return load_graph(model)


def by_autograd(graph, inputs):
    """Outputs side by side [n, P], and their Jacobian [n, P, d], row by row."""
    x = inputs[0].clone().requires_grad_()
    y = torch.cat([o.reshape(len(x), -1) for o in graph(x, *inputs[1:])], dim=1)
    rows = []
    for j in range(y.shape[1]):
        (g,) = torch.autograd.grad(
            y[:, j].sum(), x, retain_graph=True, allow_unused=True
        )
        rows.append(torch.zeros_like(x) if g is None else g)
    return y.detach(), torch.stack(rows, dim=1).flatten(2)


def swept(graph, inputs, picks=None, together=None, wide=0):
    """The same by the sweep, `together` inputs at a time, and `wide` where it is so."""
    few = [[v[np.resize(np.arange(len(v)), n)] for v in inputs] for n in (3, 2)]
    sweep = sweep_of(graph, ["x"], *few)
    linear = sweep.linearise(inputs)
    n, pieces, rows = len(inputs[0]), [], 0
    for value in linear.values:
        index = torch.arange(value[0].numel())
        index = index if picks is None else index[picks]
        pieces.append([Axes(rows, index, None, value)])
        rows += len(index)
    out = inputs[0].new_full((n, rows, inputs[0][0].numel()), torch.nan)
    for first in range(0, n, together or n):
        last = min(first + (together or n), n)
        linear.rows(pieces, first, last, out[first:last], wide)
    y = torch.cat([value.reshape(n, -1) for value in linear.values], dim=1)
    return sweep, y, out


def pushed(graph, inputs, tangents):
    """Tangents [n, K, d] pushed forward by the sweep [n, K, P]."""
    few = [[v[np.resize(np.arange(len(v)), n)] for v in inputs] for n in (3, 2)]
    linear = sweep_of(graph, ["x"], *few).linearise(inputs)
    before = tangents.clone()
    found = [
        tangents.new_zeros(*tangents.shape[:2], value[0].numel())
        if moved is None
        else moved.flatten(2)
        for value, moved in zip(linear.values, linear.columns(tangents), strict=True)
    ]
    assert torch.equal(tangents, before)
    return torch.cat(found, dim=2)


def compare(graph, inputs, together=None, wide=0):
    """Hold the sweep against autograd; return the sweep."""
    y, theirs = by_autograd(graph, inputs)
    sweep, value, ours = swept(graph, inputs, together=together, wide=wide)
    torch.testing.assert_close(value, y, rtol=1e-12, atol=1e-12)
    size = theirs.abs().max().clamp_min(1e-300)
    assert float((ours - theirs).abs().max() / size) < 1e-11
    return sweep


def node(op, inputs, outputs, **attributes):
    """A node, its inputs and outputs as words."""
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def normal(seed, *shape):
    """Normal numbers in float64."""
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
