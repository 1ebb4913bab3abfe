"""Every quadratic form predicts its exact divergence, the better the smaller the step.

The step is a random direction in units of each parameter's own size. A divergence is
(form) (1 + O(h)), so a step eight times smaller has to be about eight times closer.
"""

import pytest
import torch

from audit.errors import NoFisher, NoTransport

from .examples import EXAMPLES, LABELS

LARGE, SMALL = 2e-2, 2.5e-3
each_example = pytest.mark.parametrize("example", EXAMPLES, ids=LABELS)


def direction_of(example):
    torch.manual_seed(11)
    phi = example.phi
    step = torch.randn_like(phi) * phi.abs().clamp_min(0.05)
    if example.values.keys() & {"probs"} and "categorical" in example.family_name:
        step -= step.mean(-1, keepdim=True)
    return step


def quadratic(root, step):
    return root.matmat(step.unsqueeze(-1)).square().sum((-2, -1))


def assert_predicts(form, exact, example):
    """form(step) and exact(phi, phi + step) agree to first order of the step."""
    phi, direction = example.phi, direction_of(example)
    errors = []
    for size in (LARGE, SMALL):
        step = size * direction
        value = exact(phi, phi + step)
        if value is None:
            pytest.skip("there is no exact value")
        known = torch.isfinite(value)
        if not known.any():
            pytest.skip("the divergence is infinite at any distance")
        errors.append((form(step) / value - 1)[known].abs().max().item())
    assert errors[1] < 5e-2
    assert errors[1] < errors[0] / 4 or errors[1] < 1e-5


def fisher_form(example, factor):
    try:
        root = example.family.fisher_root(example.phi)
    except NoFisher as refusal:
        pytest.skip(str(refusal))
    if root is None:
        pytest.skip("scores of this family have to be sampled")
    return lambda step: factor * quadratic(root, step)


@each_example
def test_half_the_fisher_form_predicts_kl(example):
    assert_predicts(fisher_form(example, 0.5), example.family.kl, example)


@each_example
@pytest.mark.parametrize("alpha", [0.5, 1.7])
def test_half_alpha_the_fisher_form_predicts_renyi(example, alpha):
    def exact(phi, other):
        return example.family.renyi(phi, other, alpha)

    assert_predicts(fisher_form(example, alpha / 2), exact, example)


@each_example
def test_an_eighth_of_the_fisher_form_predicts_jensen_shannon(example):
    exact = example.family.jensen_shannon
    assert_predicts(fisher_form(example, 1 / 8), exact, example)


def transport_form(example, kind):
    try:
        root = getattr(example.family, kind)(example.phi)
    except NoTransport as refusal:
        pytest.skip(str(refusal))
    if not torch.isfinite(root.dense()).all():
        pytest.skip("the second moment is infinite")
    return lambda step: quadratic(root, step)


@each_example
def test_the_transport_form_predicts_the_quantile_distance(example):
    form = transport_form(example, "transport_root")
    assert_predicts(form, example.family.transport_distance, example)


@each_example
def test_the_wasserstein_form_predicts_the_wasserstein_distance(example):
    form = transport_form(example, "wasserstein_root")
    assert_predicts(form, example.family.wasserstein_distance, example)


@each_example
def test_the_linear_law_predicts_the_distance_of_a_discrete_family(example):
    root = example.family.linear_root(example.phi)
    if root is None:
        pytest.skip("the quantile distance is not linear")

    def form(step):
        return root.matmat(step.unsqueeze(-1)).abs().sum((-2, -1))

    assert_predicts(form, example.family.transport_distance, example)


@each_example
def test_the_tensors_of_both_directions_of_kl_are_the_same(example):
    def backwards(phi, other):
        return example.family.kl(other, phi)

    assert_predicts(fisher_form(example, 0.5), backwards, example)
