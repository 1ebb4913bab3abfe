"""Who says what a file is: flags, metadata, names; and every refusal by its words."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from scans import columns
from torch import nn
from typer.testing import CliRunner

from audit.cli import app
from audit.config import AttackConfig, ModelConfig, ScanConfig
from audit.ground.errors import AuditError
from audit.models.contract import Settings
from audit.models.opening import open_unchecked
from audit.run.inspection import inspect
from implicit.laws import (
    NORMAL,
    X,
    assert_within,
    codes,
    fisher,
    log_density,
    notes_of,
    onnx_file,
    push,
    report_of,
    transport,
)

FISHER = np.stack([fisher(x) for x in X])
TRANSPORT = np.stack([transport(x) for x in X])
TWO = {"x": 3, "theta": 2}
THREE = {"x": 3, "theta": 2, "z": 2}
OUTPUTS = ["log_prob", "sample"]


def both(x, theta, z):
    return log_density(x, theta), push(x, z)


class Methods(nn.Module):
    """A density with its sampler, as methods of a scripted module."""

    a: torch.Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("a", torch.tensor([[0.9, -0.4], [0.3, 0.8], [-0.6, 0.5]]))

    @torch.jit.export
    def log_prob(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return -0.5 * (theta - x @ self.a).square().sum(-1) - 1.8378770664093453

    @torch.jit.export
    def sample(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return x @ self.a + z


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files, each on one row: what they compute is told by names, metadata or flags."""
    folder = tmp_path_factory.mktemp("contract")
    told = {
        "contract": "density",
        "condition": "a",
        "target": "b",
        "noise": {"c": "normal"},
        "outputs": {"log_prob": "first", "sample": "second"},
        "transport": "Cholesky",
        "target_space": "u:real,v:real",
    }
    odd = {"a": 3, "b": 2, "c": 2}
    onnx_file(folder / "named.onnx", both, THREE, OUTPUTS)
    onnx_file(folder / "told.onnx", both, odd, ["first", "second"], metadata=told)
    onnx_file(folder / "untold.onnx", both, odd, ["first", "second"])
    onnx_file(folder / "density.onnx", log_density, TWO, ["log_prob"])
    onnx_file(folder / "sampler.onnx", push, {"x": 3, "z": 2}, ["theta"])
    onnx_file(
        folder / "told_sampler.onnx",
        push,
        {"a": 3, "c": 2},
        ["second"],
        metadata={"contract": "transport", "noise": {"c": "normal"}, "condition": "a"},
    )
    onnx_file(
        folder / "joined.onnx",
        lambda a: log_density(a[:, 2:], a[:, :2]),
        {"a": 5},
        ["log_prob"],
        metadata={"contract": "density", "input_layout": "theta:0:2,x:2:5"},
    )
    one = onnx.load(folder / "density.onnx")
    one.graph.input[1].type.tensor_type.shape.dim[0].dim_value = 1  # of θ
    onnx.save(one, folder / "one_draw.onnx")
    torch.jit.script(Methods()).save(str(folder / "methods.pt"))
    np.savez(folder / "x.npz", x=X, few=np.zeros((3, 4, 2)), flat=np.zeros((3, 9)))
    return folder


# Who speaks


def origins(report):
    return report.model.origins


def test_names_tell_a_density_with_its_sampler(folder):
    report = report_of(folder / "named.onnx", X, NORMAL)
    assert report.model.contract == "density"
    assert origins(report)["contract"] == "names"
    assert origins(report)["target"] == "names"


def test_metadata_tell_everything_and_no_flag_is_needed(folder):
    report = report_of(folder / "told.onnx", X)
    assert_within(columns(report, "kl"), FISHER)
    assert_within(columns(report, "quantile"), TRANSPORT)
    assert "transport map: Cholesky" in notes_of(report, "quantile")
    for item in ("contract", "target", "noise", "base law", "param log_prob"):
        assert origins(report)[item] == "metadata"
    assert origins(report)["target space"] == "metadata"
    assert not codes(report)


