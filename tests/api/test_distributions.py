"""Models that return a distribution: closed forms, and the files they would export."""

import math
from functools import partial

import numpy as np
import pyro.distributions as pyro
import pytest
import torch
import zuko
from torch import distributions as td
from torch import nn

import audit
from audit.export import export_posterior
from audit.export.functions import Function
from audit.export.named import named_law
from audit.ground.errors import ModelError

from .test_live_is_saved import apart, columns

W = torch.tensor([[1.0, -0.5, 0.2], [0.3, 0.8, -1.0]])  # [outputs, features]
X = np.random.default_rng(5).normal(size=(6, 3)).astype("float32")


def traces(model, **settings):
    report = audit.scan(model, X, divergences=["kl"], verify=0, **settings)
    return report, report.rows["kl.trace"]


def test_a_normal_law_has_the_trace_of_its_precision():
    report, found = traces(lambda x: td.Normal(x @ W.to(x).mT, 0.5))
    assert report.record.model.family == "normal"
    np.testing.assert_allclose(found, float((W**2).sum()) / 0.25, rtol=1e-6)


def test_independent_coordinates_are_one_event_or_not():
    def apart_(x):
        return td.Normal(x @ W.to(x).mT, 0.5)

    _, one = traces(apart_)
    _, other = traces(lambda x: td.Independent(apart_(x), 1))
    np.testing.assert_array_equal(one, other)


def test_a_categorical_law_has_the_trace_of_its_covariance():
    report, found = traces(lambda x: td.Categorical(logits=x @ W.to(x).mT))
    p = torch.softmax(torch.from_numpy(X).double() @ W.double().mT, 1).numpy()
    w = W.double().numpy()
    expected = [np.trace(w.T @ (np.diag(q) - np.outer(q, q)) @ w) for q in p]
    assert report.record.model.parameters == {"logits": "logits"}
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_gaussian_law_has_the_trace_of_its_precision_whatever_it_was_given():
    factor = torch.tensor([[0.8, 0.0], [0.3, 0.5]])
    covariance = factor @ factor.mT

    class Gaussian(nn.Module):
        def forward(self, x):
            return td.MultivariateNormal(x @ W.to(x).mT, covariance.to(x))

    report, found = traces(Gaussian())
    expected = torch.trace(W.mT @ torch.linalg.inv(covariance) @ W)
    assert set(report.record.model.parameters) == {"loc", "scale_tril"}
    np.testing.assert_allclose(found, float(expected), rtol=1e-5)


def test_a_mixture_is_the_one_whose_parameters_are_returned():
    net = nn.Linear(3, 9)

    def split(h):
        return {"logits": h[:, :3], "loc": h[:, 3:6], "scale": h[:, 6:].exp()}

    class Tensors(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return split(self.net(x))

    def mixture(x):
        own = split(net(x))
        weights = td.Categorical(logits=own.pop("logits"))
        return td.MixtureSameFamily(weights, td.Normal(**own))

    report, found = traces(mixture, dtype="float64")
    assert report.record.model.family == "mixture:normal"
    _, expected = traces(Tensors(), family="mixture:normal", dtype="float64")
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["MAF", "NSF"])
def test_a_zuko_flow_scans_as_the_file_that_is_exported(kind, tmp_path):
    torch.manual_seed(0)
    flow = getattr(zuko.flows, kind)(2, 3, transforms=1, hidden_features=(4,))
    path = export_posterior(flow, tmp_path / "flow.pt2", x=torch.from_numpy(X))
    settings = {"draws_per_input": 16, "verify": 0, "dtype": "float64"}
    live = audit.scan(flow, X, **settings)
    saved = audit.scan(path, X, **settings)
    assert live.record.model.contract == "density"
    assert apart(columns(live), columns(saved)) <= 1e-6


def test_a_zuko_mixture_is_a_mixture():
    torch.manual_seed(0)
    gmm = zuko.mixtures.GMM(2, 3, components=3, hidden_features=(8,))
    report, _ = traces(gmm, draws_per_input=32)
    assert report.record.model.family == "mixture:multivariate_normal"


