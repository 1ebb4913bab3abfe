import numpy as np
import pytest
import torch
from scipy import integrate, special

from audit.families import build_family
from audit.ground.errors import NoFisher, NoTransport

from .examples import EXAMPLES, each
from .levels import nearly

each_mixture = each([e for e in EXAMPLES if e.family_name.startswith("mixture:")])

WEIGHTS, LOC, SCALE = (0.3, 0.7), (-1.0, 1.5), (0.6, 1.1)
H = 1e-3


def family_of():
    shapes = {"probs": (2,), "loc": (2,), "scale": (2,)}
    return build_family("mixture:normal", shapes)


def row(*numbers):
    return torch.tensor([numbers], dtype=torch.float64)


PHI = (*WEIGHTS, LOC[0], SCALE[0], LOC[1], SCALE[1])
OTHER = (0.35, 0.65, -0.9, 0.65, 1.4, 1.2)


def parts_of(phi, x):
    weights = np.array(phi[:2]) / sum(phi[:2])
    scale = np.array(phi[3::2])
    return weights, scale, (x - np.array(phi[2::2])) / scale


def density(phi, x):
    weights, scale, z = parts_of(phi, x)
    return weights @ (np.exp(-(z**2) / 2) / scale) / np.sqrt(2 * np.pi)


def cdf(phi, x):
    weights, _, z = parts_of(phi, x)
    return weights @ special.ndtr(z)


def slopes(function, x):
    """Central differences of fourth order in every parameter."""
    found = []
    for i in range(len(PHI)):

        def moved(k, i=i):
            return function([v + k * H * (j == i) for j, v in enumerate(PHI)], x)

        found.append((8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * H))
    return np.array(found)


def integral(function):
    return integrate.quad_vec(function, -9, 10, epsabs=1e-11, epsrel=1e-10)[0]


def test_fisher_is_its_integral():
    def products(x):
        slope = slopes(density, x)
        return np.outer(slope, slope) / density(PHI, x)

    root = family_of().fisher_root(row(*PHI)).dense()[0]
    ours = (root.mT @ root).numpy()
    np.testing.assert_allclose(ours, integral(products), rtol=1e-6, atol=1e-8)


def test_transport_is_its_integral():
    def products(x):
        slope = slopes(cdf, x)
        return np.outer(slope, slope) / density(PHI, x)

    root = family_of().transport_root(row(*PHI)).dense()[0]
    ours = (root.mT @ root).numpy()
    exact = integrate.quad_vec(products, -6, 8.7, epsabs=1e-11, epsrel=1e-10)[0]
    np.testing.assert_allclose(ours, exact, rtol=1e-6, atol=1e-6)


def test_divergences_are_their_integrals():
    family, phi, other = family_of(), row(*PHI), row(*OTHER)

    def values(x):
        p, q = density(PHI, x), density(OTHER, x)
        mean = (p + q) / 2
        kl = p * np.log(p / q)
        shannon = (p * np.log(p / mean) + q * np.log(q / mean)) / 2
        return np.array([kl, p**1.3 * q**-0.3, shannon])

    kl, tilted, shannon = integral(values)
    assert family.kl(phi, other).item() == nearly(kl, 1e-8)
    assert family.jensen_shannon(phi, other).item() == nearly(shannon, 1e-7)
    renyi = np.log(tilted) / 0.3
    assert family.renyi(phi, other, 1.3).item() == nearly(renyi, 1e-7)


@each_mixture
def test_observing_the_component_can_only_add_information(example):
    family, phi = example.family, example.phi
    bound = family.complete_fisher_root(phi).dense()
    exact = family.fisher_root(phi)
    if exact is None:
        torch.manual_seed(0)
        copies = phi[:1].repeat(20_000, 1).requires_grad_()
        law = family.distribution(copies)
        (score,) = torch.autograd.grad(law.log_prob(law.sample()).sum(), copies)
        information, bound, slack = score.mT @ score / len(score), bound[:1], 0.05
    else:
        root = exact.dense()
        information, slack = root.mT @ root, 1e-10
    gap = torch.linalg.eigvalsh(bound.mT @ bound - information)
    assert (gap[..., 0] > -slack * gap[..., -1]).all()


