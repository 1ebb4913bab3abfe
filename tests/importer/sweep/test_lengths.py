"""Distances at the points they are measured from: a slope, or none, never a guess.

The kernels of Gaussian processes are functions of d = |x − a|. Of Matérn's with
ν = 3/2, k = (1 + √3 d) e^(−√3 d), the gradient is −3 (x − a) e^(−√3 d) everywhere, zero
at a; ν = 1/2, e^(−d), has a kink at a.
"""

import numpy as np
import onnx
import pytest
import torch
from sweep_graphs import by_autograd, swept

from audit.importer import load_graph

CENTRES = np.array([[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5]])
WEIGHTS = np.array([[0.8], [-1.3], [0.4]])
HEAD = """<ir_version: 9, opset_import: ["" : 18, "com.microsoft" : 1]>
    g (double[n, 2] x) => (double[n, 1] y) <
        double c = {1.7320508075688772}, double one = {1.0}, double two = {2.0},
        int64[1] middle = {1}, int64[1] last = {2}, int64[1] columns = {1}> {"""
DIFFERENCES = """
    row = Unsqueeze(x, middle)
    apart = Sub(row, centres)"""
SQUARES = {
    "a sum of squares": f"""{DIFFERENCES}
        q = ReduceSumSquare<keepdims = 0>(apart, last)""",
    "products": f"""{DIFFERENCES}
        each = Mul(apart, apart)
        q = ReduceSum<keepdims = 0>(each, last)""",
    "powers": f"""{DIFFERENCES}
        each = Pow(apart, two)
        some = Div(each, two)
        half = ReduceSum<keepdims = 0>(some, last)
        q = Add(half, half)""",
    "a scan": """
        kept, rows = Scan<num_scan_inputs = 1, body = b
            (double[3, 2] held, double[2] next) => (double[3, 2] on, double[3] row) {
                on = Identity(held)
                apart = Sub(held, next)
                row = ReduceSumSquare<keepdims = 0>(apart, columns) }>(centres, x)
        q = Identity(rows)""",
}
MATERN = """
    r = Mul(d, c)
    more = Add(one, r)
    less = Neg(r)
    decay = Exp(less)
    k = Mul(more, decay)
    y = MatMul(k, weights) }"""
KINKED = "less = Neg(d) k = Exp(less) y = MatMul(k, weights) }"

X = torch.tensor([*CENTRES, [0.1, 0.2]], dtype=torch.float64)

WAYS = [
    (squares, way)
    for squares in SQUARES
    for way in (by_autograd, swept)
    if (squares, way) != ("a scan", swept)  # loops are not swept
]


def graph_of_text(body):
    proto = onnx.parser.parse_model(HEAD + body)
    for name, array in (("centres", CENTRES), ("weights", WEIGHTS)):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return load_graph(proto)


def jacobian(way, graph, x=X):
    """The gradient of the one output [n, d]."""
    return way(graph, [x])[-1][:, 0].numpy()


def gradient(x):
    """The gradient of the sum of Matérn's kernels, in closed form."""
    apart = x[:, None] - CENTRES
    decay = np.exp(-np.sqrt(3) * np.linalg.norm(apart, axis=-1))
    return np.einsum("nkd,nk,k->nd", -3 * apart, decay, WEIGHTS[:, 0])


@pytest.mark.parametrize(("squares", "way"), WAYS)
def test_a_smooth_kernel_has_its_slope_at_its_centre(squares, way):
    graph = graph_of_text(f"{SQUARES[squares]} d = Sqrt(q) {MATERN}")
    found = jacobian(way, graph)
    assert np.abs(found - gradient(X.numpy())).max() < 1e-14


@pytest.mark.parametrize("way", [by_autograd, swept])
def test_distances_of_onnxruntime_are_lengths_too(way):
    distances = 'd = com.microsoft.CDist<metric = "euclidean">(x, centres)'
    found = jacobian(way, graph_of_text(distances + MATERN))
    assert np.abs(found - gradient(X.numpy())).max() < 1e-14


@pytest.mark.parametrize(("squares", "way"), WAYS)
def test_a_kink_has_no_slope(squares, way):
    graph = graph_of_text(f"{SQUARES[squares]} d = Sqrt(q) {KINKED}")
    found = jacobian(way, graph)
    assert np.isnan(found[:3]).all()
    assert np.isfinite(found[3]).all()


@pytest.mark.parametrize("way", [by_autograd, swept])
def test_what_is_no_sum_of_squares_keeps_the_slope_of_a_root(way):
    """√x² of x ≥ 0 is x, whose slope is one, and 0 · ∞ does not say so."""
    graph = graph_of_text(
        """first = Gather<axis = 1>(x, middle) d = Sqrt(first) y = Mul(d, d) }"""
    )
    x = torch.tensor([[1.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    found = jacobian(way, graph, x)
    assert np.isnan(found[0, 1])
    assert np.allclose(found[1], [0, 1])