def test_a_law_without_a_name_is_a_density_with_its_sampler():
    """exp(Normal) under another name: KL is invariant, so the Normal's is expected."""
    w = W[:1]

    def law(x):
        base = td.Independent(td.Normal(x @ w.to(x).mT, 0.5), 1)
        return td.TransformedDistribution(base, [td.ExpTransform()])

    report, found = traces(law, draws_per_input=8192)
    assert report.record.model.contract == "density"
    assert set(report.record.model.parameters) == {"log_prob", "sample"}
    np.testing.assert_allclose(found, float((w**2).sum()) / 0.25, rtol=0.05)


BOUNDED = {
    "continuous Bernoulli": lambda h: td.ContinuousBernoulli(logits=h),
    "relaxed Bernoulli": lambda h: td.RelaxedBernoulli(h.new_tensor(0.7), logits=h),
    "a root": lambda h: td.TransformedDistribution(
        td.Exponential((h / 2).exp()), [td.PowerTransform(h.new_tensor(0.5))]
    ),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_a_law_without_a_name_is_integrated_over_its_own_support(name):
    """Where validation is off, log q of these three goes on beyond [0, 1] and 0.

    With η the logit: a continuous Bernoulli has A″(η), A = ln((e^η − 1)/η); a relaxed
    one is the logistic law of η in other coordinates, 1/3; the root of an exponential
    draw has (∂ ln λ)².
    """
    w = W[:1]
    report, found = traces(lambda x: BOUNDED[name](x @ w.to(x).mT), dtype="float64")
    eta = (torch.from_numpy(X).double() @ w.double().mT).numpy()[:, 0]
    information = {
        "continuous Bernoulli": eta**-2 - np.exp(eta) / np.expm1(eta) ** 2,
        "relaxed Bernoulli": np.full(len(X), 1 / 3),
        "a root": np.full(len(X), 1 / 4),
    }[name]
    assert report.exit_code == 0
    assert report.record.warnings == []
    np.testing.assert_allclose(found, information * float((w**2).sum()), rtol=1e-4)


def test_a_support_that_ends_at_infinity_is_a_half_line():
    """A generalised Pareto law: (∂ ln σ)² / (1 + 2ξ), on [0, ∞)."""
    w = W[:1]

    def law(x):
        h = x @ w.to(x).mT
        shape = torch.full_like(h, 0.2)
        return td.GeneralizedPareto(torch.zeros_like(h), (h / 2).exp(), shape)

    report, found = traces(law)
    assert report.exit_code == 0
    expected = float((w**2).sum()) / 4 / 1.4
    np.testing.assert_allclose(found, np.full(len(X), expected), rtol=1e-4)


COUNTS = {
    "zero_inflated:poisson": lambda h: pyro.ZeroInflatedPoisson(
        h[:, :1].exp(), gate_logits=h[:, 1:]
    ),
    "zero_inflated:negative_binomial": lambda h: pyro.ZeroInflatedNegativeBinomial(
        h[:, :1].exp(), logits=h[:, 1:] - 2, gate_logits=h[:, 1:]
    ),
    "negative_binomial": lambda h: pyro.GammaPoisson(h[:, :1].exp(), h[:, 1:].exp()),
}


@pytest.mark.parametrize("family", COUNTS)
def test_counts_of_pyro_have_the_information_of_their_masses(family):
    """F = Σ_k ∂P(k) ∂P(k)ᵀ / P(k), with pyro's own masses, up to k = 200."""

    def law(x):
        return COUNTS[family](0.5 * torch.tanh(x @ W.to(x).mT))

    report, found = traces(law)
    assert report.record.model.family == family
    k = torch.arange(201, dtype=torch.float64)[:, None, None]
    for row, trace in zip(torch.from_numpy(X).double(), found, strict=True):
        log_mass = law(row[None]).log_prob(k).flatten()
        slopes = torch.autograd.functional.jacobian(
            lambda v: law(v[None]).log_prob(k).flatten(), row
        )
        information = (log_mass.exp()[:, None] * slopes**2).sum()
        np.testing.assert_allclose(trace, float(information), rtol=1e-5)


TIED = {
    "shares": lambda h: td.LogisticNormal(h, torch.ones_like(h)),
    "a direction": lambda h: pyro.VonMises3D(torch.cat([h, h[:, :1]], 1)),
    "entries": lambda h: td.Wishart(h[:, 0].exp() + 3, torch.eye(2).to(h)),
}


@pytest.mark.parametrize("words", TIED)
def test_a_law_over_a_surface_is_refused(words):
    with pytest.raises(ModelError, match=rf"whose θ is .*{words}") as caught:
        traces(lambda x: TIED[words](x @ W.to(x).mT))
    assert "the same in any coordinates" in caught.value.next_step


LAWS = [
    td.Bernoulli(logits=torch.zeros(3, 2)),
    td.Beta(torch.ones(3), torch.ones(3)),
    td.Binomial(7, logits=torch.zeros(3)),
    td.Cauchy(torch.zeros(3), 1.0),
    td.Chi2(torch.ones(3)),
    td.Dirichlet(torch.ones(3, 4)),
    td.Exponential(torch.ones(3)),
    td.Gamma(torch.ones(3), 2.0),
    td.Geometric(probs=torch.full((3,), 0.3)),
    td.Gumbel(torch.zeros(3), 1.0),
    td.HalfNormal(torch.ones(3)),
    td.InverseGamma(torch.ones(3), torch.ones(3)),
    td.Laplace(torch.zeros(3), 1.0),
    td.LogNormal(torch.zeros(3), torch.ones(3)),
    td.LowRankMultivariateNormal(
        torch.zeros(3, 2), torch.ones(3, 2, 1), torch.ones(3, 2)
    ),
    td.NegativeBinomial(torch.full((3,), 4.0), logits=torch.zeros(3)),
    td.OneHotCategorical(probs=torch.full((3, 4), 0.25)),
    td.Pareto(torch.ones(3), torch.full((3,), 2.0)),
    td.Poisson(torch.ones(3)),
    td.StudentT(torch.full((3,), 5.0)),
    td.Uniform(torch.zeros(3), torch.ones(3)),
    td.VonMises(torch.zeros(3), torch.ones(3)),
    td.Weibull(torch.ones(3), torch.ones(3)),
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_the_named_member_gives_the_log_prob_of_the_distribution(law):
    from audit.families import build_family

    found = named_law(law)
    shapes = {name: tuple(v.shape[1:]) for name, v in found.values.items()}
    family = build_family(found.family, shapes, **found.options)
    own = family.distribution(family.pack(found.values))
    torch.manual_seed(0)
    theta = law.sample()
    ours = own.log_prob(theta.reshape(3, *own.event_shape)).reshape(3, -1).sum(1)
    theirs = law.log_prob(theta).reshape(3, -1).sum(1).double()
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)


def test_a_users_own_subclass_is_not_taken_for_its_base():
    class Normal(td.Normal):
        def log_prob(self, value):
            return super().log_prob(value) * 2

    class Mixed(Shifted, td.Normal):
        """Another law by a class that is no distribution."""

    assert named_law(Normal(torch.zeros(3), 1.0)) is None
    assert named_law(Mixed(torch.zeros(3), 1.0)) is None


class Shifted:
    def log_prob(self, value):
        return super().log_prob(value - 1)


def test_a_subclass_that_leaves_its_law_alone_is_its_base():
    """As gluonts writes them: StudentT and NegativeBinomial with quantiles."""

    class Counts(td.NegativeBinomial):
        def __init__(self, total_count, logits):
            super().__init__(total_count, logits=logits)

        def cdf(self, value):
            return value

        def scipy_law(self):
            return None

    found = named_law(Counts(torch.full((3,), 2.0), torch.zeros(3)))
    assert found.family == "negative_binomial"
    assert set(found.values) == {"total_count", "logits"}


SCALE = nn.Linear(3, 1)


def scaled(x):
    return SCALE(x).exp()


def test_a_function_is_rebuilt_on_copies_of_all_it_reaches():
    net, shift = nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.5)), torch.ones(1)

    def law(x):
        return net(x) + shift * scaled(x)

    function = Function(law)
    own = {id(p) for p in (*net.parameters(), *SCALE.parameters())}
    assert {id(p) for p in function.parameters()} == own
    import copy

    copied = copy.deepcopy(function).eval().double()
    assert not own & {id(p) for p in copied.parameters()}
    x = torch.from_numpy(X)
    expected = net[0](x) + shift * SCALE(x).exp()
    torch.testing.assert_close(copied(x.double()).float(), expected)
    assert net.training


