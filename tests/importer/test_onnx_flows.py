"""Conditional flows, log q(theta|x) and theta = T(x, z), as torch exports them.

The eager module is the expected value, onnxruntime a second one. The flows of zuko run
always. Those of sbi (nflows) need sbi, which the main environment does not have:

    ROBAUDIT_SBI=1 python -m pytest tests/models/onnx/test_onnx_flows.py

Largest errors at 1, 3, 7 and 50 rows, 22 November 2026 (torch 2.13.0, zuko 1.6.0, sbi
0.27.0, nflows 0.14, onnx 1.23.2, onnxruntime 1.32.0): forward pass against onnxruntime
and against eager (absolute), Jacobian with respect to both inputs against eager in
float32 and, with both sides in float64, relative. Both exporters give the same figures
where both give a file.

                    onnxruntime   eager   Jacobian   in float64
    MAF   log_prob        1e-06       0          0        1e-09
    MAF   sample          5e-07       0          0        6e-10
    NSF   log_prob        6e-06       0      3e-07        3e-09
    NSF   sample          3e-06       0      2e-07        2e-09
    NICE  log_prob        5e-07       0          0        6e-10
    NICE  sample          2e-07       0          0        4e-10
    SOSPF log_prob        5e-07   5e-07      2e-07        1e-09
    SOSPF sample          1e-07       0      2e-07        7e-10
    sbi maf log_prob      2e-06       0          0        7e-10
    sbi maf sample        8e-06       0      1e-07        4e-10
    sbi nsf log_prob      1e-05       0      3e-07        1e-09
"""

import copy
import os

import onnxruntime
import pytest
import torch
from onnx_flows import (
    Case,
    DirectSampler,
    LogDensity,
    NflowsLogDensity,
    NflowsSampler,
    Sampler,
    apart,
    inputs,
    jacobians,
    sbi_net,
    zuko_flow,
)
from torch.func import jvp

from audit.ground.errors import ModelError
from audit.importer import load_graph

ON_REQUEST = pytest.mark.skipif(
    os.environ.get("ROBAUDIT_SBI") != "1",
    reason="needs sbi, or a minute: set ROBAUDIT_SBI=1",
)


def zuko_cases(kind, sampler=Sampler):
    makers = {
        f"{kind}-log_prob": lambda: LogDensity(zuko_flow(kind)),
        f"{kind}-sample": lambda: sampler(zuko_flow(kind)),
    }
    return [Case(n, make, dynamo) for n, make in makers.items() for dynamo in (1, 0)]


def sbi_cases(kind):
    makers = {
        f"sbi_{kind}-log_prob": lambda: NflowsLogDensity(sbi_net(kind)),
        f"sbi_{kind}-sample": lambda: NflowsSampler(sbi_net(kind)),
    }
    return [Case(n, make, dynamo) for n, make in makers.items() for dynamo in (1, 0)]


def bisected():
    return Sampler(zuko_flow("SOSPF"))


ZUKO = [case for kind in ("MAF", "NSF", "NICE") for case in zuko_cases(kind)]
ZUKO += zuko_cases("SOSPF", DirectSampler)
BISECTED = [Case("SOSPF-bisected_sample", bisected, dynamo) for dynamo in (1, 0)]
SBI = [case for kind in ("maf", "nsf") for case in sbi_cases(kind)]
SBI += sbi_cases("mdn")[:2]  # it samples by choosing a component: there is no T(x, z)

# What an exporter cannot do, why, and how it shows.
TRACED = "zuko integrates (and bisects) in an autograd.Function, opaque to the tracer"
GUARDS = "nflows branches on values of tensors, which torch.export does not follow"
SOLVE = "aten::triangular_solve, of nflows' LU layers, has no ONNX form"
NOT_EXPORTED = {
    "SOSPF-log_prob-legacy": (TRACED, "unordered_map"),
    "SOSPF-sample-legacy": (TRACED, "unordered_map"),
    "SOSPF-bisected_sample-legacy": (TRACED, "unordered_map"),
    "sbi_nsf-log_prob-dynamo": (GUARDS, "Failed to export"),
    "sbi_nsf-sample-dynamo": (GUARDS, "Failed to export"),
    "sbi_nsf-sample-legacy": (SOLVE, "triangular_solve"),
    "sbi_mdn-log_prob-dynamo": (GUARDS, "Failed to export"),
}
# What the legacy exporter writes as Add nodes without inputs: no reader can run it.
INVALID = {"NICE-log_prob-legacy", "NICE-sample-legacy", "sbi_mdn-log_prob-legacy"}


def good(cases):
    return [case for case in cases if str(case) not in {*NOT_EXPORTED, *INVALID}]


