"""Expectations over base noise against closed forms and scipy, through the family."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from audit.families.implicit import ImplicitFamily
from audit.families.implicit_values import implicit_reference
from audit.geometry.divergences import build_divergence
from audit.models.implicit.sources import NamedBase
from audit.nodes.base_laws import BASE_LAWS
from audit.nodes.noise import Noise
from audit.nodes.space import real_space

QUANTILE = build_divergence("quantile")
X = torch.tensor([[0.5], [1.0], [2.0]]).double()
OF_S = {"normal": stats.norm, "uniform": stats.logistic, "logistic": stats.logistic}
OF_Z = {"normal": stats.norm, "uniform": stats.uniform, "logistic": stats.logistic}
each_law = pytest.mark.parametrize("name", BASE_LAWS)


@each_law
def test_a_law_on_the_line_is_the_law_of_z(name):
    law, s = BASE_LAWS[name], np.linspace(-9, 9, 61)
    density = law.log_density(torch.from_numpy(s)).exp().numpy()
    np.testing.assert_allclose(density, OF_S[name].pdf(s), rtol=1e-12)
    z = law.place(torch.from_numpy(s)).numpy()
    np.testing.assert_allclose(OF_Z[name].cdf(z), OF_S[name].cdf(s), rtol=1e-9)


@each_law
def test_a_law_is_drawn_by_its_quantiles(name):
    u = np.linspace(0.01, 0.99, 33)
    drawn = BASE_LAWS[name].quantile(torch.from_numpy(u)).numpy()
    np.testing.assert_allclose(OF_Z[name].cdf(drawn), u, rtol=1e-12)


@each_law
def test_far_out_there_is_as_little_as_is_said(name):
    law = BASE_LAWS[name]
    beyond = OF_S[name].sf(law.far)
    wanted = stats.norm.sf([2.5, 3, 3.5, 4, 4.5])
    np.testing.assert_allclose(beyond, wanted, rtol=0.06)
    assert OF_S[name].sf(law.high) < 1e-7
    assert OF_S[name].cdf(law.low) < 1e-30
    assert float(law.place(torch.tensor(law.high).double())) != 1 or name != "uniform"


def family(function, law, m, n, p, dtype):
    def transport(z, phi):
        return function(z.to(dtype), phi.to(dtype)).double()

    base = NamedBase(law, m, torch.device("cpu"))
    return ImplicitFamily(p, real_space(n), None, transport, base, None)


def root_of(function, law="normal", m=1, n=1, x=X, dtype=torch.float64):
    made = family(function, law, m, n, x.shape[1], dtype)
    return made.root(QUANTILE.tensor, x, Noise(0, np.arange(len(x)), 8))


def trace_of(root):
    return root.entries.square().sum(dim=(1, 2)).numpy()


def error_of(root):
    return root.checks["quadrature_error"].numpy()


def scale(z, x):
    return x * z


def log_normal(z, x):
    return torch.exp(x * z)


def of_log_normal(x):
    """Return E z² exp(2 x z), under the tilt that moves z to 2 x."""
    return (1 + 4 * x**2) * np.exp(2 * x**2)


def kink(z, x):
    return x * torch.relu(z - 0.3)


def jump(z, x):
    return x * (z > 0.3).to(z)


def density_at(z):
    return stats.norm.pdf(z)


NUMBERS = X[:, 0].numpy()
ABOVE = stats.norm.sf(0.3)
FINITE = {
    "normal": (scale, "normal", [1.0] * 3),
    "uniform": (scale, "uniform", [1 / 3] * 3),
    "logistic": (scale, "logistic", [math.pi**2 / 3] * 3),
    "log-normal": (log_normal, "normal", of_log_normal(NUMBERS)),
    "exponential": (lambda z, x: -x * torch.log1p(-z), "uniform", [2.0] * 3),
    "thick": (lambda z, x: x * torch.exp(0.2 * z**2), "normal", [5**0.5] * 3),
    "location of a Cauchy": (
        lambda z, x: x + torch.tan(math.pi * (z - 0.5)),
        "uniform",
        [1.0] * 3,
    ),
    "kink": (kink, "normal", [1.09 * ABOVE - 0.3 * density_at(0.3)] * 3),
    "jump": (jump, "normal", [ABOVE] * 3),
    "laplace": (lambda z, x: x * z.sign() * z.abs(), "logistic", [math.pi**2 / 3] * 3),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", FINITE)
def test_one_number_of_noise_is_integrated(name, dtype):
    function, law, truth = FINITE[name]
    root = root_of(function, law, dtype=dtype)
    apart = np.abs(trace_of(root) / np.array(truth) - 1)
    assert (apart < 2e-5).all()
    assert (apart <= 3 * error_of(root) + 1e-7).all()
    assert (error_of(root) < 1e-4).all()


@pytest.mark.parametrize("name", ["normal", "log-normal", "thick"])
def test_a_smooth_map_has_no_error_to_speak_of(name):
    """QUADPACK's estimate is the smaller one here, and the rules' difference is not."""
    function, law, truth = FINITE[name]
    root = root_of(function, law)
    assert (error_of(root) < 1e-12).all()
    np.testing.assert_allclose(trace_of(root), truth, rtol=1e-7)


def test_two_numbers_of_noise_are_integrated():
    """A log-normal number and a scaled one; entries off the diagonal too."""
    x = torch.tensor([[0.3, 0.2], [0.8, -0.4]]).double()

    def both(z, x):
        first = torch.exp(x[:, 0] * z[:, 0] + x[:, 1])
        return torch.stack([first, x[:, 1] * z[:, 1]], dim=1)

    root = root_of(both, m=2, n=2, x=x)
    tensor = (root.entries.mT @ root.entries).numpy()
    for i, (a, b) in enumerate(x.tolist()):
        size = math.exp(2 * a**2 + 2 * b)
        truth = size * np.array([[1 + 4 * a**2, 2 * a], [2 * a, 1]]) + np.diag([0, 1])
        np.testing.assert_allclose(tensor[i], truth, 1e-6)
    assert (error_of(root) < 1e-3).all()


def layers(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).double() for shape in shapes]


def test_a_network_over_two_numbers_is_as_the_trapezoidal_rule_has_it():
    first, last = layers((3, 6), (6, 1))

    def network(z, x):
        return torch.tanh(torch.cat([z, x], dim=1) @ first) @ last

    root = root_of(network, m=2)
    line = np.linspace(-9, 9, 721)
    plane = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    weights = stats.norm.pdf(plane).prod(axis=1) * (line[1] - line[0]) ** 2
    for i, x in enumerate(NUMBERS):
        hidden = np.tanh(plane @ first[:2].numpy() + x * first[2].numpy())
        slopes = (1 - hidden**2) @ (first[2] * last[:, 0]).numpy()
        truth = weights @ slopes**2
        assert trace_of(root)[i] == pytest.approx(truth, rel=1e-4)
        assert abs(trace_of(root)[i] / truth - 1) <= error_of(root)[i]


def half_student(z, x):
    """x t, t Student's with two degrees of freedom: its scale has no second moment."""
    u, v = (torch.special.ndtr(side) for side in (z, -z))
    return x * (u - v) / (2 * u * v).sqrt()


