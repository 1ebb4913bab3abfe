"""The code does what the table of `expected` says, no less and no more."""

import pytest
import torch

from audit.families import FAMILIES
from audit.ground.errors import NoFisher, NoTransport
from audit.nodes import panels as panels_module

from .examples import EXAMPLES, each, each_where
from .expected import EXPECTED

SMALL = 1e-3
ROOTS = ("transport_root", "wasserstein_root")
ORDERS = (0.5, 1.7)


def test_the_table_has_each_example_once():
    labels = [example.label for example in EXAMPLES]
    assert sorted(labels) == sorted(EXPECTED)


def test_every_registered_family_is_in_the_table_with_each_of_its_parameters():
    listed = {(e.family_name, frozenset(e.values)) for e in EXAMPLES}
    known = {
        (name, frozenset(names))
        for name in FAMILIES
        for names in FAMILIES[name].parameterizations
    }
    assert {name for name, _ in known} == set(FAMILIES)
    assert known <= listed


@pytest.fixture
def quadratures(monkeypatch):
    """A list that grows whenever a quadrature rule is used."""
    used, rule = [], panels_module.gauss_legendre

    def spy():
        used.append(True)
        return rule()

    monkeypatch.setattr(panels_module, "gauss_legendre", spy)
    return used


def step_of(example, wider=True):
    """A small step of every parameter, to larger supports or the opposite."""
    family = example.family
    values = family.unpack(SMALL * example.phi.abs().clamp_min(0.1))
    for name, sign in example.expected.wider.items():
        values[name] = values[name] * (sign if wider else -sign)
    step = family.pack(values)
    if "probs" in example.values and example.is_of_classes:
        step = step - step.mean(-1, keepdim=True)
    return step


@each_where(lambda e: e.has_fisher)
def test_fisher_is_known_in_the_way_of_the_table(example, quadratures):
    root = example.family.fisher_root(example.phi)
    assert bool(quadratures) == (example.expected.fisher == "quadrature")
    information = root.dense().mT @ root.dense()
    assert information.shape == (2, example.family.size, example.family.size)
    assert torch.isfinite(information).all()
    assert (information.diagonal(dim1=-2, dim2=-1) > 0).all()


@each_where(lambda e: e.fisher == "sampled")
def test_scores_that_have_to_be_sampled_have_no_root(example):
    assert example.family.fisher_root(example.phi) is None


@each_where(lambda e: e.fisher == "refused")
def test_a_refusal_of_fisher_says_why_and_what_else(example):
    assert example.expected.fisher_words
    with pytest.raises(NoFisher, match=example.expected.fisher_words) as refusal:
        example.family.fisher_root(example.phi)
    assert example.family_name in str(refusal.value)
    assert "audit" in str(refusal.value).lower()
    assert "-d quantile" in str(refusal.value)


@pytest.mark.parametrize("kind", ROOTS)
@each_where(lambda e: e.has_transport)
def test_transport_is_known_in_the_way_of_the_table(example, kind, quadratures):
    root = getattr(example.family, kind)(example.phi)
    assert bool(quadratures) == (example.expected.transport == "quadrature")
    tensor = root.dense().mT @ root.dense()
    assert tensor.shape == (2, example.family.size, example.family.size)
    assert torch.isfinite(tensor).all()
    assert (tensor.diagonal(dim1=-2, dim2=-1) > 0).all()
    for unknown in example.family.transport_caveat(example.phi).values():
        assert unknown.tolist() == [False, False]


@pytest.mark.parametrize("kind", ROOTS)
@each_where(lambda e: e.transport == "infinite")
def test_an_infinite_transport_tensor_is_infinite_and_said_to_be(example, kind):
    family, phi = example.family, example.phi
    root = getattr(family, kind)(phi).dense()
    assert torch.isinf(root).flatten(1).any(-1).all()
    (caveat,) = family.transport_caveat(phi).items()
    assert "variance" in caveat[0]
    assert caveat[1].tolist() == [True, True]
    assert torch.isposinf(family.transport_distance(phi, 1.01 * phi)).all()


@pytest.mark.parametrize("kind", ROOTS)
@each_where(lambda e: e.transport == "refused")
def test_a_refusal_of_transport_says_why_and_what_else(example, kind):
    assert example.expected.transport_words
    with pytest.raises(NoTransport, match=example.expected.transport_words) as refusal:
        getattr(example.family, kind)(example.phi)
    assert f"The family {example.family_name} " in str(refusal.value)
    assert "audit it with -d kl" in str(refusal.value).lower()


