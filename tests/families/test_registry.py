import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.families import COMPOSED, FAMILIES, OTHER_WORDS, build_family
from audit.families.observed import log_likelihood
from audit.ground.errors import ConfigError, UnknownName
from audit.models.names import parameterizations

from .examples import each_example, each_where


@each_example
def test_the_name_builds_the_same_family_again(example):
    family = example.family
    again = build_family(family.name, family.shapes, **example.options)
    assert type(again) is type(family)
    assert again.name == family.name == example.family_name
    assert again.size == family.size
    assert torch.equal(again.pack(example.tensors), example.phi)


@each_where(lambda e: e.kl == "none" and e.fisher == "refused")
def test_a_law_without_a_density_has_no_log_prob(example):
    law = example.family.distribution(example.phi)
    with pytest.raises(NotImplementedError):
        law.log_prob(law.sample())


def test_a_theta_that_a_law_does_not_have_is_impossible_and_spoils_no_other():
    """Of three classes there is no seventh, and torch looks it up all the same."""
    theta = torch.tensor([[2.0], [7.0], [0.0]])
    phi = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
    found = log_likelihood(build_family("categorical", {"probs": (3,)}), theta, phi)
    expected = torch.tensor([[0.3], [0.0], [0.2]], dtype=torch.float64)
    torch.testing.assert_close(found.exp(), expected)


def test_an_option_among_the_parameters_is_told_from_them():
    with pytest.raises(ConfigError, match="with --option total_count=VALUE"):
        build_family("binomial", {"total_count": (), "logits": ()})


@pytest.mark.parametrize("scale", [1e-300, 0.0, -1e-300])
def test_a_scale_is_above_zero(scale):
    phi = torch.tensor([[0.3, scale], [0.3, 1.0]], dtype=torch.float64)
    wrong = build_family("normal", {"loc": (), "scale": ()}).violations(phi)
    marked = torch.stack(list(wrong.values())).any(0)
    assert marked.tolist() == [scale <= 0, False]


@pytest.mark.parametrize("count", [1, 3])
def test_samples_are_at_least_four_of_each_input(count):
    with pytest.raises(ConfigError, match=rf"shape \({count}, 2\)"):
        build_family("samples", {"samples": (count, 2)})
    assert build_family("samples", {"samples": (4, 2)}).draws == 4


def test_parameters_broadcast_to_the_event():
    family = build_family("normal", {"loc": (3,), "scale": ()})
    loc = torch.tensor([[1.0, 2.0, 3.0]])
    phi = family.pack({"loc": loc, "scale": torch.tensor([0.5])})
    assert phi.tolist() == [[1.0, 2.0, 3.0, 0.5, 0.5, 0.5]]
    assert family.event_shape == (3,)


def test_a_scalar_head_has_a_scalar_event():
    family = build_family("normal", {"loc": (), "scale": ()})
    phi = family.pack({"loc": torch.zeros(4), "scale": torch.ones(4)})
    assert family.event_shape == ()
    assert family.distribution(phi).sample((2,)).shape == (2, 4)


@pytest.mark.parametrize(
    ("name", "shapes", "options", "words"),
    [
        ("normal", {"loc": (2,), "scale": (3,)}, {}, "broadcast"),
        ("normal", {"loc": (2,), "sigma": (2,)}, {}, "loc, scale"),
        ("normal", {"loc": (2,), "scale": (2,)}, {"df": 3}, "option"),
        ("binomial", {"probs": (2,)}, {}, "total_count"),
        ("binomial", {"probs": (2,)}, {"total_count": "many"}, "numbers"),
        ("binomial", {"probs": ()}, {"total_count": 7.5}, "positive whole number"),
        ("binomial", {"probs": ()}, {"total_count": 0}, "positive whole number"),
        ("binomial", {"probs": ()}, {"total_count": "3,4"}, "one positive"),
        ("binomial", {"probs": ()}, {"total_count": []}, "numbers"),
        ("binomial", {"probs": ()}, {"total_count": float("nan")}, "numbers"),
        ("pareto", {"alpha": ()}, {"scale": -1.0}, "one positive number"),
        ("pareto", {"alpha": ()}, {"scale": "1,2"}, "one positive number"),
        ("pareto", {"alpha": ()}, {"scale": "inf"}, "numbers"),
        ("pareto", {"scale": (), "alpha": ()}, {"scale": 2.0}, "twice"),
        ("quantile", {"quantiles": (2,)}, {"levels": "0.1,nan"}, "numbers"),
        ("quantile", {"quantiles": (0,)}, {"levels": ()}, "numbers"),
        (
            "mixture:normal",
            {"logits": (2,), "loc": (2,), "component.loc": (2,), "scale": (2,)},
            {},
            "twice",
        ),
        ("categorical", {"probs": ()}, {}, "vector"),
        ("multivariate_normal", {"loc": (2,), "scale_tril": (3, 3)}, {}, "square"),
        ("quantile", {"quantiles": (3,)}, {"levels": (0.5, 0.1, 0.9)}, "increas"),
        ("quantile", {"quantiles": (3,)}, {"levels": (0.1, 0.9)}, "levels"),
        ("quantile", {"quantiles": (3,)}, {}, "levels"),
        ("normal,gamma", {"loc": (2,), "scale": (2,)}, {}, "place"),
        ("mixture:normal", {"loc": (2,), "scale": (2,)}, {}, "weights"),
        ("mixture:normal", {"logits": (3,), "loc": (2,), "scale": (3,)}, {}, "first"),
    ],
)
def test_what_does_not_fit_is_a_configuration_error(name, shapes, options, words):
    with pytest.raises(ConfigError, match=words):
        build_family(name, shapes, **options)


