"""Every quadratic form predicts its exact divergence, the better the smaller the step.

What `test_laws` holds of every family is not said again: here is the order above one,
the other direction, one coordinate alone and the linear law.

The step is a random direction in units of each parameter's own size. A divergence is
(form) (1 + O(h)), so a step eight times smaller has to be about eight times closer.
"""

import torch

from .examples import EXAMPLES, each, each_where

LARGE, SMALL = 2e-2, 2.5e-3
each_with_fisher = each_where(lambda e: e.has_fisher)


def direction_of(example):
    phi, generator = example.phi, torch.Generator().manual_seed(11)
    step = torch.randn(phi.shape, generator=generator, dtype=phi.dtype)
    step *= phi.abs().clamp_min(0.05)
    if example.values.keys() & {"probs"} and example.is_of_classes:
        step -= step.mean(-1, keepdim=True)
    return step


def widened(example, step):
    """The step, turned to laws of heavier tails: other divergences are infinite."""
    values = example.family.unpack(step)
    for name, sign in example.expected.wider.items():
        values[name] = sign * values[name].abs()
    return example.family.pack(values)


def quadratic(root, step):
    return root.matmat(step.unsqueeze(-1)).square().sum((-2, -1))


def assert_predicts(form, exact, phi, direction):
    """form(step) and exact(phi, phi + step) agree to first order of the step."""
    errors = []
    for size in (LARGE, SMALL):
        step = size * direction
        value = exact(phi, phi + step)
        assert torch.isfinite(value).all()
        assert (value > 0).all()
        errors.append((form(step) / value - 1).abs().max().item())
    assert errors[1] < 5e-2
    assert errors[1] < errors[0] / 4 or errors[1] < 1e-5


def fisher_form(example, factor):
    root = example.family.fisher_root(example.phi)
    return lambda step: factor * quadratic(root, step)


@each_with_fisher
def test_half_alpha_the_fisher_form_predicts_renyi_above_one(example):
    alpha = 1.7

    def exact(phi, other):
        return example.family.renyi(phi, other, alpha)

    direction = widened(example, direction_of(example))
    form = fisher_form(example, alpha / 2)
    assert_predicts(form, exact, example.phi, direction)


KNOWN = [e for e in EXAMPLES if e.expected.has_fisher]
WITH_SHANNON = [e for e in KNOWN if e.expected.shannon == "exact"] + [
    e.first_coordinate for e in KNOWN if e.expected.shannon == "alone"
]


@each(WITH_SHANNON)
def test_an_eighth_of_the_fisher_form_predicts_jensen_shannon(example):
    exact, direction = example.family.jensen_shannon, direction_of(example)
    assert_predicts(fisher_form(example, 1 / 8), exact, example.phi, direction)


@each_where(lambda e: e.linear)
def test_the_linear_law_predicts_the_distance_of_a_discrete_family(example):
    root = example.family.linear_root(example.phi)

    def form(step):
        return root.matmat(step.unsqueeze(-1)).abs().sum((-2, -1))

    exact, direction = example.family.transport_distance, direction_of(example)
    assert_predicts(form, exact, example.phi, direction)


@each_with_fisher
def test_the_tensors_of_both_directions_of_kl_are_the_same(example):
    def backwards(phi, other):
        return example.family.kl(other, phi)

    form = fisher_form(example, 0.5)
    assert_predicts(form, backwards, example.phi, direction_of(example))
