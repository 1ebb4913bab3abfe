"""The table of divergences: constants, exact values, estimators, words."""

import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, stats

from audit.families import build_family
from audit.families.references import reference_of as reference
from audit.geometry.checking import LAWS
from audit.geometry.checking.forms import its_root_is_wide_and_alone
from audit.geometry.checking.subject import Subject
from audit.geometry.contract import checked
from audit.geometry.divergence import Divergence
from audit.geometry.divergences import DIVERGENCES, Tensors, build_divergence
from audit.geometry.pullback import pull_back
from audit.ground.errors import BrokenPlugin, ConfigError, UnknownName
from audit.linalg.averaged import Averaged, Sampled
from audit.linalg.operators import Diagonal
from audit.linalg.stored import Matrix
from audit.nodes.noise import Noise

NORMAL = build_family("normal", {"loc": (1,), "scale": (1,)})
PHI = torch.tensor([[0.7, 1.3]], dtype=torch.float64)
FAR = torch.tensor([[1.1, 1.0]], dtype=torch.float64)
NOISE = Noise(0, np.arange(1), 4)

RENYI = ("renyi:alpha=0.5", "renyi:alpha=0.9", "renyi:alpha=2", "renyi:alpha=0.2")
WRITTEN = (*(name for name in DIVERGENCES if name != "renyi"), *RENYI)
each_divergence = pytest.mark.parametrize("name", WRITTEN)


def jensen_shannon(t):
    return (t * mpmath.log(t) - (1 + t) * mpmath.log((1 + t) / 2)) / 2


GENERATORS = {
    "kl": lambda t: -mpmath.log(t),
    "reverse_kl": lambda t: t * mpmath.log(t),
    "hellinger": lambda t: 1 - mpmath.sqrt(t),
    "jensen_shannon": jensen_shannon,
    "chi_squared": lambda t: (t - 1) ** 2,
} | {
    f"renyi:alpha={a:g}": lambda t, a=a: (mpmath.power(t, a) - 1) / (a - 1)
    for a in (0.5, 0.9, 2, 0.2)
}


def densities(phi, other):
    p, q = (stats.norm(*row) for row in (phi[0].tolist(), other[0].tolist()))
    return lambda x: p.logpdf(x), lambda x: q.logpdf(x)


def integral(f):
    return integrate.quad(f, -15, 15, epsabs=1e-13, epsrel=1e-11, limit=500)[0]


def by_quadrature(name, phi, other):
    log_p, log_q = densities(phi, other)
    if name in ("quantile", "wasserstein"):
        (a, s), (b, t) = phi[0].tolist(), other[0].tolist()
        return (a - b) ** 2 + (s - t) ** 2
    if name.startswith("renyi"):
        alpha = float(name.partition("=")[2])
        mass = integral(lambda x: math.exp(alpha * log_p(x) + (1 - alpha) * log_q(x)))
        return math.log(mass) / (alpha - 1)

    def summand(x):
        p, q = math.exp(log_p(x)), math.exp(log_q(x))
        return {
            "kl": lambda: p * (log_p(x) - log_q(x)),
            "reverse_kl": lambda: q * (log_q(x) - log_p(x)),
            "hellinger": lambda: (math.sqrt(p) - math.sqrt(q)) ** 2 / 2,
            "jensen_shannon": lambda: (
                (p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))) / 2
            ),
            "chi_squared": lambda: (p - q) ** 2 / q,
        }[name]()

    return integral(summand)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_the_constant_is_half_the_generators_second_derivative_at_one(name):
    second = mpmath.diff(GENERATORS[name], 1, 2)
    assert build_divergence(name).scale == pytest.approx(float(second) / 2, rel=1e-9)


@each_divergence
def test_the_exact_value_far_away_is_the_integral(name):
    found = build_divergence(name).exact(NORMAL, PHI, FAR).item()
    assert found == pytest.approx(by_quadrature(name, PHI, FAR), rel=1e-8)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@each_divergence