@each_where(lambda e: e.linear)
def test_a_linear_law_has_a_root_with_a_row_for_a_step(example):
    root = example.family.linear_root(example.phi)
    assert root.shape[::2] == (2, example.family.size)
    assert torch.isfinite(root.dense()).all()
    assert (root.dense().abs().sum(1) > 0).all()
    assert example.family.discrete


@each_where(lambda e: not e.linear)
def test_no_linear_law_is_no_root(example):
    assert example.family.linear_root(example.phi) is None


@each_where(lambda e: e.kl != "none")
def test_kl_and_renyi_are_exact_towards_a_wider_law(example):
    family, phi = example.family, example.phi
    other = phi + step_of(example)
    values = [family.kl(phi, other), *(family.renyi(phi, other, a) for a in ORDERS)]
    for value in values:
        assert value.shape == (2,)
        assert torch.isfinite(value).all()
        assert (value > 0).all()
    for value in (family.kl(phi, phi), *(family.renyi(phi, phi, a) for a in ORDERS)):
        assert value.tolist() == pytest.approx([0.0, 0.0], abs=1e-12)


@each_where(lambda e: e.kl != "none")
def test_kl_and_renyi_towards_a_narrower_law_are_those_of_the_table(example):
    family, phi = example.family, example.phi
    other = phi + step_of(example, wider=False)
    kl, above = family.kl(phi, other), family.renyi(phi, other, 1.7)
    assert torch.isposinf(kl).tolist() == [example.expected.kl == "one way"] * 2
    assert torch.isposinf(above).tolist() == [bool(example.expected.wider)] * 2
    assert torch.isfinite(family.renyi(phi, other, 0.5)).all()
    for value in (kl, above):
        assert not torch.isnan(value).any()


@each_where(lambda e: e.kl == "none")
def test_an_unknown_kl_is_none(example):
    family, phi = example.family, example.phi
    assert family.kl(phi, phi) is None
    assert all(family.renyi(phi, phi, alpha) is None for alpha in ORDERS)
    assert family.jensen_shannon(phi, phi) is None


@each_where(lambda e: e.shannon == "exact")
def test_an_exact_jensen_shannon_divergence_is_a_number(example):
    assert_shannon(example)


@each_where(lambda e: e.shannon != "exact")
def test_an_unknown_jensen_shannon_divergence_is_none(example):
    assert example.family.jensen_shannon(example.phi, example.phi) is None


ALONE = [e.first_coordinate for e in EXAMPLES if e.expected.shannon == "alone"]


@each(ALONE)
def test_one_coordinate_has_its_jensen_shannon_divergence(example):
    assert example.family.event_shape == ()
    assert_shannon(example)


def assert_shannon(example):
    family, phi = example.family, example.phi
    value = family.jensen_shannon(phi, phi + step_of(example))
    assert value.shape == (2,)
    assert torch.isfinite(value).all()
    assert (value > 0).all()


@each_where(lambda e: e.distance and e.transport != "infinite")
def test_an_exact_distance_is_a_number(example):
    family, phi = example.family, example.phi
    other = phi + step_of(example)
    for distance in (family.transport_distance, family.wasserstein_distance):
        value = distance(phi, other)
        assert value.shape == (2,)
        assert torch.isfinite(value).all()
        assert (value > 0).all()
        assert distance(phi, phi).tolist() == pytest.approx([0.0, 0.0], abs=1e-12)


@each_where(lambda e: not e.distance)
def test_an_unknown_distance_is_none(example):
    family, phi = example.family, example.phi
    assert family.transport_distance(phi, phi) is None
    assert family.wasserstein_distance(phi, phi) is None


@each_where(lambda e: e.bound)
def test_a_complete_data_bound_exists(example):
    family, phi = example.family, example.phi
    assert family.complete_fisher_root(phi).shape[::2] == (2, family.size)
    assert torch.isfinite(family.complete_fisher_root(phi).dense()).all()


@each_where(lambda e: not e.bound)
def test_no_complete_data_bound_is_none(example):
    assert example.family.complete_fisher_root(example.phi) is None


@each_where(lambda e: e.sampler == "none")
def test_a_sampler_without_a_map_has_no_gradient(example):
    law = example.family.distribution(example.phi)
    assert not law.has_rsample
    assert example.expected.has_transport


@each_where(lambda e: e.sampler == "")
def test_only_an_example_without_a_finite_tensor_has_no_sampler_to_compare(example):
    assert not example.expected.has_transport
