"""Every law of δ costs what its own draws cost on average."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.attacks.bases import Attack, DirectedAttack, RandomAttack
from audit.attacks.checking import LAWS
from audit.attacks.laws import (
    ATTACKS,
    FixedNorm,
    Gaussian,
    Moments,
    RandomDirection,
    UniformNorm,
    build_attack,
)
from audit.attacks.worst import WorstCase
from audit.ground.errors import ConfigError, UnknownName
from audit.linalg.averaged import Sampled
from audit.linalg.decompose import decompose
from audit.linalg.operators import Diagonal, Product
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.stored import Matrix

D, SCALE = 5, 0.5
A = np.random.default_rng(0).normal(size=(3, 2, D))
G = A.transpose(0, 2, 1) @ A
FORM = QuadraticForm(SCALE, Matrix(torch.from_numpy(A)))
SPECTRUM = decompose(FORM, 2)
MEAN = np.array([0.3, -0.1, 0.0, 0.2, 0.5])
FACTOR = np.random.default_rng(1).normal(size=(D, 3))


@pytest.fixture
def moments_file(tmp_path):
    def write(name="moments.npz", **arrays):
        path = tmp_path / name
        np.savez(path, **arrays)
        return str(path)

    return write


def kinds(base):
    return [name for name in sorted(ATTACKS) if issubclass(ATTACKS[name], base)]


@pytest.fixture
def make(moments_file):
    arguments = {
        "gaussian": {"sigma": "0.3"},
        "fixed_norm": {"norm": "0.3"},
        "uniform_norm": {"max_norm": "0.3"},
        "random_direction": {"max_norm": "0.3"},
        "worst_case": {"norm": "0.3", "p": "inf"},
        "certified": {"norm": "0.3"},
        "moments": {"file": moments_file(mean=MEAN, factor=FACTOR)},
    }
    return lambda kind: build_attack(kind, arguments[kind])


@pytest.fixture(params=kinds(Attack))
def attack(request, make):
    return make(request.param)


@pytest.fixture(params=kinds(DirectedAttack))
def directed(request, make):
    return make(request.param)


def forms_at(delta):
    return SCALE * np.einsum("mi,nij,mj->nm", delta, G, delta)


def agrees(samples, truth):
    error = samples.std(axis=-1, ddof=1) / math.sqrt(samples.shape[-1])
    return (np.abs(samples.mean(axis=-1) - truth) <= 4 * error + 1e-12).all()


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_an_attack_keeps_the_law(attack, law):
    law(attack)


def test_the_mean_size_is_the_mean_over_the_attacks_own_draws(attack):
    size, rng = attack.mean_size(D), np.random.default_rng(3)
    if isinstance(attack, Moments):
        assert size is None
        return
    if isinstance(attack, WorstCase):
        assert size == (0.3 if attack.ball.p == 2 else None)
        return
    if isinstance(attack, RandomAttack):
        v = np.array([3.0, 0.0, -4.0, 0.0, 0.0]) / 5
        samples = np.abs(attack.draw(rng, 200_000, D) @ v)
    else:
        samples = rng.uniform(0, 0.3, 200_000)
        samples = samples if isinstance(attack, UniformNorm) else np.full(9, 0.3)
    assert agrees(samples, size)


def test_the_norms_of_a_directed_attack_integrate_polynomials_exactly(directed):
    norms, weights = (t.numpy() for t in directed.sizes())
    assert weights.sum() == pytest.approx(1.0, rel=1e-15)
    assert (norms >= 0).all()
    for power in range(12):
        moment = {"FixedNorm": 0.3**power, "UniformNorm": 0.3**power / (power + 1)}
        found = (norms**power) @ weights
        assert found == pytest.approx(moment[type(directed).__name__], rel=1e-13)


def test_half_of_kl_under_a_uniform_norm_is_a_twenty_fourth_and_an_eighth():
    value = UniformNorm(0.3).expected(FORM, SPECTRUM).value.numpy()
    top = np.linalg.eigvalsh(G)[:, -1]
    mean, variance = 0.3 / 2, 0.3**2 / 12
    np.testing.assert_allclose(value, 0.3**2 * top / 6, rtol=1e-12)
    np.testing.assert_allclose(value, (variance + mean**2) * top / 2, rtol=1e-12)
    np.testing.assert_allclose(value, 0.09 * top / 24 + 0.09 * top / 8, rtol=1e-12)


@given(
    sigma=st.floats(1e-3, 1e3), mean=st.lists(st.floats(-9, 9), min_size=D, max_size=D)
)
@settings(max_examples=25, deadline=None)
def test_the_moments_of_white_noise_cost_what_white_noise_costs(sigma, mean):
    white = Gaussian(sigma).expected(FORM, SPECTRUM).value.numpy()
    mu = np.array(mean)
    attack = Moments(mu, sigma * np.eye(D))
    shifted = SCALE * np.einsum("i,nij,j->n", mu, G, mu)
    found = attack.expected(FORM, SPECTRUM).value.numpy()
    np.testing.assert_allclose(found, white + shifted, rtol=1e-10)


def test_a_random_direction_has_a_uniform_norm_and_no_preferred_axis():
    draws = RandomDirection(2.0).draw(np.random.default_rng(5), 100_000, D)
    norms = np.linalg.norm(draws, axis=1)
    assert norms.max() <= 2.0
    assert agrees(norms, 1.0)
    assert agrees(norms**2, 4 / 3)
    assert agrees((draws**2).T, 4 / (3 * D))


def test_a_random_direction_in_one_dimension_is_plus_or_minus_the_norm():
    assert RandomDirection(2.0).mean_size(1) == pytest.approx(1.0, rel=1e-14)


def test_moments_carry_the_error_of_a_root_made_of_draws():
    rng = np.random.default_rng(6)
    scores = torch.from_numpy(rng.standard_normal((2000, 50, 2)) / math.sqrt(50))
    inner = Diagonal(torch.tensor([[2.0, 1.0]]).double().expand(2000, -1))
    form = QuadraticForm(SCALE, Product(Sampled(scores), inner))
    attack = Moments(np.array([1.0, 0.0]), np.array([[0.5], [0.5]]))
    found = attack.expected(form, decompose(form, 1))
    values, errors = found.value.numpy(), found.standard_error.numpy()
    truth = SCALE * (4.0 + 0.25 * (4.0 + 1.0))
    assert agrees(values, truth)
    assert agrees(errors**2, values.var(ddof=1))


def test_a_covariance_and_its_factor_are_the_same_attack(moments_file):
    by_factor = build_attack(
        "moments", {"file": moments_file(mean=MEAN, factor=FACTOR)}
    )
    covariance = FACTOR @ FACTOR.T
    by_covariance = build_attack(
        "moments", {"file": moments_file("c.npz", mean=MEAN, covariance=covariance)}
    )
    one, other = (a.expected(FORM, SPECTRUM).value for a in (by_factor, by_covariance))
    expected = SCALE * (
        np.einsum("i,nij,j->n", MEAN, G, MEAN) + np.einsum("nij,ji->n", G, covariance)
    )
    np.testing.assert_allclose(one, expected, rtol=1e-12)
    np.testing.assert_allclose(other, expected, rtol=1e-12)


def test_a_missing_mean_is_zero_and_a_mean_may_have_the_inputs_own_shape(moments_file):
    silent = build_attack("moments", {"file": moments_file(factor=np.eye(6))})
    assert silent.mean.tolist() == [0.0] * 6
    shaped = moments_file("s.npz", mean=np.ones((2, 3)), factor=np.eye(6))
    assert build_attack("moments", {"file": shaped}).mean.shape == (6,)


def test_moments_of_another_size_say_how_many_features_are_free(moments_file):
    attack = build_attack("moments", {"file": moments_file(factor=np.eye(4))})
    with pytest.raises(ConfigError, match=r"mean of 4 features.*has 5 free features"):
        attack.expected(FORM, SPECTRUM)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"mean": np.zeros(2)}, r"holds mean\. It needs 'covariance' \[d, d\]"),
        ({}, r"holds nothing\. It needs"),
        ({"covariance": np.ones((2, 3))}, r"shape \(2, 3\) and is not one"),
        ({"covariance": -np.eye(2)}, "positive semi-definite"),
        ({"covariance": [[1.0, 0.5], [0.1, 1.0]]}, "Expected a symmetric"),
        ({"covariance": np.full((2, 2), np.nan)}, "Expected a symmetric"),
        ({"covariance": np.zeros((0, 0))}, r"shape \(0, 0\) and is not one"),
        ({"covariance": np.eye(3), "mean": np.zeros(2)}, "mean has 2 features"),
        ({"factor": np.ones(3)}, r"factor has the shape \[3\]"),
        ({"factor": np.eye(2), "mean": [0.0, np.inf]}, "hold NaN or infinity"),
        ({"factor": np.array(["a"])}, "cannot be read"),
    ],
)
def test_moments_that_are_none_say_what_is_wrong(moments_file, arrays, words):
    path = moments_file(**arrays)
    with pytest.raises(ConfigError, match=words):
        build_attack("moments", {"file": path})


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut", b"hello"])
def test_a_moments_file_that_is_no_npz_cannot_be_read(tmp_path, content):
    path = tmp_path / "moments.npz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"moments\.npz' cannot be read"):
        build_attack("moments", {"file": str(path)})


def test_a_missing_moments_file_and_an_npy_are_told_apart(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        build_attack("moments", {"file": str(tmp_path / "none.npz")})
    np.save(tmp_path / "one.npy", np.eye(2))
    with pytest.raises(ConfigError, match="one array without a key"):
        build_attack("moments", {"file": str(tmp_path / "one.npy")})


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        ("gaussian", {}, "given nothing. It takes sigma. Write it as gaussian:sigma=…"),
        ("gaussian", {"norm": "1"}, "given norm. It takes sigma"),
        ("fixed_norm", {"norm": "-1"}, "norm=-1. Expected a number, zero or larger"),
        ("fixed_norm", {"norm": "nan"}, "Expected a number, zero or larger"),
        ("uniform_norm", {"max_norm": "inf"}, "Expected a number, zero or larger"),
        ("gaussian", {"sigma": "1e200"}, r"below 1e\+100: its square is taken"),
        ("worst_case", {"norm": "1e200"}, r"below 1e\+100: its square is taken"),
        ("random_direction", {"max_norm": "a"}, "random_direction:max_norm=0.1"),
        ("worst_case", {"norm": "0"}, "norm=0. Expected a number above zero"),
        ("worst_case", {"p": "2"}, "given p. It takes norm, p"),
        ("certified", {"norm": "1", "p": "3"}, "p=3 was given. Expected one of 2, inf"),
    ],
)
def test_a_wrong_argument_is_named_with_the_right_form(kind, arguments, words):
    with pytest.raises(ConfigError, match=words):
        build_attack(kind, arguments)


def test_a_size_of_zero_is_a_size():
    assert build_attack("gaussian", {"sigma": "0"}) == Gaussian(0.0)
    assert build_attack("fixed_norm", {"norm": "0"}) == FixedNorm(0.0)


def test_an_unknown_attack_is_answered_with_the_nearest_name():
    with pytest.raises(UnknownName, match="Did you mean 'gaussian'"):
        build_attack("gausian", {"sigma": "1"})


def test_an_attack_of_no_size_costs_nothing():
    for attack in (Gaussian(0.0), FixedNorm(0.0), UniformNorm(0.0)):
        assert not attack.expected(FORM, SPECTRUM).value.any()


@pytest.mark.parametrize("least", [0.0, -0.9e-10])
@pytest.mark.parametrize("unit", [0.0, 1e-6, 1.0, 1e6])
def test_a_covariance_may_be_singular_up_to_rounding_in_any_unit(
    moments_file, least, unit
):
    """An eigenvalue of −10⁻¹⁰ of the largest is a zero; no variance at all is legal."""
    path = moments_file(covariance=unit * np.diag([1.0, least, 0.25]))
    attack = build_attack("moments", {"file": path})
    found = attack.factor @ attack.factor.T
    wanted = unit * np.diag([1.0, 0.0, 0.25])
    np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=0)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_a_covariance_with_a_negative_eigenvalue_is_none_in_any_unit(
    moments_file, unit
):
    path = moments_file(covariance=unit * np.diag([1.0, -1.2e-10, 0.25]))
    with pytest.raises(ConfigError, match="positive semi-definite"):
        build_attack("moments", {"file": path})


@pytest.mark.parametrize("name", ["mean", "factor"])
def test_either_moment_has_to_be_finite(moments_file, name):
    arrays = {"mean": np.zeros(2), "factor": np.eye(2)}
    arrays[name] = arrays[name] * np.nan
    with pytest.raises(ConfigError, match="hold NaN or infinity"):
        build_attack("moments", {"file": moments_file(**arrays)})


def test_white_noise_written_as_moments_is_drawn_as_white_noise():
    """The same numbers of the same generator, moved to the mean."""
    one, other = (
        attack.draw(np.random.default_rng(4), 50, D)
        for attack in (Gaussian(0.3), Moments(MEAN, 0.3 * np.eye(D)))
    )
    np.testing.assert_allclose(other, one + MEAN, rtol=1e-12)


def test_a_norm_costs_as_many_exact_values_as_its_rule_has_nodes():
    """Six nodes are exact for polynomials of degree eleven, and one for one norm."""
    for attack, count in ((UniformNorm(0.7), 6), (FixedNorm(0.7), 1)):
        norms, weights = attack.sizes()
        assert norms.shape == weights.shape == (count,)
    norms, weights = UniformNorm(0.7).sizes()
    assert ((norms > 0) & (norms < 0.7)).all()
    for degree in range(12):
        wanted = 0.7**degree / (degree + 1)
        assert float(norms**degree @ weights) == pytest.approx(wanted, rel=1e-12)
