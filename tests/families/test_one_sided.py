"""Divergences on the panels of one law, and when these are not enough."""

import itertools
import math

import pytest
import torch
from scipy import integrate

from audit.families.integrands import JENSEN_SHANNON, RELATIVE_ENTROPY, Renyi
from audit.families.line_mixture import LineMixture
from audit.families.one_sided import on_first_panels
from audit.families.quadrature import divergence

LAWS = {
    "normal": lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi),
    "laplace": lambda z: math.exp(-abs(z)) / 2,
}
FIRST = [(0.45, -1.5, 0.4), (0.3, 0.2, 1.0), (0.25, 2.5, 0.25)]


def mixture(component: str) -> LineMixture:
    return LineMixture(component, {"probs": (3,), "loc": (3,), "scale": (3,)})


def row(family: LineMixture, parts: list[tuple[float, float, float]]) -> torch.Tensor:
    names = "probs", "loc", "scale"
    columns = (
        torch.tensor([each], dtype=torch.float64) for each in zip(*parts, strict=True)
    )
    return family.pack(dict(zip(names, columns, strict=True)))


def exact(component: str, first: list, second: list, of: str) -> float:
    """D by adaptive quadrature over the stretches between all centres."""
    law = LAWS[component]

    def density(y: float, parts: list) -> float:
        return sum(p / s * law((y - m) / s) for p, m, s in parts)

    def value(y: float) -> float:
        f, g = density(y, first), density(y, second)
        if f < 1e-300 or g < 1e-300:
            return g
        r = math.log(g / f)
        if of == "kl":
            return f * (math.expm1(r) - r)
        if of == "renyi":
            return f * math.exp(r / 2) - (f + g) / 2
        return (-f * math.log((1 + g / f) / 2) - g * math.log((1 + f / g) / 2)) / 2

    ends = sorted({m + k * s for _, m, s in first + second for k in range(-8, 9, 2)})
    ends = [ends[0] - 30, *ends, ends[-1] + 30]
    pieces = itertools.pairwise(ends)
    total = sum(
        integrate.quad(value, a, b, epsabs=1e-15, epsrel=1e-12)[0] for a, b in pieces
    )
    return -2 * math.log1p(total) if of == "renyi" else total


@pytest.mark.parametrize("component", LAWS)
@pytest.mark.parametrize(
    ("of", "integrand"),
    [("kl", RELATIVE_ENTROPY), ("renyi", Renyi(0.5)), ("js", JENSEN_SHANNON)],
)
def test_values_are_those_of_adaptive_quadrature(component, of, integrand):
    family = mixture(component)
    seconds = [
        [(p, m + step, s * (1 + step / 3)) for p, m, s in FIRST]
        for step in (0.01, 0.1, 0.5, 2.0)
    ]
    left = row(family, FIRST).repeat(len(seconds), 1)
    right = torch.cat([row(family, parts) for parts in seconds])
    found = divergence(family, left, right, integrand)
    wanted = [exact(component, FIRST, parts, of) for parts in seconds]
    assert found.tolist() == pytest.approx(wanted, rel=1e-9)


def test_near_laws_are_seen_on_the_panels_of_the_first():
    family = mixture("normal")
    near = [(p, m + 0.02, s * 1.01) for p, m, s in FIRST]
    pair = row(family, FIRST), row(family, near)
    assert bool(on_first_panels(family, *pair, RELATIVE_ENTROPY).isfinite().all())


@pytest.mark.parametrize(
    "second",
    [
        [(0.45, -1.5, 0.4), (0.3, 0.2, 1.0), (0.25, 2.5, 1e-4)],  # between the nodes
        [(0.45, -1.5, 0.4), (0.3, 0.2, 1.0), (0.25, 80.0, 0.25)],  # beyond the panels
        [(0.45, -1.5, 0.4), (0.3 - 1e-9, 0.2, 1.0), (0.25 + 1e-9, 2.5, 1e-3)],
    ],
)
def test_what_the_first_law_does_not_see_is_left_to_panels_of_both(second):
    family = mixture("normal")
    pair = row(family, FIRST), row(family, second)
    assert bool(on_first_panels(family, *pair, RELATIVE_ENTROPY).isnan().all())
    found = divergence(family, *pair, RELATIVE_ENTROPY)
    assert found.item() == pytest.approx(exact("normal", FIRST, second, "kl"), rel=1e-9)


@pytest.mark.parametrize("moved", [0, 1])
def test_a_gradient_passes_where_panels_do_and_where_they_do_not(moved):
    family = mixture("normal")
    seconds = [
        [(0.45, -1.4, 0.42), (0.3, 0.2, 1.0), (0.25, 2.5, 0.25)],
        [(0.45, -1.4, 0.42), (0.3, 0.2, 1.0), (0.25, 2.5, 1e-3)],
    ]
    pair = [
        row(family, FIRST).repeat(2, 1),
        torch.cat([row(family, s) for s in seconds]),
    ]
    seen = on_first_panels(family, *pair, RELATIVE_ENTROPY).isfinite()
    assert seen.tolist() == [True, False]

    def value(law):
        laws = [law if place == moved else pair[place] for place in range(2)]
        return divergence(family, *laws, RELATIVE_ENTROPY)

    leaf = pair[moved].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf).sum(), leaf)
    for j in range(3, 5):
        step = torch.zeros_like(leaf)
        step[:, j] = 1e-5
        slope = (value(pair[moved] + step) - value(pair[moved] - step)) / 2e-5
        assert gradient[:, j].tolist() == pytest.approx(slope.tolist(), rel=1e-6)


def test_laws_that_no_panels_resolve_are_not_seen_whoever_is_beside_them():
    family = mixture("normal")
    broken = row(family, [(0.45, 1e9, 1e-5), (0.3, 0.2, 1.0), (0.25, 2.5, 0.25)])
    left = torch.cat([row(family, FIRST), broken])
    found = on_first_panels(family, left, left, RELATIVE_ENTROPY)
    assert found[0].item() == 0
    assert math.isnan(found[1].item())