def test_flags_tell_the_same(folder):
    model = {
        "contract": "density",
        "condition": "a",
        "target": "b",
        "noise": "c:normal",
        "parameters": {"log_prob": "first", "sample": "second"},
    }
    told = report_of(folder / "told.onnx", X)
    report = report_of(folder / "untold.onnx", X, model)
    for name in ("kl", "quantile"):
        one, other = columns(report, name), columns(told, name)
        np.testing.assert_array_equal(one["trace"], other["trace"])


def test_a_target_space_makes_no_density_of_a_sampler(folder):
    model = NORMAL | {"target_space": "u:real,v:real"}
    report = report_of(folder / "sampler.onnx", X, model)
    assert report.model.contract == "transport"
    space = {"target_space": "u:real,v:real"}
    report = report_of(folder / "density.onnx", X, space)
    assert report.model.contract == "density"


def test_flags_win_over_metadata(folder):
    report = report_of(folder / "told.onnx", X, {"noise": "c:logistic"})
    assert "z ~ logistic" in notes_of(report, "quantile")


def test_a_concatenated_input_may_be_told_in_the_file(folder):
    report = report_of(folder / "joined.onnx", X)
    found = columns(report, "kl")
    np.testing.assert_allclose(found["trace"], np.trace(FISHER, axis1=1, axis2=2), 1e-4)
    assert origins(report)["input layout"] == "metadata"
    told = inspect(ScanConfig(model=ModelConfig(str(folder / "joined.onnx"))))
    assert ("input layout", "theta:0:2,x:2:5", "metadata") in told.items


def test_a_concatenated_input_is_moved_in_float64(folder):
    """D at ε v is ε² λ_max/2 for a small ε; 1e-5 is a hundred roundings of float32."""
    step = AttackConfig("fixed_norm", "fixed_norm", {"norm": "1e-5"})
    options = {"attacks": (step,), "divergences": ("kl",), "verify": "all"}
    report = report_of(folder / "joined.onnx", X, **options)
    truth = 0.5e-10 * np.linalg.eigvalsh(FISHER)[:, -1]
    found = columns(report, "kl")["fixed_norm_realised"]
    np.testing.assert_allclose(found, truth, rtol=5e-5)


@pytest.mark.parametrize("name", ["joined.onnx", "one_draw.onnx"])
def test_inputs_of_another_shape_have_the_type_of_the_run(folder, name):
    settings = Settings(ModelConfig(str(folder / name)), {})
    model = open_unchecked(settings, str(folder / "x.npz"))
    for opened, dtype in ((model, "float32"), (model.in_float64(), "float64")):
        assert {port.dtype for port in opened.network.inputs} == {dtype}


@pytest.mark.parametrize("sampler", ["sampler.onnx", "told_sampler.onnx"])
def test_a_second_file_may_draw(folder, sampler):
    model = {"sampler": str(folder / sampler)}
    model |= NORMAL if sampler == "sampler.onnx" else {}
    report = report_of(folder / "density.onnx", X, model)
    assert_within(columns(report, "kl"), FISHER)
    assert_within(columns(report, "quantile"), TRANSPORT)
    assert len(report.model.files) == 2


def test_the_weights_of_both_files_are_those_of_the_model(folder, tmp_path):
    def shifted(x, z):
        return push(x, z) + 1e-3

    other = onnx_file(tmp_path / "other.onnx", shifted, {"x": 3, "z": 2}, ["theta"])
    hashes = []
    for path in (folder / "sampler.onnx", folder / "sampler.onnx", other):
        said = ModelConfig(
            str(folder / "density.onnx"), sampler=str(path), noise="z:normal"
        )
        model = open_unchecked(Settings(said, {}), str(folder / "x.npz"))
        hashes.append(model.network.weights_sha256)
        (contract,) = (i.origin for i in model.items if i.name == "contract")
        assert contract == "sampler (settings)"
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_output_of_the_second_file_may_be_named(folder, tmp_path):
    def function(x, z):
        drawn = push(x, z)
        return drawn + 1, drawn

    path = onnx_file(tmp_path / "s.onnx", function, {"x": 3, "z": 2}, ["u", "v"])
    model = NORMAL | {"sampler": str(path), "parameters": {"sample": "v"}}
    report = report_of(folder / "density.onnx", X, model)
    assert_within(columns(report, "kl"), FISHER)
    with pytest.raises(AuditError, match="One of them is θ"):
        report_of(folder / "density.onnx", X, NORMAL | {"sampler": str(path)})


