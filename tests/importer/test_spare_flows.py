"""Flows of zuko, as torch exports them, by programs that compute each number once.

Against the graph itself in float64, values and Jacobians by both inputs; the inverse of
an autoregressive flow of three coordinates runs three passes in the file, and one here.
"""

import pytest
import torch
from onnx_flows import Case, LogDensity, Sampler, apart, inputs, jacobians, zuko_flow

from audit.importer import load_graph
from audit.importer.spare import spared


@pytest.mark.sweep(3)
@pytest.mark.parametrize("direction", [LogDensity, Sampler])
@pytest.mark.parametrize("kind", ["MAF", "NSF"])
def test_flows(kind, direction, tmp_path):
    path = str(tmp_path / "flow.onnx")
    Case(kind, lambda: direction(zuko_flow(kind)), dynamo=False).export(path)
    graph = load_graph(path, dtype=torch.float64)
    given = inputs(40, torch.float64)
    program = spared(graph, given)
    (theirs,), (ours,) = graph(*given), program(given)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    expected = jacobians(lambda *v: graph(*v)[0], *given)
    found = jacobians(lambda *v: program(v)[0], *given)
    assert max(apart(a, b) for a, b in zip(found, expected, strict=True)) < 1e-12
    assert len(program.calls) < 0.3 * len(graph.plan.steps)
