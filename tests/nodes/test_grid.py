"""Quadrature nodes against closed forms; scores by autograd at the nodes."""

import math
from itertools import pairwise

import pytest
import torch
from scipy import integrate
from torch import distributions as laws
from torch.nn.functional import logsigmoid

from audit.ground.errors import ConfigError
from audit.nodes.grid import grid_nodes
from audit.nodes.space import parse_space, real_space

LINE = real_space(1)
POSITIVE = parse_space("t:positive")


def phi_of(rows=4, columns=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


def fisher(log_density, phi, space):
    """Return the Fisher information [N, p, p] from scores at the nodes."""
    nodes = grid_nodes(log_density, phi, space)
    count, rows = nodes.weights.shape
    leaf = phi.repeat(count, 1).requires_grad_()
    log_q = log_density(nodes.targets.flatten(0, 1), leaf)
    (scores,) = torch.autograd.grad(log_q.sum(), leaf)
    scores = scores.reshape(count, rows, -1)
    kept = (nodes.weights > 0).unsqueeze(-1)
    scores = torch.where(kept, scores, torch.zeros_like(scores))
    tensor = torch.einsum("qn,qni,qnj->nij", nodes.weights, scores, scores)
    return tensor, nodes


def diagonal(*columns):
    return torch.diag_embed(torch.stack(torch.broadcast_tensors(*columns), dim=-1))


def normal(theta, phi):
    return laws.Normal(phi[:, 0], phi[:, 1].exp()).log_prob(theta[:, 0])


def student(df):
    def law(theta, phi):
        return laws.StudentT(df, phi[:, 0], phi[:, 1].exp()).log_prob(theta[:, 0])

    return law


def laplace(theta, phi):
    return laws.Laplace(phi[:, 0], phi[:, 1].exp()).log_prob(theta[:, 0])


def log_normal(theta, phi):
    law = laws.LogNormal(phi[:, 0], phi[:, 1].exp(), validate_args=False)
    return law.log_prob(theta[:, 0])


def gamma(theta, phi):
    law = laws.Gamma(phi[:, 0].exp(), phi[:, 1].exp(), validate_args=False)
    return law.log_prob(theta[:, 0])


def beta(theta, phi):
    law = laws.Beta(phi[:, 0].exp(), phi[:, 1].exp(), validate_args=False)
    return law.log_prob(theta[:, 0])


def precision(phi):
    return (-2 * phi[:, 1]).exp()


def gamma_fisher(phi):
    a = phi[:, 0].exp()
    rows = [torch.stack([a * a * torch.polygamma(1, a), -a], -1)]
    return torch.stack([*rows, torch.stack([-a, a], -1)], -2)


def beta_fisher(phi):
    a, b = phi.exp().unbind(-1)
    both = -a * b * torch.polygamma(1, a + b)
    first = a * a * (torch.polygamma(1, a) - torch.polygamma(1, a + b))
    second = b * b * (torch.polygamma(1, b) - torch.polygamma(1, a + b))
    return torch.stack([first, both, both, second], -1).reshape(-1, 2, 2)


def t_fisher(df):
    def tensor(phi):
        two = torch.tensor(2 * df / (df + 3), dtype=torch.float64)
        return diagonal((df + 1) / (df + 3) * precision(phi), two)

    return tensor


def two(value):
    return lambda phi: diagonal(precision(phi), torch.tensor(value).double())


@pytest.mark.parametrize(
    ("law", "space", "expected"),
    [
        (normal, LINE, two(2.0)),
        (laplace, LINE, two(1.0)),
        (student(3.0), LINE, t_fisher(3.0)),
        (student(1.5), LINE, t_fisher(1.5)),
        (student(1.0), LINE, t_fisher(1.0)),
        (log_normal, POSITIVE, two(2.0)),
        (log_normal, LINE, two(2.0)),
        (gamma, POSITIVE, gamma_fisher),
        (beta, parse_space("p:unit"), beta_fisher),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_fisher_information_on_a_line(law, space, expected):
    phi = phi_of().abs() * 0.5
    tensor, nodes = fisher(law, phi, space)
    torch.testing.assert_close(tensor, expected(phi), rtol=1e-6, atol=1e-6)
    one = torch.ones(len(phi), dtype=torch.float64)
    torch.testing.assert_close(nodes.normalisation, one, rtol=1e-8, atol=0.0)
    torch.testing.assert_close(nodes.weights.sum(0), one)
    assert (nodes.error < 1e-6).all()


def test_a_normal_is_found_wherever_it_is():
    loc = torch.tensor([0.0, 1e6, -1e6, 3.0, 7e5], dtype=torch.float64)
    scale = torch.tensor([1e-6, 1e6, 1e-2, 1e-6, 1.0], dtype=torch.float64)
    phi = torch.stack([loc, scale.log()], -1)
    tensor, nodes = fisher(normal, phi, LINE)
    unit = torch.stack([scale, torch.ones_like(scale)], -1)
    scaled = tensor * unit.unsqueeze(-1) * unit.unsqueeze(-2)
    expected = torch.diag(torch.tensor([1.0, 2.0])).double().expand(5, 2, 2)
    torch.testing.assert_close(scaled, expected, rtol=1e-6, atol=1e-6)
    assert (nodes.error < 1e-6).all()


def test_two_narrow_modes_far_apart():
    def law(theta, phi):
        parts = -0.5 * ((theta - phi) / 1e-2) ** 2 - math.log(1e-2)
        odds = torch.tensor([0.3, 0.7]).double().log()
        return (parts + odds).logsumexp(-1) - 0.5 * math.log(2 * math.pi)

    phi = 1e3 * torch.arange(-3.0, 5.0).double().reshape(4, 2) * math.sqrt(2)
    tensor, nodes = fisher(law, phi, LINE)
    expected = 1e4 * torch.diag(torch.tensor([0.3, 0.7])).double().expand(4, 2, 2)
    torch.testing.assert_close(tensor, expected, rtol=1e-6, atol=1e-2)
    assert (nodes.error < 1e-6).all()


def test_an_unnormalised_density_with_kinks_against_scipy():
    def law(theta, phi):
        bends = [(theta[:, 0] - at * phi[:, 0]).relu() for at in (-1.0, 0.2, 2.7)]
        return 3 + bends[0] - 2.5 * bends[1] + bends[2] - theta[:, 0].abs()

    nodes = grid_nodes(law, torch.tensor([[0.7]]).double(), LINE)

    def density(x):
        at = torch.tensor([[x]]).double()
        return math.exp(law(at, torch.tensor([[0.7]]).double()).item())

    edges = (-20.0, -0.7, 0.0, 0.14, 1.89, 20.0)
    ends = pairwise(edges)
    exact = sum(
        integrate.quad(density, a, b, epsabs=1e-9, epsrel=1e-9)[0] for a, b in ends
    )
    assert nodes.normalisation.item() == pytest.approx(exact, rel=1e-8)
    assert nodes.error.item() < 1e-6


def test_jumps_of_a_uniform_law_and_its_silence_outside():
    def law(theta, phi):
        x, (low, width) = theta[:, 0], phi.unbind(-1)
        inside = (x > low) & (x < low + width)
        return torch.where(inside, -width.log(), torch.nan)

    phi = torch.tensor([[0.3, 1.7], [-20.0, 30.0], [5.0, 4.0]], dtype=torch.float64)
    nodes = grid_nodes(law, phi, LINE)
    one = torch.ones(3, dtype=torch.float64)
    torch.testing.assert_close(nodes.normalisation, one, rtol=1e-8, atol=0.0)
    mean = (nodes.weights * nodes.targets[..., 0]).sum(0)
    torch.testing.assert_close(mean, phi[:, 0] + phi[:, 1] / 2)


def test_a_density_that_cannot_be_integrated_says_so():
    def flat(theta, phi):
        return 0 * theta[:, 0]

    def nothing(theta, phi):
        return theta[:, 0] * -math.inf

    phi = torch.zeros(2, 1, dtype=torch.float64)
    assert (grid_nodes(flat, phi, LINE).error > 0.1).all()
    empty = grid_nodes(nothing, phi, LINE)
    assert torch.isinf(empty.error).all()
    assert (empty.normalisation == 0).all()
    assert (empty.weights == 0).all()


def test_float32_noise_ends_the_refinement():
    phi, rows = phi_of(16), []

    def law(dtype):
        def log_q(theta, phi):
            rows[-1] += len(theta)
            return normal(theta.to(dtype), phi.to(dtype))

        rows.append(0)
        return log_q

    grid_nodes(law(torch.float64), phi, LINE)
    nodes = grid_nodes(law(torch.float32), phi, LINE)
    assert rows[1] < 1.5 * rows[0] < 1.5 * 16 * 40_000
    assert ((nodes.normalisation - 1).abs() < 1e-6).all()
    assert (nodes.error < 1e-5).all()


def test_a_row_does_not_depend_on_its_neighbours():
    def law(theta, phi):
        return -(theta[:, 0] - phi[:, 0]).abs() / phi[:, 1].exp() - phi[:, 1]

    phi = phi_of(3)
    other = phi.clone()
    other[1:, 1] -= 9.0
    other[2] = torch.nan
    one, two = (grid_nodes(law, p, LINE) for p in (phi, other))
    kept = min(len(one.weights), len(two.weights))
    assert torch.equal(one.weights[:kept, 0], two.weights[:kept, 0])
    assert (one.weights[kept:, 0] == 0).all()
    assert torch.equal(one.targets[:kept, 0], two.targets[:kept, 0])
    assert torch.equal(one.normalisation[:1], two.normalisation[:1])
    assert torch.equal(one.error[:1], two.error[:1])
    assert torch.isinf(two.error[2])


def bivariate(rho):
    def law(theta, phi):
        x, y = (theta - phi).unbind(-1)
        square = (x * x - 2 * rho * x * y + y * y) / (1 - rho**2)
        return -0.5 * square - math.log(2 * math.pi) - 0.5 * math.log(1 - rho**2)

    return law


@pytest.mark.parametrize("rho", [0.0, -0.6, 0.99])
def test_correlated_normal_on_a_plane(rho):
    tensor, nodes = fisher(bivariate(rho), phi_of(2), real_space(2))
    covariance = torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64)
    expected = torch.linalg.inv(covariance).expand(2, 2, 2)
    torch.testing.assert_close(tensor, expected, rtol=1e-6, atol=1e-6)
    assert ((nodes.normalisation - 1).abs() < 1e-8).all()
    assert (nodes.error < 1e-5).all()


def test_two_modes_on_a_plane():
    def law(theta, phi):
        near = -0.5 * theta.square().sum(-1) / 0.01 - math.log(0.01) + math.log(0.4)
        far = -0.5 * (theta - phi).square().sum(-1) + math.log(0.6)
        return torch.logaddexp(near, far) - math.log(2 * math.pi)

    phi = torch.tensor([[15.0, 20.0]], dtype=torch.float64)
    tensor, nodes = fisher(law, phi, real_space(2))
    expected = 0.6 * torch.eye(2, dtype=torch.float64)[None]
    torch.testing.assert_close(tensor, expected, rtol=1e-5, atol=1e-5)
    assert nodes.normalisation.item() == pytest.approx(1.0, abs=1e-7)


def test_a_crescent_on_a_plane():
    def law(theta, phi):  # y bends with x, and shears keep areas
        x, y = theta.unbind(-1)
        bent = (y - 2 * x * x - phi[:, 0]) / 0.3
        return -0.5 * (x * x + bent * bent) - math.log(2 * math.pi * 0.3)

    phi = torch.tensor([[0.4]], dtype=torch.float64)
    tensor, nodes = fisher(law, phi, real_space(2))
    assert nodes.normalisation.item() == pytest.approx(1.0, abs=1e-5)
    assert tensor.item() == pytest.approx(1 / 0.09, rel=1e-4)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("width", [0.3, 0.1, 0.05])
def test_a_banana_on_a_plane(width):
    """x ~ N(0, 1), y | x ~ N(x² + φ, w): far out its ridge is thinner than any cell."""

    def law(theta, phi):
        x, y = theta.unbind(-1)
        bent = (y - x * x - phi[:, 0]) / width
        return -0.5 * (x * x + bent * bent) - math.log(2 * math.pi * width)

    phi = torch.tensor([[0.4]], dtype=torch.float64)
    tensor, nodes = fisher(law, phi, real_space(2))
    assert nodes.normalisation.item() == pytest.approx(1.0, abs=1e-5)
    assert nodes.error.item() < 1e-3
    assert tensor.item() == pytest.approx(1 / width**2, rel=1e-4)


def choice_and_time(theta, phi):
    """Bernoulli choice, then a log-normal reaction time that depends on it."""
    right = theta[:, 1] > 0
    odds = torch.where(right, logsigmoid(phi[:, 0]), logsigmoid(-phi[:, 0]))
    loc = torch.where(right, phi[:, 1], phi[:, 2])
    scale = torch.where(right, phi[:, 3], phi[:, 4]).exp()
    law = laws.LogNormal(loc, scale, validate_args=False)
    return odds + law.log_prob(theta[:, 0])


def test_a_choice_beside_a_reaction_time():
    phi = phi_of(3, 5)
    space = parse_space("rt:positive,choice:{-1,1}")
    tensor, nodes = fisher(choice_and_time, phi, space)
    p = phi[:, 0].sigmoid()
    right, left = (p * (-2 * phi[:, 3]).exp(), (1 - p) * (-2 * phi[:, 4]).exp())
    expected = diagonal(p * (1 - p), right, left, 2 * p, 2 * (1 - p))
    torch.testing.assert_close(tensor, expected, rtol=1e-6, atol=1e-6)
    assert ((nodes.normalisation - 1).abs() < 1e-9).all()


def test_a_discrete_target_is_summed_over():
    def law(theta, phi):
        return theta[:, 0] * phi[:, 0] - phi[:, 0].exp().log1p()

    tensor, nodes = fisher(law, phi_of(3, 1), parse_space("y:{0,1}"))
    p = phi_of(3, 1).sigmoid()
    torch.testing.assert_close(tensor[:, 0], p * (1 - p))
    torch.testing.assert_close(nodes.log_density[1].exp(), p[:, 0])
    assert (nodes.error == 0).all()


def test_log_density_is_that_of_the_targets():
    phi = phi_of(2)
    nodes = grid_nodes(gamma, phi, POSITIVE)
    for row in range(2):
        kept = nodes.weights[:, row] > 0
        theta = nodes.targets[kept, row]
        direct = gamma(theta, phi[row].expand(len(theta), -1))
        torch.testing.assert_close(nodes.log_density[kept, row], direct)


def test_three_coordinates_are_too_many():
    with pytest.raises(ConfigError) as caught:
        grid_nodes(normal, phi_of(), real_space(3))
    assert "3 continuous coordinates" in caught.value.given
    assert "one or two" in caught.value.expected
    for word in ("--sampler", "--draws", "robaudit[mcmc]"):
        assert word in caught.value.next_step
