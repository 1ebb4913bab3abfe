"""Step functions: no local form, and the next step by exact values."""

from dataclasses import replace

import numpy as np
import onnx
import onnx.helper as make
import pytest
from scans import attacks, columns, scan

from audit.config import ModelConfig, ScanConfig, Threshold
from audit.formats.reading import headline
from audit.ground.errors import ConfigError, NotDifferentiable

X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
LEAVES = (-1.0, 2.0)
COST = (LEAVES[1] - LEAVES[0]) ** 2 / 2  # KL between the two laws N(leaf, 1)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """One tree with one split, x_0 ≤ 0: the distance to the next step is |x_0|."""
    tmp_path = tmp_path_factory.mktemp("tree")
    tree = make.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["loc"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[0.0, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=list(LEAVES),
    )
    real = onnx.TensorProto.FLOAT
    graph = make.make_graph(
        [tree],
        "g",
        [make.make_tensor_value_info("x", real, ["n", 3])],
        [make.make_tensor_value_info("loc", real, ["n", 1])],
    )
    opsets = [make.make_opsetid("", 17), make.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(
        make.make_model(graph, opset_imports=opsets, ir_version=8),
        tmp_path / "tree.onnx",
    )
    np.savez(tmp_path / "x.npz", x=X)
    model = ModelConfig(
        str(tmp_path / "tree.onnx"),
        family="normal",
        parameters={"loc": "loc", "scale": "1.0"},
    )
    return ScanConfig(model=model, data=str(tmp_path / "x.npz"), divergences=("kl",))


def searched(config, **options):
    some = attacks(worst_case={"norm": "0.5"})
    return replace(
        config, method="finite-difference", attacks=some, verify=6, **options
    )


def test_a_tree_ensemble_has_no_local_form_and_is_told_what_else(config):
    with pytest.raises(NotDifferentiable, match="piecewise constant") as refusal:
        scan(config)
    said = str(refusal.value)
    assert "TreeEnsembleRegressor" in said
    assert "--method finite-difference --attack worst_case:norm=0.5" in said


@pytest.fixture(scope="module")
def report(config):
    """A scan with a limit that is broken and one that is kept."""
    broken = Threshold("kl.critical_radius.min", ">=", 0.2)
    kept = Threshold("kl.critical_radius.min", ">=", 0.05)
    return scan(searched(config, thresholds=(broken, kept)))


def test_the_black_box_witness_finds_the_next_step(report):
    found, distance = columns(report), np.abs(X[:, 0])
    assert (found["critical_radius"] >= distance * (1 - 1e-6)).all()
    np.testing.assert_allclose(found["critical_radius"], distance, rtol=0.03)
    realised = found["worst_case_realised"]
    np.testing.assert_allclose(realised, np.where(distance < 0.5, COST, 0.0), atol=1e-6)
    assert "no_local_form" in [one.code for one in report.warnings]
    said = headline(report)
    mean = COST * (distance < 0.5).mean()
    assert f"costs {mean:.3g} nat on average" in said
    assert "(realised; second order says 0)" in said


def test_without_a_search_nothing_would_tell(config):
    for other in (
        replace(config, method="finite-difference"),
        replace(searched(config), verify=0),
    ):
        with pytest.raises(NotDifferentiable, match="zero at every audited input"):
            scan(other)


def test_a_verdict_hangs_on_exact_values_alone(config, report):
    limit = Threshold("kl.radius.p05", ">=", 0.2)
    with pytest.raises(ConfigError, match=r"kl\.radius\.p05 judges a step function"):
        scan(searched(config, thresholds=(limit,)))
    assert [(check.limit, check.status) for check in report.checks] == [
        (0.2, "fail"),
        (0.05, "pass"),
    ]
