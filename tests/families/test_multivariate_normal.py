import mpmath as mp
import numpy as np
import pytest
import torch
from scipy.linalg import solve_continuous_lyapunov, sqrtm
from torch.distributions import MultivariateNormal, kl_divergence

from audit.families import build_family

from .examples import EXAMPLES, each
from .levels import nearly

GAUSSIANS = [e for e in EXAMPLES if "multivariate_normal" in e.family_name]
each_gaussian = each(GAUSSIANS)


def neighbour(example, size=0.1):
    torch.manual_seed(2)
    return example.phi + size * torch.rand_like(example.phi)


def dense(law):
    return MultivariateNormal(law.mean, law.covariance_matrix)


@each_gaussian
def test_kl_is_that_of_torch(example):
    family, phi, other = example.family, example.phi, neighbour(example)
    laws = [dense(family.distribution(value)) for value in (phi, other)]
    exact = kl_divergence(*laws)
    torch.testing.assert_close(family.kl(phi, other), exact, rtol=1e-10, atol=0)


@each_gaussian
@pytest.mark.parametrize("alpha", [0.5, 1.2])
def test_renyi_is_the_log_partition_formula(example, alpha):
    family, phi, other = example.family, example.phi, neighbour(example)
    p, q = (dense(family.distribution(value)) for value in (phi, other))
    mixed = (1 - alpha) * p.covariance_matrix + alpha * q.covariance_matrix
    shift = (p.mean - q.mean).unsqueeze(-1)
    move = (shift.mT @ torch.linalg.inv(mixed) @ shift).flatten()
    logdets = (
        torch.logdet(mixed)
        - (1 - alpha) * torch.logdet(p.covariance_matrix)
        - alpha * torch.logdet(q.covariance_matrix)
    )
    exact = alpha * move / 2 - logdets / (2 * (alpha - 1))
    torch.testing.assert_close(
        family.renyi(phi, other, alpha), exact, rtol=1e-9, atol=0
    )


def test_renyi_is_infinite_if_the_tilted_covariance_is_not_positive():
    family = build_family("multivariate_normal", {"loc": (1,), "scale_tril": (1, 1)})
    wide, narrow = (torch.tensor([[0.0, s]], dtype=torch.float64) for s in (2.0, 1.0))
    assert family.renyi(wide, narrow, 2.0).item() == np.inf


@each_gaussian
def test_the_wasserstein_distance_is_that_of_bures(example):
    family, phi, other = example.family, example.phi, neighbour(example, 0.3)
    p, q = (dense(family.distribution(value)) for value in (phi, other))
    for i, ours in enumerate(family.wasserstein_distance(phi, other)):
        first, second = (law.covariance_matrix[i].numpy() for law in (p, q))
        root = sqrtm(first)
        cross = sqrtm(root @ second @ root).real
        shift = (p.mean[i] - q.mean[i]).square().sum().item()
        exact = shift + np.trace(first + second - 2 * cross)
        assert ours.item() == nearly(exact, 1e-9)


def bures(first, second):
    """tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½), of mpmath matrices."""
    root = mp.sqrtm(first)
    gap = first + second - 2 * mp.sqrtm(root * second * root)
    return mp.fsum(mp.re(gap[i, i]) for i in range(gap.rows))


@pytest.mark.parametrize("size", [1e-2, 1e-5, 1e-7])
@each_gaussian
def test_the_wasserstein_distance_of_close_gaussians_keeps_its_digits(example, size):
    """1e-14 of the traces that a formula would subtract."""
    family, phi, other = example.family, example.phi, neighbour(example, size)
    form = family.wasserstein_root(phi).matmat((other - phi).unsqueeze(-1))
    for i, ours in enumerate(family.wasserstein_distance(phi, other)):
        with mp.workdps(50):
            pair = [exact_law(example, value[i]) for value in (phi, other)]
            shift = mp.norm(pair[0][0] - pair[1][0]) ** 2
            exact = shift + bures(pair[0][1], pair[1][1])
        assert ours.item() == nearly(float(exact), 1e-7)
        quadratic = form[i].square().sum().item()
        assert quadratic == nearly(float(exact), 30 * size + 1e-7)


def exact_law(example, phi):
    """Mean and covariance of φ, as mpmath sees the very same numbers."""
    values = {k: v.numpy() for k, v in example.family.unpack(phi).items()}
    loc, *matrices = (mp.matrix(v.tolist()) for v in values.values())
    if "scale_tril" in values:
        return loc, matrices[0] * matrices[0].T
    if "covariance_matrix" in values:
        return loc, matrices[0]
    if "precision_matrix" in values:
        return loc, matrices[0] ** -1
    factor, diagonal = matrices
    return loc, factor * factor.T + mp.diag(list(diagonal))