def test_the_bound_is_that_of_draws_that_show_their_component():
    """F of (component, draw): of the weights, and of components, weighted."""
    shapes = {"logits": (2,), "loc": (2,), "scale": (2,)}
    family = build_family("mixture:normal", shapes)
    odds = np.array([0.2, -0.4])
    weights = special.softmax(odds)
    phi = row(*odds, LOC[0], SCALE[0], LOC[1], SCALE[1])
    exact = np.zeros((6, 6))
    exact[:2, :2] = np.diag(weights) - np.outer(weights, weights)
    exact[range(2, 6), range(2, 6)] = [
        weights[k] * many / SCALE[k] ** 2 for k in range(2) for many in (1, 2)
    ]
    root = family.complete_fisher_root(phi).dense()[0].numpy()
    np.testing.assert_allclose(root.T @ root, exact, rtol=1e-12, atol=1e-15)


def test_equal_components_are_one_normal():
    family = family_of()
    phi = row(0.4, 0.6, 0.3, 1.2, 0.3, 1.2)
    step = row(0.0, 0.0, 0.01, 0.02, 0.01, 0.02)
    normal = build_family("normal", {"loc": (), "scale": ()})
    one, other = row(0.3, 1.2), row(0.31, 1.22)
    for name in ("kl", "jensen_shannon", "transport_distance"):
        ours = getattr(family, name)(phi, phi + step)
        torch.testing.assert_close(ours, getattr(normal, name)(one, other))
    for name in ("fisher_root", "transport_root"):
        ours = getattr(family, name)(phi).matmat(step.unsqueeze(-1)).square().sum()
        theirs = getattr(normal, name)(one).matmat((other - one).unsqueeze(-1))
        torch.testing.assert_close(ours, theirs.square().sum())


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mixture:normal", {"loc": (2, 3), "scale": (2, 3)}),
        ("mixture:multivariate_normal", {"loc": (2, 3), "scale_tril": (2, 3, 3)}),
        ("mixture:pareto", {"alpha": (2,)}),
        ("mixture:von_mises", {"loc": (2,), "concentration": (2,)}),
    ],
)
def test_a_mixture_without_one_increasing_map_refuses_transport(name, values):
    family = build_family(name, {"logits": (2,), **values})
    with pytest.raises(NoTransport, match="Only a mixture of one continuous number"):
        family.transport_root(torch.ones(1, family.size, dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mixture:uniform", {"low": (2,), "high": (2,)}),
        ("mixture:pareto", {"scale": (2,), "alpha": (2,)}),
    ],
)
def test_a_mixture_of_moving_supports_has_no_fisher_information(name, values):
    family = build_family(name, {"logits": (2,), **values})
    with pytest.raises(NoFisher, match="the support"):
        family.fisher_root(torch.ones(1, family.size, dtype=torch.float64))


def test_the_score_can_be_asked_for_where_gradients_are_switched_off():
    with torch.inference_mode():
        root = family_of().fisher_root(row(*PHI)).dense()
    torch.testing.assert_close(root.clone(), family_of().fisher_root(row(*PHI)).dense())


def test_a_component_without_variance_leaves_its_row_infinite():
    shapes = {"logits": (2,), "df": (2,), "loc": (2,), "scale": (2,)}
    family = build_family("mixture:student_t", shapes)
    heavy = (0.0, 0.0, 1.0, 0.0, 1.0, 3.0, 0.0, 1.0)
    light = (0.0, 0.0, 4.0, 0.0, 1.0, 3.0, 0.0, 1.0)
    phi = torch.tensor([heavy, light], dtype=torch.float64)
    known = torch.isfinite(family.transport_root(phi).dense()).flatten(1).all(-1)
    (caveat,) = family.transport_caveat(phi).values()
    assert known.tolist() == [False, True]
    assert caveat.tolist() == [True, False]


