"""T laws side by side against torch's own sums, and block diagonals written out."""

import numpy as np
import pytest
import torch
from torch import distributions as td

from audit.families import build_family
from audit.ground.errors import ConfigError
from audit.linalg.operators import rows_of
from audit.nodes.noise import Noise

torch.manual_seed(3)
N, T, K = 2, 3, 4
NOISE = Noise(0, np.arange(N), 4096)


def made(name, values, **options):
    shapes = {n: tuple(v.shape[1:]) for n, v in values.items()}
    family = build_family(name, shapes, **options)
    return family, family.pack(values)


def normal(*shape):
    return torch.randn(N, *shape, dtype=torch.float64)


def tril(*places, n=2):
    lower = torch.tril(normal(*places, n, n), -1)
    return lower + torch.diag_embed(normal(*places, n).exp())


def test_categoricals_of_a_sequence():
    logits, other = normal(T, K), normal(T, K)
    family, phi = made("categorical", {"logits": logits})
    _, moved = made("categorical", {"logits": other})
    assert (family.name, family.size, family.event_shape) == ("categorical", 12, (T,))
    laws = td.Categorical(logits=logits), td.Categorical(logits=other)
    torch.testing.assert_close(
        family.kl(phi, moved), td.kl_divergence(*laws).sum(-1), rtol=1e-12, atol=0
    )
    p = logits.softmax(-1)
    for i in range(N):
        blocks = [torch.diag(q) - torch.outer(q, q) for q in p[i]]
        root = family.fisher_root(phi)
        exact = torch.block_diag(*blocks)
        torch.testing.assert_close((root.dense().mT @ root.dense())[i], exact)
        v = torch.randn(N, family.size, 2, dtype=torch.float64)
        torch.testing.assert_close(root.rmatmat(root.matmat(v))[i], exact @ v[i])
        dense = root.dense()
        torch.testing.assert_close(root.gram()[i], (dense @ dense.mT)[i])
    alpha = 0.5
    q = other.softmax(-1)
    renyi = (p**alpha * q ** (1 - alpha)).sum(-1).log().sum(-1) / (alpha - 1)
    torch.testing.assert_close(family.renyi(phi, moved, alpha), renyi)
    assert family.jensen_shannon(phi, moved) is None
    second = rows_of(family.fisher_root(phi), torch.tensor([1]))
    torch.testing.assert_close(second.dense(), family.fisher_root(phi).dense()[1:])


def test_probabilities_are_judged_at_every_place():
    probs = torch.rand(N, T, K, dtype=torch.float64)
    probs = probs / probs.sum(-1, keepdim=True)
    probs[1, 2, 0] += 0.5
    family, phi = made("categorical", {"probs": probs})
    broken = family.violations(phi)["probs does not sum to one"]
    assert broken.tolist() == [False, True]


def test_draws_and_log_probabilities_fold():
    logits = normal(2, T, K)
    family, phi = made("categorical", {"logits": logits})
    law = family.distribution(phi)
    assert law.sample((5,)).shape == (5, N, 2, T)
    theta = torch.randint(K, (7, N, 2, T))
    exact = td.Categorical(logits=logits).log_prob(theta).sum((-1, -2))
    torch.testing.assert_close(law.log_prob(theta), exact)
    torch.testing.assert_close(family.unpack(phi)["logits"], logits)


def test_gaussians_of_a_sequence():
    values = {"loc": normal(T, 2), "scale_tril": tril(T)}
    others = {"loc": normal(T, 2), "scale_tril": tril(T)}
    family, phi = made("multivariate_normal", values)
    _, moved = made("multivariate_normal", others)
    laws = [td.MultivariateNormal(**each) for each in (values, others)]
    torch.testing.assert_close(
        family.kl(phi, moved), td.kl_divergence(*laws).sum(-1), rtol=1e-10, atol=0
    )
    assert family.event_shape == (T, 2)
    distance = (values["loc"] - others["loc"]).square().sum((1, 2))
    apart = (values["scale_tril"] - others["scale_tril"]).square().sum((1, 2, 3))
    torch.testing.assert_close(family.transport_distance(phi, moved), distance + apart)
    step = 1e-5 * torch.randn_like(phi)
    half = (family.fisher_root(phi).matmat(step[..., None])).square().sum((1, 2)) / 2
    torch.testing.assert_close(family.kl(phi, phi + step), half, rtol=2e-3, atol=0)


def test_a_matrix_that_all_places_share_is_one_of_each():
    """T = n = 2: the axes of the shared matrix are no places."""
    loc, shared = normal(2, 2), tril()
    family, phi = made("multivariate_normal", {"loc": loc, "scale_tril": shared})
    spread = shared[:, None].expand(N, 2, 2, 2)
    exact = td.MultivariateNormal(loc, scale_tril=spread)
    theta = torch.randn(N, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(
        family.distribution(phi).log_prob(theta), exact.log_prob(theta).sum(-1)
    )


def test_mixtures_of_a_sequence_are_sampled_and_bounded():
    values = {"logits": normal(T, 2), "loc": normal(T, 2), "scale": normal(T, 2).exp()}
    family, phi = made("mixture:normal", values)
    law = td.MixtureSameFamily(
        td.Categorical(logits=values["logits"]),
        td.Normal(values["loc"], values["scale"]),
    )
    theta = torch.randn(N, T, dtype=torch.float64)
    torch.testing.assert_close(
        family.distribution(phi).log_prob(theta), law.log_prob(theta).sum(-1)
    )
    root = family.fisher_root(phi)
    if root is None:
        root = family.root("fisher", phi, NOISE)
    found = root.dense().mT @ root.dense()
    draws = law.sample((4000,))
    leaf = phi.repeat(4000, 1).requires_grad_()
    log_density = family.distribution(leaf).log_prob(draws.flatten(0, 1))
    (scores,) = torch.autograd.grad(log_density.sum(), leaf)
    trace = scores.square().sum(-1).reshape(4000, -1).mean(0)
    torch.testing.assert_close(
        found.diagonal(dim1=-2, dim2=-1).sum(-1), trace, rtol=0.1, atol=0
    )


def test_places_that_differ_are_refused():
    with pytest.raises(ConfigError, match="different axes before"):
        build_family("multivariate_normal", {"loc": (3, 2), "scale_tril": (4, 2, 2)})


@pytest.mark.parametrize("name", ["dirichlet", "discrete_hazard", "ordinal"])
def test_other_families_of_vectors_have_places_too(name):
    own = normal(T, K).exp()
    values = {
        "dirichlet": {"concentration": own},
        "discrete_hazard": {"logits": own},
        "ordinal": {"loc": normal(T), "cutpoints": own.cumsum(-1)},
    }[name]
    family, phi = made(name, values)
    total = 0
    for t in range(T):
        part = {n: v[:, t] for n, v in values.items()}
        one, own_phi = made(name, part)
        total = total + one.kl(own_phi, 1.01 * own_phi)
    other = {n: 1.01 * v for n, v in values.items()}
    moved = family.pack(other)
    torch.testing.assert_close(family.kl(phi, moved), total)
