"""Every plan that applies gives the same numbers, to rounding."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from models.saved import onnx_file
from scans import SAMPLES, columns, sample, scan

from audit.config import ModelConfig, ScanConfig
from audit.config.planned import read_plan
from audit.geometry.divergences import build_divergence
from audit.ground.errors import ConfigError
from audit.measure import measure
from audit.measure.preparation import prepare
from audit.measure.shapes import shapes_of
from audit.models.products import ByProducts
from audit.models.swept import SweptMap
from audit.reports.json import to_json

ROWS = 4
CLOSE = 1e-9
SHARES = ("share", "overlap", "angle", "alignment", "attained")
"""Of directions, which a small gap makes less certain than eigenvalues."""
NAMED = ("rows=autograd", "rows=forward", "side=rows", "side=features", "chunk=3")
SWEPT = ("rows=sweep", "rows=sweep,pull=1", *NAMED)
FLOW = ("rows=forward", "rows=pulled", "side=features", "cut=off", "chunk=3")


def sampled(name, suffix=".onnx", **options):
    model = ModelConfig(str(SAMPLES / f"{name}{suffix}"), dtype="float64")
    data = str(SAMPLES / f"{name}.npz")
    return replace(ScanConfig(model=model, data=data, draws_per_input=64), **options)


def numbers(config):
    """Return the plan, and by name the columns and the forms Σ λ v vᵀ / λ₁."""
    prepared = prepare(replace(config, limit=ROWS, verify=0), True)
    block, index = prepared.block, np.arange(ROWS)
    parts = [
        measure(prepared.model, prepared.questions, index[i : i + block], block)
        for i in range(0, ROWS, block)
    ]
    found = {
        f"{name}.{q}": np.concatenate([one.columns[name][q].numbers for one in parts])
        for name, quantities in parts[0].columns.items()
        for q in quantities
    }
    for name in parts[0].eigenvalues:
        v = np.concatenate([one.directions[name] for one in parts])
        sizes = np.concatenate([one.eigenvalues[name] for one in parts])
        shares = sizes / sizes[:, :1]
        v = v.reshape(*shares.shape, -1)
        found[f"{name}.form"] = np.einsum("nk,nkd,nke->nde", shares, v, v)
    return prepared.questions.plan, found


def held_against(found, known, close=CLOSE, loose=1e-6):
    assert set(found) == set(known)
    for name, expected in known.items():
        part = name.endswith(SHARES) or name.endswith(("form", "role_overlap"))
        tolerance = {"rtol": 0, "atol": loose} if part else {"rtol": close, "atol": 0}
        np.testing.assert_allclose(found[name], expected, err_msg=name, **tolerance)


CASES = [
    *(("heteroscedastic", plan) for plan in (*NAMED, "rows=sweep")),
    *(("digits_cnn", plan) for plan in SWEPT),
    *(("counts", plan) for plan in ("rows=sweep", "rows=forward", "side=features")),
]
SLOW = [
    *(("mixture", plan) for plan in SWEPT),
    *(("zuko_nsf", plan) for plan in FLOW),
    *(("decoder", plan) for plan in ("slopes=sweep", "side=features", "chunk=3")),
]


CASES += [pytest.param(*case, marks=pytest.mark.slow) for case in SLOW]


@pytest.mark.sweep(2)
@pytest.mark.parametrize(("name", "plan"), CASES)
def test_every_plan_gives_the_numbers_of_the_default(name, plan):
    fixed = read_plan(plan)
    _, known = numbers(sampled(name))
    made, found = numbers(sampled(name, plan=fixed))
    assert {n: str(made.record()[n]) for n in fixed} == fixed
    held_against(found, known)


@pytest.mark.parametrize(
    "suffix", [".pt", pytest.param(".pt2", marks=pytest.mark.slow)]
)
def test_a_program_of_torch_is_swept_by_its_export(suffix):
    """The convolutions of this one have biases that its exporter computes."""
    _, known = numbers(sampled("digits_cnn", suffix))
    made, found = numbers(sampled("digits_cnn", suffix, plan={"rows": "sweep"}))
    assert made.record()["rows"] == "sweep"
    held_against(found, known)


def test_in_single_precision_plans_agree_to_its_rounding():
    _, known = numbers(sample("digits_cnn"))
    for plan in ("rows=autograd", "rows=forward", "side=features", "rows=sweep,pull=1"):
        _, found = numbers(sample("digits_cnn", plan=read_plan(plan)))
        held_against(found, known, 2e-5, 2e-4)


def test_products_give_the_numbers_that_they_give():
    _, known = numbers(sampled("digits_cnn"))
    plan, found = numbers(sampled("digits_cnn", plan={"rows": "krylov"}))
    assert plan.by_products
    for name in ("kl.eigenvalue", "kl.radius", "kl.uniform_norm"):
        np.testing.assert_allclose(found[name], known[name], rtol=1e-7)


def test_a_law_of_the_file_itself_keeps_one_row_and_no_jacobian():
    """φ = x has J = 1: one score row of 3 numbers in float64 is all that is kept."""
    prepared = prepare(sampled("decoder"), False)
    asked = (build_divergence("kl"),)
    shapes = shapes_of(sampled("decoder"), prepared.model, 3, asked, ROWS)
    assert (shapes.p, shapes.d, shapes.kept, shapes.stored) == (3, 3, 1, False)
    assert shapes.usual == 3 * 8


# Against plain torch

D, P, N = 3, 24, 7
W, V = (np.random.default_rng(k).normal(size=(D, P // 2)) for k in (1, 2))
TEXT = f"g (float[n,{D}] x) => (float[n,{P // 2}] loc, float[n,{P // 2}] s) "
BODY = "{ a = MatMul(x, w)  loc = Tanh(a)  b = MatMul(x, v)  s = Sin(b) }"


def fisher(x):
    """The trace and largest eigenvalue of Jᵀ F J of a normal head, by plain torch."""
    w, v = (torch.from_numpy(np.float32(m)).double() for m in (W, V))

    def phi(x):
        return torch.cat([torch.tanh(x @ w), torch.sin(x @ v).exp()])

    found = []
    for row in torch.from_numpy(x).double():
        jacobian, scale = torch.func.jacrev(phi)(row), phi(row)[P // 2 :]
        root = torch.cat([1 / scale, 2**0.5 / scale]).unsqueeze(1) * jacobian
        form = root.T @ root
        found.append((form.trace(), torch.linalg.eigvalsh(form)[-1]))
    return np.array(found)


def small(folder, **options):
    path = onnx_file(folder, TEXT + BODY, w=np.float32(W), v=np.float32(V))
    x = np.random.default_rng(3).normal(size=(N, D)).astype(np.float32)
    np.savez(folder / "x.npz", x=x)
    model = ModelConfig(
        str(path),
        family="normal",
        parameters={"loc": "loc", "scale": "exp(s)"},
        dtype="float64",
    )
    data = str(folder / "x.npz")
    config = ScanConfig(model=model, data=data, divergences=("kl",), verify=0)
    return replace(config, **options), x


@pytest.mark.parametrize(
    "plan",
    [
        "rows=sweep",
        "rows=autograd,side=rows",
        "rows=forward,chunk=5",
        "rows=autograd,side=features,chunk=2",
    ],
)
def test_numbers_are_those_of_plain_torch(tmp_path, plan):
    config, x = small(tmp_path, plan=read_plan(plan))
    report = scan(config)
    found = columns(report)
    expected = fisher(x)
    np.testing.assert_allclose(found["trace"], expected[:, 0], rtol=1e-12)
    np.testing.assert_allclose(found["eigenvalue"], expected[:, 1], rtol=1e-12)
    swept = isinstance(prepare(config, False).model.swept, SweptMap)
    assert swept == (plan == "rows=sweep")
    assert report.run["plan"]["why"]["rows"] == "as --plan asks"


def test_few_features_and_no_sweep_are_taken_forwards(tmp_path):
    config, x = small(tmp_path)
    asked = replace(config, model=replace(config.model, path=traced(tmp_path)))
    report = scan(asked)
    assert report.run["plan"]["rows"] == "forward"
    assert report.run["plan"]["why"]["rows"] == "3 columns are less work than 24 rows"
    np.testing.assert_allclose(columns(report)["trace"], fisher(x)[:, 0], rtol=1e-12)


def traced(folder):
    """The same network as TorchScript, whose operators have no rules."""
    w, v = (torch.from_numpy(np.float32(m)) for m in (W, V))

    class Head(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.v = torch.nn.Parameter(w), torch.nn.Parameter(v)

        def forward(self, x):
            return {"loc": torch.tanh(x @ self.w), "s": torch.sin(x @ self.v)}

    path = folder / "head.pt"
    example = (torch.ones(3, D),)
    torch.jit.trace(Head(), example, strict=False).save(str(path))
    return str(path)


def test_columns_that_are_wrong_are_seen(tmp_path, monkeypatch):
    config, _ = small(tmp_path, plan={"rows": "forward"})
    right = ByProducts.matmat
    monkeypatch.setattr(ByProducts, "matmat", lambda j, v: 1.001 * right(j, v))
    with pytest.raises(ConfigError, match="its columns differ from its rows by"):
        prepare(config, False)


# From one scan to the next


def test_the_plan_of_a_report_is_taken(tmp_path):
    config, _ = small(tmp_path, plan=read_plan("rows=forward,chunk=2"))
    first = scan(config)
    (tmp_path / "r.json").write_text(to_json(first))
    again = scan(replace(config, plan={"report": str(tmp_path / "r.json")}))
    plans = [dict(one.run["plan"]) for one in (first, again)]
    for plan in plans:
        plan.pop("why")
    assert plans[0] == plans[1]
    bare = [one.model_copy(update={"run": {}}) for one in (first, again)]
    assert to_json(bare[0]) == to_json(bare[1])


def test_a_report_without_a_plan_is_refused(tmp_path):
    config, _ = small(tmp_path)
    report = scan(config)
    (tmp_path / "r.json").write_text(to_json(report.model_copy(update={"run": {}})))
    with pytest.raises(ConfigError, match="does not say how it was computed") as caught:
        scan(replace(config, plan={"report": str(tmp_path / "r.json")}))
    assert caught.value.next_step


def test_a_report_with_a_plan_that_is_none_is_refused(tmp_path):
    config, _ = small(tmp_path)
    report = scan(config)
    run = {"plan": {"rows": "by magic"}}
    (tmp_path / "r.json").write_text(to_json(report.model_copy(update={"run": run})))
    with pytest.raises(ConfigError, match="not 'by magic'"):
        scan(replace(config, plan={"report": str(tmp_path / "r.json")}))