def test_an_unknown_family_names_its_neighbour():
    with pytest.raises(UnknownName, match="normal"):
        build_family("norml", {"loc": (), "scale": ()})


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("normal", {"loc": 0.0, "scale": -1.0}, "scale is not positive"),
        ("bernoulli", {"probs": 1.2}, "between 0 and 1"),
        ("negative_binomial", {"total_count": -1.0, "probs": 0.5}, "total_count"),
        ("uniform", {"low": 1.0, "high": 1.0}, "above"),
        ("categorical", {"probs": [0.5, 0.6]}, "sum to one"),
        ("categorical", {"probs": [-0.5, 1.5]}, "negative"),
        ("dirichlet", {"concentration": [-0.5, 1.5]}, "positive"),
    ],
)
def test_no_member_of_the_family_is_a_violation(name, values, reason):
    tensors = {k: torch.tensor([v], dtype=torch.float64) for k, v in values.items()}
    family = build_family(name, {k: tuple(v.shape[1:]) for k, v in tensors.items()})
    found = family.violations(family.pack(tensors))
    assert [key for key, wrong in found.items() if wrong.all() and reason in key]


@pytest.mark.parametrize("matrix", ["covariance_matrix", "precision_matrix"])
def test_a_matrix_that_is_not_symmetric_or_not_positive_is_a_violation(matrix):
    family = build_family("multivariate_normal", {"loc": (2,), matrix: (2, 2)})
    lopsided, indefinite = [[1.0, 0.5], [0.1, 1.0]], [[1.0, 2.0], [2.0, 1.0]]
    values = {"loc": torch.zeros(2, 2), matrix: torch.tensor([lopsided, indefinite])}
    found = family.violations(family.pack(values))
    assert found[f"{matrix} is not symmetric"].tolist() == [True, False]
    assert found[f"{matrix} is not positive definite"].tolist() == [False, True]


@pytest.mark.parametrize(("gap", "said"), [(0.9e-5, False), (1.1e-5, True)])
def test_what_float32_leaves_of_symmetry_is_no_violation(gap, said):
    """A hundred-thousandth of the largest entry, which is 4 here."""
    family = build_family(
        "multivariate_normal", {"loc": (2,), "precision_matrix": (2, 2)}
    )
    matrix = torch.tensor([[[4.0, 1.0], [1.0 + 4 * gap, 2.0]]], dtype=torch.float64)
    phi = family.pack({"loc": torch.zeros(1, 2), "precision_matrix": matrix})
    found = family.violations(phi)["precision_matrix is not symmetric"]
    assert found.tolist() == [said]


def test_crossing_quantiles_are_a_violation():
    family = build_family("quantile", {"quantiles": (3,)}, levels=(0.1, 0.5, 0.9))
    phi = torch.tensor([[0.0, 1.0, 2.0], [0.0, 2.0, 1.0]], dtype=torch.float64)
    assert family.violations(phi)["quantiles cross"].tolist() == [False, True]


positive = st.floats(1e-3, 1e3)


@given(
    name=st.sampled_from(["gamma", "weibull", "beta", "inverse_gamma"]),
    pairs=st.lists(st.tuples(positive, positive), min_size=2, max_size=4),
)
@settings(max_examples=25, deadline=None)
def test_tensors_are_symmetric_finite_and_do_not_depend_on_the_batch(name, pairs):
    names = next(iter(FAMILIES[name].parameterizations))
    family = build_family(name, dict.fromkeys(names, ()))
    phi = torch.tensor(pairs, dtype=torch.float64)
    together = family.fisher_root(phi).dense()
    alone = torch.cat([family.fisher_root(row[None]).dense() for row in phi])
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=0.0)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("mdn", "mixture:normal"),
        ("Gaussian", "normal"),
        ("zip", "zero_inflated:poisson"),
    ],
)
def test_other_words_for_a_family_are_understood(said, meant):
    with pytest.raises(UnknownName, match=f"Did you mean '{meant}'"):
        FAMILIES[said]


def test_every_other_word_means_a_family_that_there_is():
    for name in OTHER_WORDS.values():
        kind, _, component = name.partition(":")
        assert kind in (COMPOSED if component else FAMILIES)
        assert (component or kind) in FAMILIES


@pytest.mark.parametrize(
    "name", ["truncated:mixture:normal", "mixture:truncated:normal"]
)
def test_a_law_of_composed_laws_is_refused_as_one(name):
    words = f"made of {name.partition(':')[2]}, which is made of normal"
    with pytest.raises(ConfigError, match=words) as error:
        build_family(name, {"logits": (2,), "loc": (2,), "scale": (2,)})
    kind = name.partition(":")[0]
    assert f"as in {kind}:normal" in str(error.value)
    with pytest.raises(ConfigError, match=words):
        parameterizations(name)
