"""KL(q' ‖ q), against closed forms, sums and quadrature that are not ours."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from audit.families import build_family
from audit.geometry.divergences import build_divergence
from audit.nodes.noise import Noise

REVERSE = build_divergence("reverse_kl")


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


def references(family, phi, others, draws=4096):
    """Return D [1, M] and its error by the family's own reference."""
    laws = family.reference(REVERSE, phi, Noise(3, np.arange(1), draws))
    return laws(torch.arange(1), others.unsqueeze(0))


def test_a_normals_is_the_textbooks():
    normal = build_family("normal", {"loc": (1,), "scale": (1,)})
    (m, s), (k, t) = (0.7, 1.3), (1.1, 0.9)
    expected = math.log(s / t) + (t**2 + (k - m) ** 2) / (2 * s**2) - 0.5
    other_way = math.log(t / s) + (s**2 + (k - m) ** 2) / (2 * t**2) - 0.5
    found = REVERSE.exact(normal, row(m, s), row(k, t)).item()
    assert found == pytest.approx(expected, rel=1e-12)
    assert abs(expected - other_way) > 0.1  # the two directions are told apart


def test_a_poissons_is_the_textbooks():
    poisson = build_family("poisson", {"rate": (1,)})
    found = REVERSE.exact(poisson, row(3.0), row(5.5)).item()
    assert found == pytest.approx(5.5 * math.log(5.5 / 3.0) - 2.5, rel=1e-12)
    assert REVERSE.exact(poisson, row(3.0), row(0.0)).item() == pytest.approx(3.0)
    assert REVERSE.exact(poisson, row(0.0), row(3.0)).item() == math.inf


def test_a_categorical_laws_is_the_sum_and_counts_no_empty_class():
    classes = build_family("categorical", {"probs": (3,)})
    p, q = np.array([0.2, 0.5, 0.3]), np.array([0.6, 0.4, 0.0])
    expected = special.rel_entr(q, p).sum()
    assert REVERSE.exact(classes, row(*p), row(*q)).item() == pytest.approx(expected)
    assert REVERSE.exact(classes, row(*q), row(*p)).item() == math.inf


# weights as logits, places, scales
ONE, TWO = ((0.3, -0.2), (-1.0, 1.5), (0.6, 1.1)), ((0.1, 0.4), (-0.4, 2.0), (0.8, 0.7))


def packed(family, law):
    names = ("logits", "loc", "scale")
    return family.pack({k: row(*v) for k, v in zip(names, law, strict=True)})


def density(law, x):
    logits, locs, scales = map(np.array, law)
    return (special.softmax(logits) * stats.norm(locs, scales).pdf(x)).sum()


def test_a_mixtures_is_the_integral():
    mixture = build_family(
        "mixture:normal", {"logits": (2,), "loc": (2,), "scale": (2,)}
    )
    phi, other = (packed(mixture, law) for law in (ONE, TWO))

    def summand(x):
        q = density(TWO, x)
        return q * math.log(q / density(ONE, x))

    expected = integrate.quad(summand, -9, 11, epsabs=1e-12, limit=400)[0]
    value, error = references(mixture, phi, other)
    assert value.item() == pytest.approx(expected, rel=1e-8)
    assert error.item() == 0


PLANE = build_family("mixture:normal", {"logits": (2,), "loc": (2, 2), "scale": (2, 2)})


def plane(logits, locs, scales):
    """Return φ of a mixture in the plane, and its log density on a grid."""
    axis = np.linspace(-14, 14, 1401)
    parts = [
        stats.norm(loc[0], scale[0]).logpdf(axis)[:, None]
        + stats.norm(loc[1], scale[1]).logpdf(axis)[None, :]
        for loc, scale in zip(locs, scales, strict=True)
    ]
    weights = special.log_softmax(logits)[:, None, None]
    log_q = special.logsumexp(np.stack(parts) + weights, axis=0)
    phi = packed(PLANE, (logits, locs, scales))
    return phi, log_q, (axis[1] - axis[0]) ** 2