# By default both ways and exporters; most of their combinations are slow.
DIAGONAL = {
    "MAF-sample-dynamo",
    "NSF-log_prob-legacy",
    "NICE-sample-legacy",
}


def on_request(cases, chosen):
    def marks(case):
        if chosen(case):
            return [ON_REQUEST]
        return [] if str(case) in DIAGONAL else [pytest.mark.slow]

    return [pytest.param(case, marks=marks(case), id=str(case)) for case in cases]


@pytest.fixture(scope="module", params=on_request(good(ZUKO + SBI), SBI.__contains__))
def saved(request, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("flow") / "model.onnx")
    return request.param.export(path), path


def first(graph):
    return lambda x, theta: graph(x, theta)[0]


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_forward_equals_onnxruntime_and_eager(saved, rows):
    module, path = saved
    x, theta = inputs(rows)
    session = onnxruntime.InferenceSession(path)
    (expected,) = session.run(None, {"x": x.numpy(), "theta": theta.numpy()})
    (ours,) = load_graph(path)(x, theta)
    for theirs in (torch.from_numpy(expected), module(x, theta)):
        assert ours.shape == theirs.shape
        assert float((ours - theirs).abs().max()) <= 1e-5


@pytest.mark.parametrize("rows", [1, 7])
def test_jacobian_equals_eager(saved, rows):
    """With respect to the context (a density: its score) and to theta or z."""
    module, path = saved
    ours = jacobians(first(load_graph(path)), *inputs(rows))
    theirs = jacobians(module, *inputs(rows))
    for a, b in zip(ours, theirs, strict=True):
        assert apart(a, b) <= 1e-5


@pytest.mark.parametrize("rows", [1, 7])
def test_float64_equals_eager_in_float64(saved, rows):
    module, path = saved
    pair, graph = inputs(rows, torch.float64), load_graph(path, dtype=torch.float64)
    wide = copy.deepcopy(module).double()
    assert apart(graph(*pair)[0], wide(*pair)) <= 1e-6  # the file's constants: float32
    for a, b in zip(
        jacobians(first(graph), *pair), jacobians(wide, *pair), strict=True
    ):
        assert a.dtype is torch.float64
        assert apart(a, b) <= 1e-6


def test_jacobian_equals_differences_of_onnxruntime(saved):
    """Meaning, not only agreement with torch: a slope without torch's derivatives."""
    _, path = saved
    session, graph = onnxruntime.InferenceSession(path), first(load_graph(path))
    x, theta = inputs(40)
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(9))
    v /= v.norm(dim=1, keepdim=True)
    step = 1e-2

    def run(x):
        feeds = {"x": x.numpy(), "theta": theta.numpy()}
        return torch.from_numpy(session.run(None, feeds)[0]).reshape(len(x), -1)

    slope = jvp(lambda x: graph(x, theta).reshape(len(x), -1), (x,), (v,))[1]
    found = (run(x + step * v) - run(x - step * v)) / (2 * step)
    gap = (slope - found).norm(dim=1) / found.norm(dim=1)
    assert float(gap.median()) <= 5e-3  # single rows may cross a kink of the ReLUs


def test_condition_reaches_the_output(saved):
    graph = load_graph(saved[1])
    for name in graph.input_names:
        assert graph.reaches(name, graph.output_names[0])


@pytest.mark.parametrize(
    "case",
    on_request(
        [case for case in ZUKO + BISECTED + SBI if str(case) in NOT_EXPORTED],
        SBI.__contains__,
    ),
)
def test_an_exporter_that_cannot_still_cannot(case, tmp_path):
    _, sign = NOT_EXPORTED[str(case)]
    with pytest.raises(Exception, match=sign):
        case.export(str(tmp_path / "model.onnx"))


@pytest.mark.parametrize(
    "case",
    on_request([case for case in ZUKO + SBI if str(case) in INVALID], SBI.__contains__),
)
def test_an_invalid_export_is_refused_as_onnxruntime_does(case, tmp_path):
    path = str(tmp_path / "model.onnx")
    case.export(path)
    with pytest.raises(Exception, match="Add"):
        onnxruntime.InferenceSession(path)
    with pytest.raises(ModelError, match=r"lacks its input.*dynamo=True"):
        load_graph(path)


@ON_REQUEST
def test_a_bisected_sampler_runs_and_its_path_is_known_to_be_cut(tmp_path):
    """Exported (in a minute), the bisection is comparisons alone: no derivative."""
    path = str(tmp_path / "model.onnx")
    module = BISECTED[0].export(path)
    graph, pair = load_graph(path), inputs(3)
    assert float((graph(*pair)[0] - module(*pair)).abs().max()) <= 1e-5
    assert not graph.reaches("x", graph.output_names[0])
    assert any(
        step.zero_derivative for step in graph.path_ops("x", graph.output_names[0])
    )