def factors_of(values):
    """What the map multiplies its noise with: Cholesky's factor, or (W, √D)."""
    if "scale_tril" in values:
        return values["scale_tril"].tril()
    if "covariance_matrix" in values:
        return torch.linalg.cholesky(values["covariance_matrix"])
    if "precision_matrix" in values:
        return torch.linalg.cholesky(torch.linalg.inv(values["precision_matrix"]))
    root = torch.diag_embed(values["cov_diag"].sqrt())
    return torch.cat([values["cov_factor"], root], dim=-1)


@each_gaussian
def test_transport_is_the_square_of_the_derivatives_of_mean_and_factor(example):
    """T = μ + A z with E z zᵀ = I has E‖dT‖² = ‖dμ‖² + ‖dA‖²."""
    family = example.family

    def moved(phi):
        values = family.unpack(phi[None])
        return torch.cat([values["loc"].flatten(), factors_of(values).flatten()])

    root = family.transport_root(example.phi).dense()
    for row, phi in zip(root, example.phi, strict=True):
        slope = torch.autograd.functional.jacobian(moved, phi)
        torch.testing.assert_close(row.mT @ row, slope.mT @ slope, rtol=1e-9, atol=1e-9)


@each_gaussian
def test_the_wasserstein_tensor_solves_lyapunovs_equation(example):
    """‖dμ‖² + ½ tr(S dΣ) with Σ S + S Σ = dΣ, S the derivative of the best map."""
    family = example.family
    root = family.wasserstein_root(example.phi).dense()
    for row, phi in zip(root, example.phi, strict=True):

        def covariance(phi):
            factor = factors_of(family.unpack(phi[None]))[0]
            return factor @ factor.mT

        steps = torch.autograd.functional.jacobian(covariance, phi).movedim(-1, 0)
        at = covariance(phi).numpy()
        maps = [solve_continuous_lyapunov(at, step) for step in steps.numpy()]
        exact = torch.einsum("iab,jab->ij", torch.tensor(np.array(maps)), steps) / 2
        exact[: family.n, : family.n] += torch.eye(family.n)
        torch.testing.assert_close(row.mT @ row, exact, rtol=1e-9, atol=1e-9)


@each_gaussian
def test_the_transport_distance_is_never_below_the_wasserstein_distance(example):
    family, phi, other = example.family, example.phi, neighbour(example, 0.3)
    gauge = family.transport_distance(phi, other)
    assert (gauge >= family.wasserstein_distance(phi, other) * (1 - 1e-12)).all()


@each_gaussian
def test_the_bures_tensor_is_never_above_the_transport_tensor(example):
    transport, bures = (
        getattr(example.family, name)(example.phi).dense()
        for name in ("transport_root", "wasserstein_root")
    )
    excess = transport.mT @ transport - bures.mT @ bures
    assert torch.linalg.eigvalsh(excess).min() > -1e-10


def test_a_rotation_of_the_factor_moves_no_law_and_costs_no_wasserstein_distance():
    (example,) = (e for e in GAUSSIANS if e.family_name.startswith("low_rank"))
    family = build_family(
        "low_rank_multivariate_normal",
        {"loc": (3,), "cov_factor": (3, 2), "cov_diag": (3,)},
    )
    factor = torch.tensor([[[1.0, 0.3], [0.2, -1.0], [0.5, 0.5]]])
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    phi, step = (
        family.pack(
            {
                "loc": torch.zeros(1, 3),
                "cov_factor": w,
                "cov_diag": torch.ones(1, 3) * d,
            }
        )
        for w, d in ((factor, 1.0), (factor @ turn, 0.0))
    )
    forms = {
        name: getattr(family, name)(phi)
        .matmat(step.unsqueeze(-1))
        .square()
        .sum()
        .item()
        for name in ("fisher_root", "transport_root", "wasserstein_root")
    }
    assert forms["fisher_root"] == pytest.approx(0.0, abs=1e-20)
    assert forms["wasserstein_root"] == pytest.approx(0.0, abs=1e-20)
    assert forms["transport_root"] == pytest.approx(factor.square().sum().item())
    assert example.family.transport_name.startswith("loc + W z")


def test_fisher_of_scale_tril_is_the_hessian_of_kl():
    example = GAUSSIANS[1]
    family, phi = example.family, example.phi[:1]

    def kl(other):
        p, q = (family.distribution(value[None]) for value in (phi[0], other))
        return kl_divergence(p, q)[0]

    hessian = torch.autograd.functional.hessian(kl, phi[0].clone())
    root = family.fisher_root(phi).dense()[0]
    torch.testing.assert_close(root.mT @ root, hessian, rtol=1e-10, atol=1e-10)
