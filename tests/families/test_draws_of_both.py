"""Divergences by draws of both laws: against quadrature, and within their bounds."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audit.families import build_family
from audit.families.computed import ComputedFamily
from audit.families.givers import Nodes
from audit.families.implicit_values import implicit_reference
from audit.families.references import reference_of
from audit.geometry.divergences import hellinger, jensen_shannon, kl, reverse_kl
from audit.nodes.noise import Noise
from audit.nodes.space import real_space

DRAWS = 2048
NOISE = Noise(3, np.arange(1), DRAWS)
HERE = (0.3, -0.2, 0.7, 0.5)  # means and scales of two coordinates
THERE = {
    "near": (0.32, -0.21, 0.71, 0.5),
    "wider": (0.3, -0.2, 2.5, 1.5),
    "moved": (1.5, 0.6, 0.8, 0.4),
    "apart": (6.0, 4.0, 0.5, 0.3),
    "far apart": (300.0, -500.0, 0.2, 0.1),
}
HALVES = hellinger()
DRAWN = {  # as if no law knew a formula
    "jensen_shannon": jensen_shannon(),
    "hellinger": replace(HALVES, exact=lambda law, phi, other: None),
}


def normal(theta, at):
    """Return the density of two independent normal numbers."""
    m, s = np.array(at[:2]), np.array(at[2:])
    z = (theta - m) / s
    return np.exp(-(z**2).sum(-1) / 2) / (2 * np.pi * s.prod())


def truth(name, there):
    """Return the divergence, by the trapezoid rule on a fine grid of the plane."""
    ends = [HERE, there]
    low, high = (
        [pick(at[k] + sign * 9 * at[k + 2] for at in ends) for k in (0, 1)]
        for pick, sign in ((min, -1), (max, 1))
    )
    if max(np.subtract(high, low)) > 100:
        return {"jensen_shannon": math.log(2), "hellinger": 1.0}[name]
    x, y = (np.linspace(low[k], high[k], 1201) for k in (0, 1))
    theta = np.stack(np.meshgrid(x, y, indexing="ij"), -1)
    p, q = (normal(theta, at) for at in ends)
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(f > 0, f * np.log(f / m), 0.0) for f in (p, q)]
    whole = {
        "jensen_shannon": (parts[0] + parts[1]) / 2,
        "hellinger": (np.sqrt(p) - np.sqrt(q)) ** 2 / 2,
    }[name]
    return np.trapezoid(np.trapezoid(whole, y), x)


def phi_of(*laws):
    """Return φ [k, 4] as the family packs loc and scale."""
    rows = torch.tensor(laws, dtype=torch.float64)
    return FAMILY.pack({"loc": rows[:, :2], "scale": rows[:, 2:]})


FAMILY = build_family("normal", {"loc": (2,), "scale": (2,)})


def named(divergence, noise=NOISE, here=HERE):
    return reference_of(divergence, FAMILY, phi_of(here), noise)


def moved(made, there):
    """Return φ' [1, 1, 4] as a law packs it."""
    one = torch.tensor([there], dtype=torch.float64)
    return (phi_of(there) if made is named else one).unsqueeze(1)


def computed(divergence, noise=NOISE, here=HERE):
    """Return the same law as one that a file computes, with a sampler.

    Its density lacks a constant that nobody knows and that differs from law to law.
    """

    def log_density(theta, phi):
        m, s = phi[:, :2], phi[:, 2:]
        z = (theta - m) / s
        return 3 * phi[:, 0] - (z.square() / 2 + s.log()).sum(1)

    def nodes(phi, noise):
        z = torch.special.ndtri(noise.points(2).values)
        return Nodes(phi[:, :2] + phi[:, 2:] * z)

    source = SimpleNamespace(
        fixed=False,
        weighted=False,
        follows=True,
        count=lambda draws: draws,
        nodes=nodes,
    )
    family = ComputedFamily(4, real_space(2), log_density, None, None, source)
    phi = torch.tensor([here], dtype=torch.float64)
    return implicit_reference(divergence, family, phi, noise)


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("where", THERE)
@pytest.mark.parametrize("made", [named, computed])
def test_values_are_those_of_quadrature_and_within_the_bound(name, where, made):
    laws, there = made(DRAWN[name]), THERE[where]
    assert laws.sampled
    value, error = laws(torch.arange(1), moved(made, there))
    expected, bound = truth(name, there), DRAWN[name].supremum
    assert 0 < float(value) < bound
    unseen = 2 * bound / DRAWS  # a mass that none of the draws may meet
    assert abs(float(value) - expected) <= 4 * float(error) + unseen
    assert float(error) <= bound / math.sqrt(DRAWS)