def test_a_scripted_density_has_methods(folder):
    model = NORMAL | {"target_space": "t:real*2", "contract": "density"}
    report = report_of(folder / "methods.pt", X, model)
    a = Methods().a.double().numpy()
    assert_within(columns(report, "kl"), np.stack([a @ a.T] * 3))
    trace = columns(report, "quantile")["trace"]
    np.testing.assert_allclose(trace, np.square(a).sum(), 1e-5)


def test_a_scripted_density_with_a_sampler_in_onnx(folder, tmp_path):
    class Density(nn.Module):
        def forward(self, x, theta):
            return -0.5 * (theta - x).square().sum(-1)

    torch.jit.trace(Density(), (torch.ones(2, 3), torch.zeros(2, 3))).save(
        str(tmp_path / "d.pt")
    )
    inputs = {"x": 3, "z": 3}
    onnx_file(tmp_path / "s.onnx", lambda x, z: x + z, inputs, ["theta"])
    model = NORMAL | {"sampler": str(tmp_path / "s.onnx"), "contract": "density"}
    model |= {"target": "theta", "target_space": "t:real*3"}
    report = report_of(tmp_path / "d.pt", X, model)
    assert_within(columns(report, "kl"), np.stack([np.eye(3)] * 3))


# Refusals, by the words they show and their exit code


def scan(folder, name, *words):
    command = ["scan", str(folder / name), str(folder / "x.npz"), "--verify", "0"]
    result = CliRunner().invoke(app, [*command, *words], env={"COLUMNS": "400"})
    return result.exit_code, re.sub(r"\s+", " ", result.output)


SPOKEN = [
    ("untold.onnx", [], "has 3 inputs: a, b, c One of them is the condition"),
    (
        "untold.onnx",
        ["--contract", "density"],
        "has the inputs a, b, c A density log q(θ|x) takes θ as an input "
        "Say which with --target NAME",
    ),
    (
        "untold.onnx",
        ["--contract", "transport"],
        "A sampler θ = T(x, z) takes base noise z as an input Say which, and its law, "
        "with --noise NAME:normal",
    ),
    ("untold.onnx", ["--target", "d"], "no input 'd' Its inputs are a, b, c"),
    ("sampler.onnx", ["--contract", "transport"], "Pass --noise z:normal"),
    (
        "sampler.onnx",
        ["--noise", "z:cauchy"],
        "given the law 'cauchy' Expected normal, uniform, logistic, or a key of the "
        "data: x",
    ),
    (
        "sampler.onnx",
        ["--noise", "z:normal", "--contract", "transport", "--sampler", "s.onnx"],
        "--sampler was given for a file that is a sampler itself",
    ),
    (
        "untold.onnx",
        ["--target", "b", "--noise", "c:normal", "--condition", "a"],
        "has the outputs first, second One of them is log q(θ|x) Say which with "
        "--param log_prob=NAME",
    ),
    (
        "density.onnx",
        ["--target-space", "a:real*3"],
        "--target-space has 3 coordinates",
    ),
    (
        "density.onnx",
        ["--param", "log_prob=-1.5"],
        "No parameter reads an output of the file: log_prob=-1.5",
    ),
    ("density.onnx", ["--draws", "few"], "at least 8 draws"),
    ("density.onnx", ["--draws", "flat"], "Expected [inputs, draws, coordinates]"),
    (
        "density.onnx",
        ["--input-layout", "theta:0:2,x:2:5"],
        "the model has 2 inputs: x, theta",
    ),
    ("joined.onnx", ["--input-layout", "theta:0:2,x:2:6"], "with 5 columns"),
    ("joined.onnx", ["--input-layout", "theta:0:2,x:3:5"], "leave gaps or overlap"),
    ("joined.onnx", ["--input-layout", "theta:0:2,theta:2:5"], "name is used twice"),
    ("joined.onnx", ["--input-layout", "theta,x"], "no list of NAME:FIRST:STOP"),
    ("joined.onnx", ["--input-layout", "theta:0:0,x:0:5"], "empty or has no name"),
    ("density.onnx", ["--space", "parameters"], "names no parameters"),
    (
        "density.onnx",
        ["--method", "finite-difference"],
        "Scores are needed at every draw",
    ),
    (
        "methods.pt",
        ["--contract", "density", "--noise", "z:normal"],
        "does not say how many coordinates θ ('theta') has",
    ),
    (
        "density.onnx",
        ["--family", "normal", "--draws", "few"],
        "--draws was given It belongs to the contracts density and transport",
    ),
    ("named.onnx", ["--contract", "density"], "base noise 'z' is not known"),
    (
        "named.onnx",
        ["--noise", "z:normal", "--sampling", "sobol", "--draws-per-input", "100"],
        "--draws-per-input 1024, or --sampling random",
    ),
    (
        "named.onnx",
        ["--noise", "z:normal", "--sampling", "antithetic", "--draws-per-input", "9"],
        "Pass an even number",
    ),
]