def test_a_divergence_keeps_the_law(name, law):
    pair = build_family("normal", {"loc": (2,), "scale": (2,)})
    phi = torch.tensor([[0.3, -1.2, 0.5, 1.4], [2.0, 0.1, 2.5, 0.8]]).double()
    law(Subject(build_divergence(name), pair, phi))


@each_divergence
def test_the_metric_tensor_of_a_normal_is_the_textbooks(name):
    divergence, sigma = build_divergence(name), PHI[0, 1].item()
    form = pull_back(divergence, NORMAL, PHI, Diagonal(torch.ones_like(PHI)), NOISE)
    found = form.root.dense().mT @ form.root.dense()
    fisher = np.diag([1 / sigma**2, 2 / sigma**2])
    expected = fisher if divergence.tensor is Tensors.FISHER else np.eye(2)
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)
    assert form.scale == divergence.scale


def test_no_divergence_exceeds_that_of_laws_apart():
    """1 − 0 for Hellinger, log 2 for Jensen and Shannon: a rounding below at most."""
    apart = np.array([[1.0, 0.0], [0.0, 1.0]])
    shannon = np.mean([stats.entropy(one, apart.mean(0)) for one in apart])
    for name, expected in (("hellinger", 1.0), ("jensen_shannon", shannon)):
        supremum = build_divergence(name).supremum
        assert expected * (1 - 1e-15) <= supremum <= expected


def test_renyi_tends_to_kl_as_its_order_tends_to_one():
    kl = build_divergence("kl").exact(NORMAL, PHI, FAR).item()
    near = [
        build_divergence(f"renyi:alpha={1 + e}").exact(NORMAL, PHI, FAR).item()
        for e in (1e-4, -1e-4)
    ]
    assert sum(near) / 2 == pytest.approx(kl, rel=1e-6)
    assert near[1] < kl < near[0]


def test_renyi_above_one_may_be_infinite():
    wide, narrow = torch.tensor([[0.0, 2.0]]).double(), torch.tensor([[0.0, 1.0]])
    found = build_divergence("renyi:alpha=2").exact(NORMAL, wide, narrow.double())
    assert found.isinf().all()


ESTIMATED = [
    name
    for name in WRITTEN
    if build_divergence(name).pointwise or build_divergence(name).exchanged
]
each_estimator = pytest.mark.parametrize("name", ESTIMATED)


def test_every_f_divergence_but_renyis_can_be_estimated():
    fisher = {n for n in WRITTEN if build_divergence(n).tensor is Tensors.FISHER}
    assert fisher - set(ESTIMATED) == set(RENYI)


@each_estimator
def test_the_mean_of_the_pointwise_values_is_the_divergence(name):
    divergence = build_divergence(name)
    pointwise = divergence.pointwise or divergence.exchanged
    log_p, log_q = densities(PHI, FAR)
    if divergence.exchanged:  # a mean over the other law
        log_p, log_q = log_q, log_p

    def weighted(x):
        log_t = torch.tensor(log_q(x) - log_p(x), dtype=torch.float64)
        return math.exp(log_p(x)) * pointwise(log_t).item()

    expected = by_quadrature(name, PHI, FAR)
    assert integral(weighted) == pytest.approx(expected, rel=1e-7)


@each_estimator
def test_the_exact_value_by_draws_lies_within_four_errors(name):
    divergence = build_divergence(name)
    pair = build_family("normal", {"loc": (2,), "scale": (2,)})
    phi = torch.tensor([[0.0, 1.0, 1.0, 0.5]], dtype=torch.float64)
    other = torch.tensor([[0.2, 1.0, 1.1, 0.45]], dtype=torch.float64)
    noise = Noise(1, np.arange(1), 20_000)
    sampled = type(divergence)(
        **(vars(divergence) | {"exact": lambda family, a, b: None})
    )
    laws = reference(sampled, pair, phi, noise)
    assert laws.sampled
    value, error = laws(torch.arange(1), other.unsqueeze(1))
    expected = integrated_over_a_plane(name, phi[0], other[0])
    assert error.item() > 0
    assert abs(value.item() - expected) < 4 * error.item()


