"""The Fisher information is the covariance of the score, for every family."""

import pytest
import torch

from .examples import each_where

DRAWS = 20_000
ERRORS = 4.0  # standard errors
BLURRED = 0.3  # of a diagonal entry: with a larger error the mean could be anything


def copies_of(phi):
    return phi[:1].repeat(DRAWS, 1).requires_grad_()


def scores(family, phi):
    copies = copies_of(phi)
    law = family.distribution(copies)
    draws = law.sample().detach()
    (score,) = torch.autograd.grad(law.log_prob(draws).sum(), copies)
    return score


def assert_is_the_mean(tensor, products):
    error = products.std(0) / DRAWS**0.5
    assert (error.diagonal() < BLURRED * tensor.diagonal()).all()
    gap = (products.mean(0) - tensor).abs()
    assert (gap <= ERRORS * error + 1e-9 * tensor.abs().max()).all(), gap / error


@each_where(lambda e: e.has_fisher)
def test_fisher_is_the_covariance_of_the_score(example):
    torch.manual_seed(3)
    family, phi = example.family, example.phi
    root = family.fisher_root(phi).dense()[0]
    score = scores(family, phi)
    products = score.unsqueeze(-1) * score.unsqueeze(-2)
    assert_is_the_mean(root.mT @ root, products)


def products_of_the_samplers_jacobian(family, phi):
    copies = copies_of(phi)
    draws = family.distribution(copies).rsample().reshape(DRAWS, -1)
    products = torch.zeros(DRAWS, family.size, family.size, dtype=torch.float64)
    for coordinate in draws.unbind(-1):
        (row,) = torch.autograd.grad(coordinate.sum(), copies, retain_graph=True)
        products += row.unsqueeze(-1) * row.unsqueeze(-2)
    return products


@each_where(lambda e: e.sampler == "same map")
def test_transport_is_the_mean_square_of_the_samplers_jacobian(example):
    torch.manual_seed(5)
    family, phi = example.family, example.phi
    root = family.transport_root(phi).dense()[0]
    products = products_of_the_samplers_jacobian(family, phi)
    assert_is_the_mean(root.mT @ root, products)


@each_where(lambda e: e.sampler == "another map")
def test_a_sampler_by_another_map_moves_draws_further(example):
    """The increasing map has the least speed of all, in every direction."""
    torch.manual_seed(5)
    family, phi = example.family, example.phi[1:]  # of the lighter tails
    root = family.transport_root(phi).dense()[0]
    products = products_of_the_samplers_jacobian(family, phi)
    excess = (products.mean(0) - root.mT @ root).diagonal()
    error = products.std(0).diagonal() / DRAWS**0.5
    assert (excess > -ERRORS * error - 1e-9).all()
    assert (excess > ERRORS * error + 1e-9).any()


@each_where(lambda e: e.has_fisher)
def test_roots_have_no_more_rows_than_parameters(example):
    family, phi = example.family, example.phi
    rows, columns = family.fisher_root(phi).shape[1:]
    assert columns == family.size
    assert rows <= family.size


@pytest.mark.parametrize("kind", ["fisher_root", "transport_root"])
@each_where(lambda e: e.has_fisher and e.has_transport)
def test_a_tensor_of_an_input_does_not_depend_on_its_neighbours(example, kind):
    assert_rows_are_independent(getattr(example.family, kind), example.phi)


@each_where(lambda e: e.has_fisher and not e.has_transport)
def test_fisher_of_an_input_does_not_depend_on_its_neighbours(example):
    assert_rows_are_independent(example.family.fisher_root, example.phi)


def assert_rows_are_independent(root_of, phi):
    together = root_of(phi).dense()
    alone = torch.cat([root_of(row[None]).dense() for row in phi])
    gram = together.mT @ together
    torch.testing.assert_close(gram, alone.mT @ alone, rtol=1e-9, atol=1e-12)