@pytest.mark.parametrize(("name", "words", "said"), SPOKEN)
def test_what_is_missing_or_wrong_is_said_with_the_option_to_give(
    folder, name, words, said
):
    code, output = scan(folder, name, *words)
    assert code == 2, output
    plain = output.replace(". ", " ").replace("; ", " ")
    assert said.replace("; ", " ") in plain


def test_both_files_may_not_draw(folder):
    words = ["--noise", "z:normal", "--sampler", str(folder / "sampler.onnx")]
    code, output = scan(folder, "named.onnx", *words)
    assert code == 2
    assert "base noise" in output


def test_two_files_share_the_condition_alone(folder, tmp_path):
    path = onnx_file(tmp_path / "s.onnx", push, {"x": 3, "theta": 2}, ["drawn"])
    words = ["--noise", "theta:normal", "--sampler", str(path)]
    code, output = scan(folder, "density.onnx", *words)
    assert code == 2
    assert "input 'theta'" in output


def test_metadata_with_an_unknown_contract_are_refused(tmp_path):
    told = {"contract": "likelihood"}
    path = onnx_file(tmp_path / "m.onnx", log_density, TWO, ["log_prob"], metadata=told)
    with pytest.raises(AuditError, match="name the contract 'likelihood'") as error:
        report_of(path, X)
    assert error.value.exit_code == 2


def test_a_map_that_lets_no_gradient_through_cannot_be_audited(tmp_path):
    def rounded(x, theta):
        return -0.5 * (theta - torch.round(x)).square().sum(-1)

    path = onnx_file(tmp_path / "m.onnx", rounded, {"x": 2, "theta": 2}, ["log_prob"])
    with pytest.raises(AuditError) as error:
        report_of(path, X[:, :2])
    assert error.value.exit_code == 3


def test_inspect_writes_a_command_that_runs(folder):
    result = CliRunner().invoke(
        app,
        ["inspect", str(folder / "told.onnx"), str(folder / "x.npz")],
        env={"COLUMNS": "200"},
    )
    assert result.exit_code == 0
    assert "density" in result.output


def test_the_command_line_writes_the_report(folder, tmp_path):
    path = tmp_path / "report.json"
    code, _ = scan(folder, "told.onnx", "-o", str(path), "-q")
    assert code == 0
    document = json.loads(Path(path).read_text())
    assert document["model"]["contract"] == "density"
    assert {"eigenvalue_lower", "eigenvalue_upper"} <= set(document["inputs"]["kl"])
    assert "quadrature_error" in document["inputs"]["quantile"]
    assert onnx.load(folder / "told.onnx").metadata_props