SMALL = [(0.0, 0.5), [(-1.0, 0.0), (1.2, 0.4)], [(0.8, 1.0), (0.7, 0.9)]]
MOVED = {
    "near": [(0.1, 0.45), [(-0.9, 0.1), (1.2, 0.3)], [(0.85, 1.0), (0.7, 0.95)]],
    "wider": [(0.0, 0.5), [(-1.0, 0.0), (1.2, 0.4)], [(1.9, 2.3), (1.8, 2.1)]],
    "with a place of its own": [
        (2.0, 0.5),
        [(-1.0, 0.0), (6.0, 6.0)],
        [(0.8, 1.0), (0.7, 0.9)],
    ],
    "elsewhere": [(0.0, 0.5), [(5.0, 6.0), (7.0, 5.0)], [(0.8, 1.0), (0.7, 0.9)]],
}


@pytest.mark.parametrize("where", MOVED)
def test_by_draws_it_is_the_integral_within_its_error(where):
    """Draws of the first law alone do not see the last two."""
    phi, log_q, _ = plane(*SMALL)
    other, log_moved, area = plane(*MOVED[where])
    expected = (np.exp(log_moved) * (log_moved - log_q)).sum() * area
    value, error = references(PLANE, phi, other)
    assert 0 < error.item() < 0.05 * expected + 1e-3
    assert abs(value.item() - expected) < 4 * error.item()


def test_draws_are_keyed_by_the_input_and_not_by_its_neighbours():
    phi, other = plane(*SMALL)[0], plane(*MOVED["near"])[0]
    many, moved = phi.expand(5, -1), other.expand(5, 1, -1)
    laws = PLANE.reference(REVERSE, many, Noise(3, np.arange(7, 12), 256))
    whole, _ = laws(torch.arange(5), moved)
    some, _ = laws(torch.tensor([3, 1]), moved[:2])
    assert torch.equal(some, whole[[3, 1]])
    assert len(set(whole.flatten().tolist())) == 5


def test_it_vanishes_at_no_step_and_is_half_of_fishers_form_at_a_small_one():
    phi = plane(*SMALL)[0]
    noise = Noise(3, np.arange(1), 1024)
    step = torch.tensor([0.1, -0.1, 0.3, 0.2, -0.1, 0.1, 0.1, 0.0, -0.2, 0.1]).double()
    both = torch.stack([phi + 1e-3 * step, phi - 1e-3 * step], dim=1)
    laws = PLANE.reference(REVERSE, phi, noise)
    assert laws(torch.arange(1), phi.unsqueeze(1))[0].item() == 0
    value = laws(torch.arange(1), both)[0].mean().item()
    root = REVERSE.metric_root(PLANE, phi, noise)
    form = (root.matmat(1e-3 * step[None, :, None])).square().sum().item() / 2
    assert value == pytest.approx(form, rel=0.02)


def test_what_has_no_value_under_either_law_is_not_known():
    neither = replace(REVERSE, exact=lambda q, a, b: None, exchanged=None)
    assert PLANE.reference(neither, plane(*SMALL)[0], Noise(0, np.arange(1), 4)) is None


@pytest.mark.parametrize("where", MOVED)
def test_kl_by_draws_counts_the_mass_that_no_draw_sees(where):
    """E[q'/q] is one only where q has all of q': the control variate says so."""
    phi, log_q, _ = plane(*SMALL)
    other, log_moved, area = plane(*MOVED[where])
    expected = (np.exp(log_q) * (log_q - log_moved)).sum() * area
    laws = PLANE.reference(build_divergence("kl"), phi, Noise(3, np.arange(1), 1024))
    value, error = laws(torch.arange(1), other.unsqueeze(1))
    assert 0 < error.item() < 0.35 * expected + 1e-3
    assert abs(value.item() - expected) < 4 * error.item()
