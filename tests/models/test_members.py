"""Ensembles by an axis of the outputs: mixtures in plain torch, on a grid."""

import math

import numpy as np
import pytest
import torch
from torch import distributions as td

from audit.config import ModelConfig, ScanConfig
from audit.families.tensors import Tensors
from audit.ground.errors import ConfigError, NoCertificate
from audit.models.enclosing import centred
from audit.nodes.noise import Noise
from audit.run.scan import scan

from .saved import data_file, jacobian, opened, trace_file

torch.manual_seed(3)
M, K = 4, 3
A = torch.randn(M, 3, 6) / 2
X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
NORMAL = {"loc": "out[:, 0]", "scale": "exp(out[:, 1])"}
THETA = torch.linspace(-40, 40, 16001, dtype=torch.float64)


def heads(x):
    """[N, M, 6] of M networks."""
    return torch.tanh(torch.einsum("nd,mdk->nmk", x, A.to(x)))


LAYOUTS = {
    1: heads,
    0: lambda x: heads(x).transpose(0, 1),
    2: lambda x: heads(x).transpose(1, 2),
}


def ensemble(folder, axis=1, outputs=None, **said):
    module = outputs or (lambda x: {"out": LAYOUTS[axis](x)})
    path = trace_file(folder, module, torch.rand(2, 3))
    return opened(path, data_file(folder, x=X), members=axis, **said)


def form_of(model, tensor=Tensors.FISHER):
    phi, slopes = jacobian(model)
    noise = Noise(0, model.probe_index(), 1024)
    pulled = model.density.family.root(tensor, phi, noise).dense() @ slopes
    return (pulled.mT @ pulled).numpy()


def information(log_q, x):
    """∫ s sᵀ q dθ by the trapezoid rule."""
    x = torch.from_numpy(x).double()
    mass = log_q(x).exp() * (THETA[1] - THETA[0])
    assert abs(float(mass.sum()) - 1) < 1e-8
    scores = torch.func.jacfwd(log_q)(x)
    return ((scores * mass[:, None]).mT @ scores).numpy()


def one(x):
    return heads(x[None])[0]


