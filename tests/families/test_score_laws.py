"""The Fisher information is the covariance of the score, for every family."""

import pytest
import torch

from audit.errors import NoFisher, NoTransport

from .examples import EXAMPLES, LABELS

DRAWS = 20_000
ERRORS = 4.0  # standard errors


def fisher_or_skip(family, phi):
    try:
        root = family.fisher_root(phi)
    except NoFisher as refusal:
        pytest.skip(str(refusal))
    if root is None:
        pytest.skip("scores of this family have to be sampled")
    return root


def transport_or_skip(family, phi):
    try:
        return family.transport_root(phi)
    except NoTransport as refusal:
        pytest.skip(str(refusal))


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
    gap = (products.mean(0) - tensor).abs()
    assert (gap <= ERRORS * error + 1e-9 * tensor.abs().max()).all(), gap / error


@pytest.mark.parametrize("example", EXAMPLES, ids=LABELS)
def test_fisher_is_the_covariance_of_the_score(example):
    torch.manual_seed(3)
    family, phi = example.family, example.phi
    root = fisher_or_skip(family, phi).dense()[0]
    score = scores(family, phi)
    products = score.unsqueeze(-1) * score.unsqueeze(-2)
    assert_is_the_mean(root.mT @ root, products)


OWN_NOISE = {"cauchy", "student_t", "mixture:normal", "mixture:gamma", "von_mises"}


@pytest.mark.parametrize("example", EXAMPLES, ids=LABELS)
def test_transport_is_the_mean_square_of_the_samplers_jacobian(example):
    if example.family_name in OWN_NOISE:
        pytest.skip("torch draws by another map or by none, or G is infinite")
    torch.manual_seed(5)
    family, phi = example.family, example.phi
    root = transport_or_skip(family, phi).dense()[0]
    copies = copies_of(phi)
    draws = family.distribution(copies).rsample().reshape(DRAWS, -1)
    products = torch.zeros(DRAWS, family.size, family.size, dtype=torch.float64)
    for coordinate in draws.unbind(-1):
        (row,) = torch.autograd.grad(coordinate.sum(), copies, retain_graph=True)
        products += row.unsqueeze(-1) * row.unsqueeze(-2)
    assert_is_the_mean(root.mT @ root, products)


@pytest.mark.parametrize("example", EXAMPLES, ids=LABELS)
def test_roots_have_no_more_rows_than_parameters(example):
    family, phi = example.family, example.phi
    rows, columns = fisher_or_skip(family, phi).shape[1:]
    assert columns == family.size
    assert rows <= family.size


@pytest.mark.parametrize("example", EXAMPLES, ids=LABELS)
def test_fisher_of_an_input_does_not_depend_on_its_neighbours(example):
    family, phi = example.family, example.phi
    together = fisher_or_skip(family, phi).dense()
    alone = torch.cat([family.fisher_root(row[None]).dense() for row in phi])
    gram = together.mT @ together
    torch.testing.assert_close(gram, alone.mT @ alone, rtol=1e-9, atol=1e-12)
