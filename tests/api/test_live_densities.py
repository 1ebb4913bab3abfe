"""A live density or sampler gives the numbers of its file: the five samples of theirs.

Two of the networks were trained by sbi, which the main environment does not have: they
are written in plain torch in `sbi_flows`, with the weights of the file, and are first
held against onnxruntime.
"""

import numpy as np
import onnxruntime
import pytest
import torch
from scans import SAMPLES
from torch import distributions as td
from torch import nn

import audit

from .sbi_flows import LinearPosterior, TwoMoons
from .test_live_is_saved import apart, columns

DENSITY = {"contract": "density", "condition": "x", "target": "theta"}
LIKELIHOOD = {"input_layout": "x:0:4,theta:4:6"}
LIKELIHOOD["target_space"] = "rt:positive,choice:{-1,1}"
NOISE, PLANE = {"noise": "z:normal"}, {"target_space": "theta:real*2"}
MODULES = {  # sample -> script, class, prefix of the weights in the file, keywords
    "choice_likelihood": (
        "train_choice_likelihood",
        "Likelihood",
        "",
        DENSITY | LIKELIHOOD,
    ),
    "decoder": (
        "train_decoder",
        "Decoder",
        "sampler.",
        {"contract": "transport", "condition": "x", "noise": "z:normal*2"},
    ),
    "zuko_nsf": ("train_zuko_nsf", "Posterior", "module.", {}),
}
FLOWS = {"linear_posterior": LinearPosterior, "two_moons": TwoMoons}
# what the rounding of log q leaves
ROUNDING = {"quadrature_error", "normalisation_error", "score_mean"}
SLOW = pytest.mark.slow


def same(live, name, keywords, **settings):
    """Scan a live model and its file, and compare every column of the two.

    Exact values under a grid are left out (verify=0): they are drawn from its nodes.
    Where a cell is halved or not by the last digit, other nodes are drawn, and the
    values agree within their standard errors alone.
    """
    settings = {"limit": 2, "draws_per_input": 64, "dtype": "float64"} | settings
    data = SAMPLES / f"{name}.npz"
    ours = columns(audit.scan(live, data, **keywords, **settings))
    theirs = columns(audit.scan(SAMPLES / f"{name}.onnx", data, **settings))
    assert ours.keys() == theirs.keys()
    assert any(quantity == "trace" for _, quantity in ours)
    for key in [key for key in ours if key[1] in ROUNDING]:
        np.testing.assert_allclose(ours.pop(key), theirs.pop(key), rtol=0, atol=1e-6)
    assert apart(ours, theirs) <= 1e-6


@pytest.mark.parametrize(
    "name",
    [
        "decoder",
        pytest.param("choice_likelihood", marks=SLOW),
        pytest.param("zuko_nsf", marks=SLOW),
    ],
)
def test_a_module_of_python_scans_as_its_file(name, samples):
    script, kind, prefix, keywords = MODULES[name]
    module = getattr(samples(script), kind)()
    saved = torch.export.load(SAMPLES / f"{name}.pt2").state_dict
    state = {key.removeprefix(prefix): value for key, value in saved.items()}
    module.load_state_dict(state)
    same(module, name, keywords, verify=0 if "target_space" in keywords else 1)


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_of_plain_torch_is_the_file_of_sbi(name):
    path = SAMPLES / f"{name}.onnx"
    with np.load(SAMPLES / f"{name}.npz") as data:
        values = {key: data[key].astype("float32") for key in ("x", "theta")}
    values["z"] = np.random.default_rng(0).normal(size=(128, 2)).astype("float32")
    expected = onnxruntime.InferenceSession(path).run(["log_prob", "sample"], values)
    with torch.no_grad():
        found = FLOWS[name](path)(*map(torch.from_numpy, values.values()))
    np.testing.assert_allclose(found["log_prob"], expected[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["sample"], expected[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=SLOW) for name in ("linear_posterior", "two_moons")],
)
def test_a_flow_scans_as_the_file_of_sbi(name):
    module = FLOWS[name](SAMPLES / f"{name}.onnx")
    same(module, name, DENSITY | NOISE | PLANE, verify=0)


class Banana(nn.Module):
    """log q(θ | x): θ₁ ~ N(x₁, 1), θ₂ ~ N(θ₁² + x₂, .05²). It has no sampler."""

    def forward(self, x, theta):
        one = td.Normal(x[:, 0], 1.0).log_prob(theta[:, 0])
        two = td.Normal(theta[:, 0] ** 2 + x[:, 1], 0.05).log_prob(theta[:, 1])
        return {"log_prob": one + two}


@pytest.mark.slow
def test_a_banana_has_the_information_of_its_two_normal_laws():
    """Scores θ₁ − x₁ and (θ₂ − θ₁² − x₂) / .05²: F = diag(1, 1 / .05²)."""
    x = np.array([[0.0, 0.0], [1.0, -0.5]], dtype="float32")
    settings = PLANE | {"dtype": "float64", "verify": 0}
    report = audit.scan(Banana(), x, divergences=["kl"], **DENSITY, **settings)
    assert report.exit_code == 0
    np.testing.assert_allclose(report.rows["kl.trace"], 1 + 400, rtol=1e-3)
    np.testing.assert_allclose(report.rows["kl.eigenvalue"], 400, rtol=1e-3)
    assert np.all(report.rows["kl.quadrature_error"] < 1e-3)
    np.testing.assert_allclose(report.rows["kl.normalisation"], 1, rtol=1e-4)


class Flow(nn.Module):
    """A flow as of nflows, its base no standard normal: θ ~ N(2 x, 1) in the plane."""

    def __init__(self):
        super().__init__()
        self._distribution, self._transform = nn.Identity(), nn.Identity()

    def law(self, context):
        return td.Independent(td.Normal(2 * context, 1.0), 1)

    def log_prob(self, inputs, context):
        return self.law(context).log_prob(inputs)

    def sample(self, count, context):
        return self.law(context).sample((count,)).movedim(0, 1)


def test_a_flow_with_a_base_of_its_own_tells_the_size_of_its_event():
    """F of N(2 x, 1) is 4 in each of two coordinates; it has no map from noise."""
    before = torch.get_rng_state()
    x = np.array([[0.0, 1.0], [1.0, -0.5]], dtype="float32")
    report = audit.scan(Flow(), x, divergences=["kl"], verify=0)
    np.testing.assert_allclose(report.rows["kl.trace"], 8, rtol=1e-4)
    assert torch.equal(torch.get_rng_state(), before)