@pytest.mark.parametrize("name", DRAWN)
def test_the_largest_of_many_moves_is_within_the_bound(name):
    """Draws of q alone say more than the bound at some of them."""
    laws = named(DRAWN[name])
    rng = np.random.default_rng(0)
    moves = rng.normal(size=(1, 200, 4)) * np.array([3, 3, 0.4, 0.4])
    others = torch.tensor(np.array(HERE) + moves)
    others[..., 2:] = others[..., 2:].abs() + 0.1
    value, _ = laws(torch.arange(1), phi_of(*others[0].tolist()).unsqueeze(0))
    assert float(value.max()) < DRAWN[name].supremum


def test_laws_without_common_support_reach_the_bound():
    uniform = build_family("uniform", {"low": (2,), "high": (2,)})
    rows = torch.tensor([[0.0, 0.0, 1.0, 1.0], [2.0, 0.0, 3.0, 1.0]]).double()
    phi = uniform.pack({"low": rows[:, :2], "high": rows[:, 2:]})
    laws = reference_of(jensen_shannon(), uniform, phi[:1], NOISE)
    value, error = laws(torch.arange(1), phi[1:].unsqueeze(0))
    assert float(value) == jensen_shannon().supremum
    assert float(error) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 3.0, 10.0])
@pytest.mark.parametrize("shift", [0.0, 1.0])
@pytest.mark.parametrize("made", [named, computed])
@pytest.mark.parametrize("of", [kl, reverse_kl])
def test_kl_to_wider_and_moved_laws_has_the_error_that_it_says(of, made, scale, shift):
    """Draws of one law are off by two to twenty times the error that they give."""
    there = (shift, -shift, scale, scale)
    expected = 2 * (math.log(scale) + (1 + shift**2) / (2 * scale**2) - 0.5)
    if of is reverse_kl:
        expected = scale**2 + shift**2 - 1 - 2 * math.log(scale)
    drawn, off = replace(of(), exact=lambda law, phi, other: None), []
    for seed in range(20):
        laws = made(drawn, Noise(seed, np.arange(1), 512), (0.0, 0.0, 1.0, 1.0))
        value, error = laws(torch.arange(1), moved(made, there))
        if expected == 0:
            assert float(value) == pytest.approx(0, abs=1e-12)
            continue
        assert float(value) == pytest.approx(expected, rel=0.5)
        off.append((float(value) - expected) / float(error))
    if off:
        assert np.sqrt(np.mean(np.square(off))) < 1.8


def test_kl_is_infinite_where_the_moved_law_has_no_mass():
    uniform = build_family("uniform", {"low": (2,), "high": (2,)})
    rows = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.0, 2.0, 1.0]]).double()
    phi = uniform.pack({"low": rows[:, :2], "high": rows[:, 2:]})
    drawn = replace(kl(), exact=lambda law, phi, other: None)
    laws = reference_of(drawn, uniform, phi[:1], NOISE)
    value, _ = laws(torch.arange(1), phi[1:].unsqueeze(0))
    assert float(value) == math.inf


def test_searches_climb_on_draws_of_one_law_where_there_is_no_bound():
    drawn = replace(kl(), exact=lambda law, phi, other: None)
    assert named(drawn).guide() is not None
    assert named(jensen_shannon()).guide() is None


def test_the_slope_of_common_draws_is_that_of_their_differences():
    laws = named(jensen_shannon())
    at = phi_of(THERE["moved"]).unsqueeze(1).requires_grad_()
    (slope,) = torch.autograd.grad(laws(torch.arange(1), at)[0].sum(), at)
    for k in range(4):
        step = torch.zeros_like(at)
        step[..., k] = 1e-5
        with torch.no_grad():
            up, down = (laws(torch.arange(1), at + s)[0] for s in (step, -step))
        assert float(slope[..., k]) == pytest.approx(float(up - down) / 2e-5, rel=1e-5)
