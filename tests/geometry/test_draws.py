"""Draws are keyed by (seed, input index), and follow the family's law."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from audit.families import build_family
from audit.families.draws import draws_of, sampled_fisher_root, scores_at
from audit.nodes.noise import Noise

EULER = 0.5772156649015329
TRIL = np.array([[1.0, 0.0], [0.5, 0.7]])
WEIGHTS, LOCS, SCALES = (
    np.array([0.3, 0.7]),
    np.array([-1.0, 2.0]),
    np.array([0.5, 1.0]),
)
MEANS = {
    "normal": (0.5, 4.0),
    "laplace": (0.5, 8.0),
    "gumbel": (0.5 + 2 * EULER, 4 * math.pi**2 / 6),
    "logistic": (0.5, 4 * math.pi**2 / 3),
    "student_t": (0.5, 4 * 8 / 6),
    "gamma": (1.5, 0.75),
    "poisson": (2.5, 2.5),
    "bernoulli": (0.3, 0.21),
    "geometric": (0.7 / 0.3, 0.7 / 0.09),
    "dirichlet": (np.array([0.2, 0.3, 0.5]), np.array([0.16, 0.21, 0.25]) / 11),
    "multivariate_normal": (np.array([1.0, -1.0]), np.diag(TRIL @ TRIL.T)),
    "low_rank_multivariate_normal": (np.array([1.0, -1.0]), np.array([1.5, 4.5])),
    "mixture:normal": (
        WEIGHTS @ LOCS,
        WEIGHTS @ (SCALES**2 + LOCS**2) - (WEIGHTS @ LOCS) ** 2,
    ),
}
VALUES = {
    "normal": {"loc": [0.5], "scale": [2.0]},
    "laplace": {"loc": [0.5], "scale": [2.0]},
    "gumbel": {"loc": [0.5], "scale": [2.0]},
    "logistic": {"loc": [0.5], "scale": [2.0]},
    "cauchy": {"loc": [0.5], "scale": [2.0]},
    "student_t": {"df": [8.0], "loc": [0.5], "scale": [2.0]},
    "gamma": {"concentration": [3.0], "rate": [2.0]},
    "poisson": {"rate": [2.5]},
    "bernoulli": {"probs": [0.3]},
    "geometric": {"probs": [0.3]},
    "categorical": {"logits": [0.1, -0.4, 1.0]},
    "dirichlet": {"concentration": [2.0, 3.0, 5.0]},
    "multivariate_normal": {"loc": [1.0, -1.0], "scale_tril": TRIL},
    "low_rank_multivariate_normal": {
        "loc": [1.0, -1.0],
        "cov_factor": [[1.0], [2.0]],
        "cov_diag": [0.5, 0.5],
    },
    "mixture:normal": {"probs": WEIGHTS, "loc": LOCS, "scale": SCALES},
}
each_law = pytest.mark.parametrize("name", sorted(VALUES))


def draw_targets(family, phi, noise):
    return draws_of(family, phi, noise).values


def made(name, copies=1):
    values = {
        key: torch.tensor(np.array(value), dtype=torch.float64).expand(
            copies, *np.shape(value)
        )
        for key, value in VALUES[name].items()
    }
    shapes = {key: tuple(value.shape[1:]) for key, value in values.items()}
    family = build_family(name, shapes)
    return family, family.pack(values)


def scored(family, phi, noise):
    return scores_at(family, phi, draw_targets(family, phi, noise))


def agrees(samples, truth):
    error = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
    return (np.abs(samples.mean(axis=0) - truth) <= 4.5 * error + 1e-12).all()


@given(
    index=st.lists(st.integers(0, 10**9), min_size=1, max_size=5, unique=True),
    seed=st.integers(0, 2**40),
    draws=st.integers(1, 6),
)
@settings(max_examples=30, deadline=None)
def test_noise_belongs_to_the_input_and_not_to_its_batch(index, seed, draws):
    together = Noise(seed, np.array(index), draws).uniforms(3)
    for place, i in enumerate(index):
        alone = Noise(seed, np.array([i]), draws).uniforms(3)
        assert torch.equal(together[:, place], alone[:, 0])


@each_law
def test_draws_and_scores_do_not_depend_on_the_batch(name):
    family, phi = made(name, 4)
    index = np.array([3, 17, 5, 1000])
    everything = draw_targets(family, phi, Noise(7, index, 6))
    for rows in ([2], [3, 0], [1, 2, 0, 3]):
        some = draw_targets(family, phi[rows], Noise(7, index[rows], 6))
        assert torch.equal(everything[:, rows], some)


def test_another_seed_input_or_stream_has_other_noise():
    base = Noise(0, np.array([0, 1]), 4)
    numbers = [
        base.uniforms(2)[:, 0],
        base.uniforms(2)[:, 1],
        base.uniforms(2, stream=1)[:, 0],
        Noise(1, np.array([0]), 4).uniforms(2)[:, 0],
    ]
    for i, one in enumerate(numbers):
        for other in numbers[:i]:
            assert not torch.isclose(one, other).any()


def test_uniforms_are_uniform_and_inside_the_open_interval():
    u = Noise(0, np.arange(20), 2000).uniforms(2).numpy()
    assert u.shape == (2000, 20, 2)
    assert 0 < u.min() < u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3


def test_more_draws_begin_with_the_same_numbers():
    few, many = (Noise(0, np.arange(2), s).uniforms(3) for s in (4, 9))
    assert torch.equal(few, many[:4])


def test_drawing_leaves_the_global_generator_alone():
    family, phi = made("gamma", 2)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    draw_targets(family, phi, Noise(0, np.arange(2), 5))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", sorted(MEANS))
def test_draws_have_the_familys_mean_and_variance(name):
    family, phi = made(name, 2)
    draws = draw_targets(family, phi, Noise(1, np.array([4, 9]), 20_000)).numpy()
    mean, variance = MEANS[name]
    assert draws.shape == (20_000, 2, *family.event_shape)
    for column in (0, 1):
        samples = draws[:, column].reshape(20_000, -1)
        assert agrees(samples, mean)
        assert agrees((samples - mean) ** 2, variance)


@pytest.mark.parametrize(
    "name", ["multivariate_normal", "low_rank_multivariate_normal"]
)
def test_draws_of_a_gaussian_have_its_covariance(name):
    family, phi = made(name)
    draws = draw_targets(family, phi, Noise(1, np.array([4]), 20_000))[:, 0].numpy()
    factor = np.array([[1.0], [2.0]])
    covariance = {
        "multivariate_normal": TRIL @ TRIL.T,
        "low_rank_multivariate_normal": factor @ factor.T + 0.5 * np.eye(2),
    }[name]
    centred = draws - [1.0, -1.0]
    assert agrees(centred[:, 0] * centred[:, 1], covariance[0, 1])


def test_draws_of_a_cauchy_have_its_quartiles():
    family, phi = made("cauchy")
    draws = draw_targets(family, phi, Noise(1, np.array([4]), 20_000)).numpy().ravel()
    below = [(draws < edge).mean() for edge in (-1.5, 0.5, 2.5)]
    np.testing.assert_allclose(below, [0.25, 0.5, 0.75], atol=4 * 0.5 / 141)


def test_draws_of_classes_have_their_probabilities():
    family, phi = made("categorical")
    draws = draw_targets(family, phi, Noise(1, np.array([4]), 20_000)).numpy().ravel()
    frequencies = np.bincount(draws.astype(int), minlength=3) / 20_000
    expected = special.softmax([0.1, -0.4, 1.0])
    np.testing.assert_allclose(frequencies, expected, atol=4 * 0.5 / 141)


def test_draws_of_a_mixture_follow_its_distribution_function():
    family, phi = made("mixture:normal")
    draws = draw_targets(family, phi, Noise(2, np.array([4]), 20_000)).numpy().ravel()

    def cdf(x):
        return sum(
            w * stats.norm(m, s).cdf(x)
            for w, m, s in zip(WEIGHTS, LOCS, SCALES, strict=True)
        )

    assert stats.kstest(draws, cdf).pvalue > 1e-3


def normal_information():
    return np.diag([0.25, 0.5])


def gamma_information():
    return np.array([[special.polygamma(1, 3.0), -0.5], [-0.5, 3.0 / 4]])


def dirichlet_information():
    own = special.polygamma(1, np.array([2.0, 3.0, 5.0]))
    return np.diag(own) - special.polygamma(1, 10.0)


def categorical_information():
    p = special.softmax([0.1, -0.4, 1.0])
    return np.diag(p) - np.outer(p, p)


def student_information():
    df, s = 8.0, 2.0
    half = special.polygamma(1, df / 2) - special.polygamma(1, (df + 1) / 2)
    shape = half / 4 - (df + 5) / (2 * df * (df + 1) * (df + 3))
    cross = -2 / ((df + 1) * (df + 3) * s)
    loc, scale = (df + 1) / ((df + 3) * s**2), 2 * df / ((df + 3) * s**2)
    return np.array([[shape, 0, cross], [0, loc, 0], [cross, 0, scale]])


INFORMATION = {
    "normal": normal_information,
    "laplace": lambda: np.diag([0.25, 0.25]),
    "cauchy": lambda: np.diag([0.125, 0.125]),
    "logistic": lambda: np.diag([1 / 12, (3 + math.pi**2) / 36]),
    "student_t": student_information,
    "gamma": gamma_information,
    "poisson": lambda: np.array([[0.4]]),
    "bernoulli": lambda: np.array([[1 / 0.21]]),
    "geometric": lambda: np.array([[1 / (0.09 * 0.7)]]),
    "categorical": categorical_information,
    "dirichlet": dirichlet_information,
}


@pytest.mark.parametrize("name", sorted(INFORMATION))
def test_scores_have_mean_zero_and_the_fisher_information_as_covariance(name):
    family, phi = made(name)
    scores = scored(family, phi, Noise(3, np.array([8]), 40_000))[0].numpy()
    squares = scores[:, :, None] * scores[:, None, :]
    assert agrees(scores, 0.0)
    assert agrees(squares, INFORMATION[name]())


@pytest.mark.parametrize("part", ["loc", "scale"])
def test_the_scores_of_a_mixture_have_its_integrated_information(part):
    family, phi = made("mixture:normal")
    scores = scored(family, phi, Noise(3, np.array([8]), 40_000))[0]

    def integrand(x, k):
        components = WEIGHTS * stats.norm(LOCS, SCALES).pdf(x)
        share = components[k] / components.sum()
        z = (x - LOCS[k]) / SCALES[k]
        own = {"loc": z, "scale": z**2 - 1}[part] / SCALES[k]
        return components.sum() * (share * own) ** 2

    truth = [integrate.quad(integrand, -12, 14, (k,), limit=200)[0] for k in (0, 1)]
    own = family.unpack(scores)[part].numpy()
    assert agrees(own, 0.0)
    assert agrees(own**2, truth)


def test_a_sampled_root_squares_to_the_mean_of_score_products():
    family, phi = made("gamma", 2)
    noise = Noise(0, np.array([1, 2]), 64)
    root = sampled_fisher_root(family, phi, noise)
    scores = scored(family, phi, noise).numpy()
    found = (root.entries.mT @ root.entries).numpy()
    expected = np.einsum("nsi,nsj->nij", scores, scores) / 64
    np.testing.assert_allclose(found, expected, rtol=1e-12)