@pytest.mark.parametrize("axis", LAYOUTS)
def test_an_ensemble_is_the_mixture_of_its_members(tmp_path, axis):
    model = ensemble(tmp_path, axis, family="normal", parameters=NORMAL)
    assert model.density.family.name == "mixture:normal"
    assert ("mixture", f"{M} members of equal weight") in [
        (item.name, item.value) for item in model.items
    ]

    def log_q(x):
        out = one(x)
        each = td.Normal(out[:, 0], out[:, 1].exp()).log_prob(THETA[:, None])
        return torch.logsumexp(each, 1) - math.log(M)

    found = form_of(model)
    for row, x in enumerate(X):
        wanted = information(log_q, x)
        np.testing.assert_allclose(found[row], wanted, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("said", ["logits=out", "probs=softmax(out)"])
def test_an_ensemble_of_classifiers_is_the_mean_of_their_probabilities(tmp_path, said):
    name, _, text = said.partition("=")
    model = ensemble(tmp_path, family="categorical", parameters={name: text})
    assert model.density.family.name == "categorical"
    found = form_of(model)
    for row, x in enumerate(X):
        x = torch.from_numpy(x).double()
        slopes, p = (
            f(lambda x: one(x).softmax(-1).mean(0), x)
            for f in (lambda g, x: torch.func.jacfwd(g)(x), lambda g, x: g(x))
        )
        wanted = slopes.mT @ (slopes / p[:, None])
        np.testing.assert_allclose(found[row], wanted, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("weights", ["logits=out[:, :3]", "probs=softmax(out[:, :3])"])
def test_an_ensemble_of_mixtures_is_the_mixture_of_all_components(tmp_path, weights):
    name, _, text = weights.partition("=")
    said = {name: text, "loc": "2 * out[:, 3:]", "scale": "0.7"}
    model = ensemble(tmp_path, family="mixture:normal", parameters=said)
    assert model.density.family.name == "mixture:normal"

    def log_q(x):
        out = one(x)
        share = out[:, :3].log_softmax(-1) - math.log(M)
        each = td.Normal(2 * out[:, 3:], 0.7).log_prob(THETA[:, None, None]) + share
        return torch.logsumexp(each.flatten(1), 1)

    found = form_of(model)
    for row, x in enumerate(X):
        wanted = information(log_q, x)
        np.testing.assert_allclose(found[row], wanted, rtol=2e-4, atol=2e-5)


def test_an_ensemble_of_classifiers_is_not_certified(tmp_path):
    """Its graph holds the members' logits, and no tape their mean."""
    model = ensemble(tmp_path, family="categorical", parameters={"logits": "out"})
    x, held = model.rows(model.probe_index())
    ones = torch.ones(3, dtype=torch.float64)
    with pytest.raises(NoCertificate, match="over masks or members"):
        centred(model, x, held, torch.arange(3), ones)


def test_an_ensemble_of_counts_is_summed(tmp_path):
    model = ensemble(
        tmp_path, family="poisson", parameters={"rate": "exp(2 * out[:, 0])"}
    )
    assert model.density.family.name == "mixture:poisson"
    counts = torch.arange(200.0, dtype=torch.float64)

    def log_q(x):
        each = td.Poisson((2 * one(x)[:, 0]).exp()).log_prob(counts[:, None])
        return torch.logsumexp(each, 1) - math.log(M)

    found = form_of(model)
    for row, x in enumerate(X):
        x = torch.from_numpy(x).double()
        scores, mass = torch.func.jacfwd(log_q)(x), log_q(x).exp()
        wanted = ((scores * mass[:, None]).mT @ scores).numpy()
        np.testing.assert_allclose(found[row], wanted, rtol=2e-4, atol=2e-5)


def test_a_head_beside_the_ensemble_does_not_matter(tmp_path):
    model = ensemble(
        tmp_path,
        outputs=lambda x: {"out": heads(x), "gate": x[:, 0], "other": x[:, :2]},
        family="normal",
        parameters=NORMAL,
    )
    assert model.head.masks == M


def test_a_scan_counts_the_members(tmp_path):
    """Of three numbers the mixture is drawn from, and the report says so."""
    path = trace_file(tmp_path, lambda x: {"out": heads(x)}, torch.rand(2, 3))
    parameters = {"loc": "out[:, :3]", "scale": "exp(out[:, 3:])"}
    model = ModelConfig(path, family="normal", parameters=parameters, members=1)
    config = ScanConfig(model=model, data=str(data_file(tmp_path, x=X)), verify=2)
    report = scan(config)
    assert report.model.family == "mixture:normal"
    assert report.divergences["kl"].estimator == "monte_carlo"


@pytest.mark.parametrize("axis", LAYOUTS)
def test_members_of_several_numbers_are_components_in_their_space(tmp_path, axis):
    """Densities at given points: (1/M) Σ_m Π_j N(θ_j; μ_mj, σ_mj)."""
    parameters = {"loc": "out[:, :3]", "scale": "exp(out[:, 3:])"}
    model = ensemble(tmp_path, axis, family="normal", parameters=parameters)
    family = model.density.family
    assert family.event_shape == (3,)
    phi, _ = jacobian(model)
    theta = torch.linspace(-2, 2, 15, dtype=torch.float64).reshape(5, 1, 3)
    found = family.log_likelihood(theta.expand(5, len(X), 3), phi)
    for row, x in enumerate(X):
        out = one(torch.from_numpy(x).double())
        each = td.Normal(out[:, :3], out[:, 3:].exp()).log_prob(theta).sum(-1)
        wanted = torch.logsumexp(each, 1) - math.log(M)
        torch.testing.assert_close(found[:, row], wanted, rtol=1e-4, atol=1e-4)


REFUSED = [
    ({"members": 1, "family": "quantile", "parameters": {"quantiles": "out"}},
     "family quantile"),
    ({"members": 1, "family": "normal,normal",
      "parameters": {"0.loc": "out[:, 0]", "0.scale": "1.0",
                     "1.loc": "out[:, 1]", "1.scale": "1.0"}}, "normal,normal"),
    ({"members": 3, "family": "normal", "parameters": NORMAL}, "to have that axis"),
    ({"members": 1, "batch_axis": 1, "family": "normal", "parameters": NORMAL},
     "a member is no row"),
    ({"members": 1, "space": "parameters", "family": "normal", "parameters": NORMAL},
     "with --space parameters"),
    ({"members": 1, "contract": "samples", "parameters": {"samples": "out"}},
     "--family samples"),
    ({"members": 1, "family": "normal",
      "parameters": {"loc": "out[:, 0] * x[:, 0]", "scale": "1.0"}}, "reads 'x'"),
    ({"members": 0, "contract": "transport"}, "--members was given for a transport"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "words"), REFUSED, ids=[words for _, words in REFUSED]
)
def test_what_is_no_ensemble_is_refused_in_words(tmp_path, said, words):
    path = trace_file(tmp_path, lambda x: {"out": heads(x)}, torch.rand(2, 3))
    with pytest.raises(ConfigError, match=words):
        opened(path, data_file(tmp_path, x=X), **{"options": {}, **said})


def test_outputs_with_different_members_are_refused(tmp_path):
    path = trace_file(
        tmp_path,
        lambda x: {"loc": heads(x)[..., 0], "scale": heads(x)[:, :2, 1].exp()},
        torch.rand(2, 3),
    )
    with pytest.raises(ConfigError, match="the same members"):
        opened(path, data_file(tmp_path, x=X), members=1, family="normal")