def test_partials_methods_and_objects_are_read_as_what_they_call():
    net = nn.Linear(3, 1)

    def scaled_by(scale, x):
        return td.Normal(net(x), scale)

    class Law:
        def __init__(self):
            self.net = net

        def __call__(self, x):
            return td.Normal(self.net(x), 2.0)

        def method(self, x):
            return self(x)

    expected = net.weight.square().sum().item() / 4
    for model in (partial(scaled_by, 2.0), Law(), Law().method):
        _, found = traces(model, dtype="float64")
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert net.weight.dtype == torch.float32
    assert net.weight.requires_grad


def test_an_embedding_before_a_live_flow_runs_once_for_each_input():
    class Embedded(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Sequential(
                nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 2)
            )
            self.flow = zuko.flows.MAF(2, 2, transforms=1, hidden_features=(8,))

        def forward(self, x):
            return self.flow(self.embedding(x))

    torch.manual_seed(0)
    model = Embedded()
    cut, found = traces(model, draws_per_input=64)
    whole, expected = traces(model, draws_per_input=64, bottleneck="off")
    assert any("runs once for each input" in one for one in notes(cut))
    assert not any("runs once for each input" in one for one in notes(whole))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def notes(report):
    return report.record.divergences["kl"].notes


def test_functions_of_other_weights_or_code_have_other_hashes():
    def scan(model):
        return traces(model)[0].record.model.weights_sha256

    one, other = nn.Linear(3, 1), nn.Linear(3, 1)
    hashes = [
        scan(lambda x: td.Normal(one(x), 1.0)),
        scan(lambda x: td.Normal(one(x), 2.0)),
        scan(lambda x: td.Normal(other(x), 1.0)),
        scan(lambda x: td.Laplace(other(x), 1.0)),
    ]
    assert len(set(hashes)) == 4