def test_a_mixture_of_circles_does_not_care_where_the_circle_begins():
    shapes = {"probs": (2,), "loc": (2,), "concentration": (2,)}
    family = build_family("mixture:von_mises", shapes)
    here = row(0.3, 0.7, 0.2, 3.0, 2.9, 1.5)
    turned = row(0.3, 0.7, 0.2 + 2.0, 3.0, 2.9 + 2.0 - 2 * np.pi, 1.5)
    first, second = (family.fisher_root(phi).dense()[0] for phi in (here, turned))
    torch.testing.assert_close(first.mT @ first, second.mT @ second)


def test_weights_of_counts_need_not_sum_to_one():
    """∂q/∂w_j = (f_j − q)/Σw, and the information is the sum of squares over q."""
    weights, rates, k = np.array([2.0, 3.0]), np.array([1.3, 6.0]), np.arange(80)
    parts = np.exp(k * np.log(rates)[:, None] - rates[:, None] - special.gammaln(k + 1))
    mass = weights @ parts / weights.sum()
    slopes = np.concatenate(
        [
            (parts - mass) / weights.sum(),
            (weights / weights.sum())[:, None] * parts * (k / rates[:, None] - 1),
        ]
    )
    family = build_family("mixture:poisson", {"probs": (2,), "rate": (2,)})
    root = family.fisher_root(row(*weights, *rates)).dense()
    found = (root.mT @ root)[0].numpy()
    np.testing.assert_allclose(found, slopes / mass @ slopes.T, rtol=1e-7, atol=1e-12)


def test_what_is_no_parameter_is_not_packed():
    one = torch.ones(1, 2, dtype=torch.float64)
    values = {"probs": one / 2, "loc": one, "scale": one}
    family = family_of()
    assert torch.equal(family.pack({**values, "theta": 7 * one}), family.pack(values))


def test_places_on_a_circle_are_looked_for_within_half_a_turn_of_the_first():
    """As 3, −3 and 1 are seen from 3: at 3, 2π − 3 and 1."""
    shapes = {"probs": (3,), "loc": (3,), "concentration": (3,)}
    family = build_family("mixture:von_mises", shapes)
    values = {"probs": [0.5, 0.2, 0.3], "loc": [3.0, -3.0, 1.0]}
    values["concentration"] = [2.0, 3.0, 4.0]
    phi = family.pack({name: torch.tensor([v]) for name, v in values.items()})
    center, _ = family.bulk(phi.double())
    assert center[0].tolist() == pytest.approx([3.0, 2 * np.pi - 3, 1.0], abs=1e-12)


def test_components_far_apart_have_an_infinite_transport_tensor():
    family = family_of()
    root = family.transport_root(row(0.5, 0.5, -200.0, 1.0, 200.0, 1.0)).dense()
    assert torch.isinf(root).any()


@pytest.mark.parametrize(("weights", "share"), [("logits", 0.7), ("probs", 1.0)])
def test_one_component_alone_is_its_law(weights, share):
    # its weight is certain, whatever its logit: its row and column of F and G are 0
    family = build_family("mixture:normal", {weights: (1,), "loc": (1,), "scale": (1,)})
    loc, scale, moved, wider = 0.4, 0.6, 0.7, 0.9
    phi, other = row(share, loc, scale), row(share, moved, wider)
    assert not any(bad.any() for bad in family.violations(phi).values())
    kl = np.log(wider / scale) - 0.5
    kl += (scale**2 + (loc - moved) ** 2) / (2 * wider**2)
    assert family.kl(phi, other).item() == nearly(kl, 1e-9)
    exact = {
        "fisher": np.diag([0, 1 / scale**2, 2 / scale**2]),
        "transport": np.diag([0, 1, 1]),
    }
    for root, tensor in exact.items():
        found = getattr(family, f"{root}_root")(phi).dense()[0]
        ours = (found.mT @ found).numpy()
        np.testing.assert_allclose(ours, tensor, rtol=1e-8, atol=1e-9)