def integrated_over_a_plane(name, phi, other):
    axis = np.linspace(-8, 8, 1601)
    logs = []
    for a, b, s, t in (phi.tolist(), other.tolist()):
        first, second = stats.norm(a, s).logpdf(axis), stats.norm(b, t).logpdf(axis)
        logs.append(first[:, None] + second[None, :])
    p, q = (np.exp(v) for v in logs)
    middle = np.log((p + q) / 2 + 1e-300)
    integrand = {
        "kl": lambda: p * (logs[0] - logs[1]),
        "reverse_kl": lambda: q * (logs[1] - logs[0]),
        "hellinger": lambda: (np.sqrt(p) - np.sqrt(q)) ** 2 / 2,
        "jensen_shannon": lambda: (p * (logs[0] - middle) + q * (logs[1] - middle)) / 2,
        "chi_squared": lambda: (p - q) ** 2 / np.maximum(q, 1e-300),
    }[name]()
    return integrand.sum() * (axis[1] - axis[0]) ** 2


def test_reverse_kl_by_draws_sees_what_the_first_law_does_not_have():
    """Two normals 10 apart in each of two coordinates: 100 nats either way."""
    pair = build_family("normal", {"loc": (2,), "scale": (2,)})
    phi = torch.tensor([[0.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    other = torch.tensor([[10.0, 10.0, 1.0, 1.0]], dtype=torch.float64)
    unknown = replace(build_divergence("reverse_kl"), exact=lambda family, a, b: None)
    laws = reference(unknown, pair, phi, Noise(1, np.arange(1), 1024))
    value, error = laws(torch.arange(1), other.unsqueeze(1))
    assert abs(value.item() - 100) < 4 * error.item()
    assert error.item() < math.sqrt(200 / 1024) * 1.2  # log q'/q ~ N(100, 200)


def test_a_mass_that_only_the_other_law_has_is_infinite():
    """Coins that never fall on one side, as a closed form and by draws."""
    coins = build_family("bernoulli", {"probs": (2,)})
    phi = torch.tensor([[0.0, 0.5], [0.25, 0.5]], dtype=torch.float64)
    other = torch.tensor([[0.25, 0.5], [0.0, 0.5]], dtype=torch.float64)
    known = build_divergence("reverse_kl")
    for divergence in (known, replace(known, exact=lambda family, a, b: None)):
        laws = reference(divergence, coins, phi, Noise(1, np.arange(2), 4096))
        value, error = laws(torch.arange(2), other.unsqueeze(1))
        assert value[0].item() == math.inf
        assert error[0].item() == 0
        # 0 log 0 = 0: KL(other ‖ phi) of the second row is log 1 / 0.75
        assert abs(value[1].item() + math.log(0.75)) <= 4 * error[1].item() + 1e-12


def test_draws_make_an_exact_value_only_where_the_divergence_is_a_mean():
    divergence = build_divergence("renyi:alpha=0.5")
    unknown = type(divergence)(
        **(vars(divergence) | {"exact": lambda family, a, b: None})
    )
    assert reference(unknown, NORMAL, PHI, NOISE) is None


def test_a_closed_form_has_no_error_and_one_value_for_each_step():
    steps = torch.stack([PHI, FAR, FAR + 0.1], dim=1)
    laws = reference(build_divergence("kl"), NORMAL, PHI, NOISE)
    assert not laws.sampled
    value, error = laws(torch.arange(1), steps)
    assert value.shape == error.shape == (1, 3)
    assert not error.any()
    assert value[0, 1].item() == pytest.approx(by_quadrature("kl", PHI, FAR))


def test_a_divergence_is_called_what_the_user_wrote():
    assert build_divergence("renyi:alpha=0.50").name == "renyi:alpha=0.50"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("renyi", "'renyi' has the wrong arguments"),
        ("renyi:alpha", "wrong arguments.*robaudit explain renyi"),
        ("renyi:alpha=x", "wrong arguments"),
        ("renyi:order=2", "wrong arguments"),
        ("kl:alpha=1", "'kl:alpha=1' has the wrong arguments"),
        ("renyi:alpha=1", "Expected a positive order other than 1"),
        ("renyi:alpha=0", "alpha=0"),
        ("renyi:alpha=-1", "Use -d kl for the limit at 1"),
        ("renyi:alpha=nan", "Expected a positive order"),
        ("renyi:alpha=inf", "Expected a positive order"),
    ],
)
def test_wrong_arguments_are_refused_with_the_right_form(text, words):
    with pytest.raises(ConfigError, match=words):
        build_divergence(text)


def test_an_unknown_divergence_is_answered_with_the_nearest_name():
    with pytest.raises(UnknownName, match="Did you mean 'wasserstein'"):
        build_divergence("waserstein")


@pytest.mark.parametrize("text", ["kl,quantile", "kl, quantile"])
def test_two_divergences_in_one_are_told_apart(text):
    words = "Give each by itself: the option again for 'quantile'"
    with pytest.raises(UnknownName, match=words):
        build_divergence(text)
    with pytest.raises(UnknownName, match="Did you mean 'quantile'"):
        build_divergence("kx,quantile")


@pytest.mark.parametrize("draw", [1, 3])
@pytest.mark.parametrize("kind", [Sampled, Averaged, Matrix])
def test_the_rows_that_are_kept_are_those_of_a_root_with_as_many_draws(kind, draw):
    """Of draws, `draw` rows each; of nodes, all of them; of a matrix, no average."""

    def root(law, phi, noise):
        rows = draw * noise.draws if kind is Sampled else 5
        entries = torch.ones(len(phi), rows, phi.shape[1]).double()
        return Sampled(entries, draw=draw) if kind is Sampled else kind(entries)

    def exact(law, phi, other):
        return torch.zeros(len(phi)).double()

    divergence = Divergence("ours", "1", 1.0, Tensors.OTHER, exact, root=root)
    for draws in (2, 64, 1000):
        noise = Noise(0, np.arange(1), draws)
        rows = divergence.metric_root(NORMAL, PHI, noise).shape[1]
        wanted = 0 if kind is Matrix else rows
        assert divergence.kept_rows(NORMAL, PHI, draws) == wanted


def test_a_root_is_tried_once_with_the_fewest_draws_that_have_an_error():
    """It may be dear: at every input, but with one antithetic pair of draws alone."""
    tried = []

    def root(law, phi, noise):
        tried.append((len(phi), noise.index.tolist(), noise.draws))
        return Matrix(torch.ones(len(phi), 1, phi.shape[1]).double())

    def exact(law, phi, other):
        return torch.zeros(len(phi)).double()

    divergence = Divergence("ours", "1", 1.0, Tensors.OTHER, exact, root=root)
    phi = torch.cat([PHI[:1]] * 3)
    divergence.require(NORMAL, phi)
    assert tried == [(3, [0, 1, 2], 2)]


@pytest.mark.parametrize("scale", [0.0, -0.5, float("nan")])
def test_a_constant_that_is_not_above_zero_is_no_divergence_s(scale):
    made = replace(build_divergence("kl"), scale=scale)
    with pytest.raises(BrokenPlugin, match="not above 0"):
        checked(made, build_divergence, type(made))
    least = replace(made, scale=5e-324)
    assert checked(least, build_divergence, type(made)) is least


def test_a_sampled_root_is_that_of_a_row_alone_with_its_own_draws():
    """A mixture in the plane has no closed form: its scores are drawn."""
    shapes = {"logits": (2,), "loc": (2, 2), "scale": (2, 2)}
    law = build_family("mixture:normal", shapes)
    rng = np.random.default_rng(0)
    values = {
        name: torch.from_numpy(rng.uniform(0.5, 2, size=(3, *shape)))
        for name, shape in shapes.items()
    }
    it = Subject(build_divergence("kl"), law, law.pack(values))
    root = it.divergence.metric_root(it.law, it.phi, it.noise(64))
    assert isinstance(root, Sampled)
    assert root.draws == 64
    its_root_is_wide_and_alone(it)