def test_a_law_without_a_density_is_refused_in_its_own_words():
    def law(x):
        return td.TransformedDistribution(td.Normal(x[:, 0], 1.0), [td.AbsTransform()])

    with pytest.raises(ModelError, match="has no log_prob"):
        audit.scan(law, X)


class Later(nn.Module):
    """A gamma law of concentration 3 that begins at w·x; no number before it."""

    def forward(self, x, theta):
        late = (theta - x @ W[:1].to(x).mT)[:, 0]
        return {"log_prob": 2 * late.log() - late - math.log(2)}


@pytest.mark.slow
def test_a_law_that_begins_at_another_place_is_infinitely_far():
    """Its Fisher information is E[(2/z − 1)²] = 1 per |w|²; KL is ∞ all the same."""
    keys = {"contract": "density", "condition": "x", "target": "theta"}
    asked = {"target_space": "theta:real", "attacks": ["fixed_norm:norm=0.1"]}
    settings = {"divergences": ["kl"], "limit": 1, "verify": 1}
    report = audit.scan(Later(), X, **keys, **asked, **settings)
    found, realised = (
        report.rows[f"kl.{name}"] for name in ("trace", "fixed_norm_realised")
    )
    np.testing.assert_allclose(found, float((W[0] ** 2).sum()), rtol=2e-3)
    assert np.isposinf(realised).all()
    assert {w.code for w in report.record.warnings} == {"parted_kl"}
