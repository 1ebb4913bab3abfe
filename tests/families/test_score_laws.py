"""The transport tensor is the mean square of the sampler's own speed."""

import torch

from .examples import each_where

DRAWS = 20_000
ERRORS = 4.0  # standard errors
BLURRED = 0.3  # of a diagonal entry: with a larger error the mean could be anything


def copies_of(phi):
    return phi[:1].repeat(DRAWS, 1).requires_grad_()


def assert_is_the_mean(tensor, products):
    error = products.std(0) / DRAWS**0.5
    assert (error.diagonal() < BLURRED * tensor.diagonal()).all()
    gap = (products.mean(0) - tensor).abs()
    assert (gap <= ERRORS * error + 1e-9 * tensor.abs().max()).all(), gap / error


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