ENDLESS = {
    "power": (lambda z, x: x * (1 - z) ** -0.5, "uniform", torch.float64),
    "power below": (lambda z, x: x * z**-0.6, "uniform", torch.float64),
    "log-logistic": (lambda z, x: torch.exp((x + 0.1) * z), "logistic", torch.float64),
    "super-normal": (lambda z, x: x * torch.exp(3 * z**2), "normal", torch.float64),
    "Student": (half_student, "normal", torch.float64),
    "Cauchy": (
        lambda z, x: x * torch.tan(math.pi * (torch.special.ndtr(z) - 0.5)),
        "normal",
        torch.float64,
    ),
    "Cauchy in float32": (
        lambda z, x: x * torch.tan(math.pi * (torch.special.ndtr(z) - 0.5)),
        "normal",
        torch.float32,
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_infinite_second_moment_is_infinite(name):
    function, law, dtype = ENDLESS[name]
    root = root_of(function, law, dtype=dtype)
    assert np.isinf(trace_of(root)).all()
    made = family(function, law, 1, 1, 1, dtype)
    others = torch.stack([X + 0.1, X - 0.1], dim=1)
    noise = Noise(0, np.arange(3), 256)
    values, _ = compared(made, X, others, noise)
    assert torch.isinf(values).all()


def test_an_infinite_number_leaves_its_neighbours_alone():
    """exp(x z) of a logistic z has a second moment for 2 x < 1."""
    x = torch.tensor([[0.2], [0.7], [0.3]]).double()
    found = trace_of(root_of(log_normal, "logistic", x=x))
    assert np.isinf(found).tolist() == [False, True, False]
    for i in (0, 2):
        truth, _ = integrate.quad(
            lambda s, a=float(x[i]): s**2 * math.exp(2 * a * s) * stats.logistic.pdf(s),
            -200,
            200,
            limit=400,
            points=[0],
        )
        assert found[i] == pytest.approx(truth, rel=1e-5)


@pytest.mark.parametrize("m", [1, 2])
def test_a_tail_that_single_precision_hides_is_in_the_error(m):
    """(1 − z)^−0.4 x: a float32 of z ends at 1 − 2^−24, with 4 % of 5 beyond it."""
    root = root_of(lambda z, x: x * (1 - z[:, :1]) ** -0.4, "uniform", m)
    apart = np.abs(trace_of(root) / 5 - 1)
    assert (apart > 0.03).all()
    np.testing.assert_allclose(error_of(root), apart, rtol=0.1 if m == 1 else 0.4)


def test_kinks_across_a_plane_are_in_the_error():
    generator = torch.Generator().manual_seed(1)
    first, last = (
        torch.randn(s, generator=generator).double() for s in ((3, 40), (40, 1))
    )

    def network(z, x):
        return torch.relu(torch.cat([z, x], dim=1) @ first) @ last

    root = root_of(network, m=2)
    (z,) = layers((400_000, 2), seed=2)
    for i, x in enumerate(X):
        on = torch.cat([z, x.expand(len(z), 1)], dim=1) @ first > 0
        squares = ((on * first[2]) @ last).square()
        noise = float(squares.std() / squares.mean()) / math.sqrt(len(z))
        apart = abs(trace_of(root)[i] / float(squares.mean()) - 1)
        assert apart <= error_of(root)[i] + 4 * noise
        assert 1e-3 < error_of(root)[i] < 0.1


def test_a_map_without_a_number_on_part_of_its_noise_is_not_finite():
    """Log(2 − z) has none beyond z = 2, which one draw of 44 is."""
    root = root_of(lambda z, x: x * torch.log(2 - z))
    assert not torch.isfinite(root.entries).flatten(1).all(dim=1).any()
    assert root.entries.isnan().any()


def test_a_map_at_rest_is_zero_for_certain():
    root = root_of(lambda z, x: 0 * x + z)
    assert trace_of(root).tolist() == [0.0, 0.0, 0.0]
    assert (error_of(root) < 1e-10).all()


# What a perturbation does


def compared(made, phi, others, noise):
    """Return the quantile distances from φ to others, and their errors."""
    laws = implicit_reference(QUANTILE, made, phi, noise)
    return laws(torch.arange(len(phi)), others)


def distances(function, law, x, moved, count, draws=256, m=1):
    """Return D [count] and its errors, for `count` inputs at x moved by a step."""
    phi = torch.full((count, 1), x).double()
    made = family(function, law, m, 1, 1, torch.float64)
    noise = Noise(3, np.arange(count), draws)
    others = (phi + moved).unsqueeze(1)
    values, errors = compared(made, phi, others, noise)
    return values[:, 0].numpy(), errors[:, 0].numpy()


def log_normal_distance(a, b):
    """Return E (exp(a z) − exp(b z))²."""
    return math.exp(2 * a * a) + math.exp(2 * b * b) - 2 * math.exp((a + b) ** 2 / 2)


@pytest.mark.parametrize("x", [0.5, 1.0, 2.0])
def test_a_log_normal_sampler_moves_as_far_as_it_does(x):
    values, errors = distances(log_normal, "normal", x, 0.1, 40)
    truth = log_normal_distance(x, x + 0.1)
    assert np.abs(values / truth - 1).max() < 0.05
    assert (np.abs(values - truth) <= 5 * errors).all()


STEPS = {
    "smooth": (log_normal, "normal", 0.8, 0.2, log_normal_distance(0.8, 1.0)),
    "uniform": (lambda z, x: x * z.square(), "uniform", 1.0, 0.1, 0.01 / 5),
    "moving jump": (
        lambda z, x: x + (z > x).to(z),
        "normal",
        0.5,
        0.02,
        0.02**2 + (1 - 2 * 0.02) * (stats.norm.cdf(0.52) - stats.norm.cdf(0.5)),
    ),
}


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("name", STEPS)
def test_distances_have_no_bias_and_errors_that_hold(name, m):
    function, law, x, moved, truth = STEPS[name]

    def first_number(z, x):
        return function(z[:, :1], x)

    values, errors = distances(first_number, law, x, moved, 800, m=m)
    spread = values.std(ddof=1)
    assert abs(values.mean() - truth) < 4 * spread / math.sqrt(len(values))
    assert 0.8 * spread < np.sqrt(np.square(errors).mean()) < 3 * spread


def test_distances_do_not_depend_on_the_neighbours():
    values, errors = distances(log_normal, "normal", 1.0, 0.1, 3)
    phi = torch.full((1, 1), 1.0).double()
    made = family(log_normal, "normal", 1, 1, 1, torch.float64)
    alone = Noise(3, np.array([2]), 256)
    found, error = compared(made, phi, phi[None] + 0.1, alone)
    assert found.item() == pytest.approx(values[2], rel=1e-12)
    assert error.item() == pytest.approx(errors[2], rel=1e-9)
    assert len(set(values.tolist())) == 3


def test_a_map_that_grows_and_levels_off_is_finite():
    """A steep rise between 3 and 4 is no tail without an end."""

    def late(z, x):
        return x * 50 * torch.nn.functional.softplus(9 * (z - 3.4))

    truth, _ = integrate.quad(
        lambda s: (50 * np.logaddexp(0, 9 * (s - 3.4))) ** 2 * stats.norm.pdf(s),
        -9,
        12,
        points=[3.4],
        limit=300,
    )
    root = root_of(late)
    np.testing.assert_allclose(trace_of(root), truth, rtol=1e-6)
