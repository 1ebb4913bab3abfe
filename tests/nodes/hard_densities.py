"""Eleven densities that are hard to integrate, with exact values in closed form.

Each is a function of θ [R, c] in plain torch. `mass` is ∫ q; `mean` is the mean of `of`
under q / ∫ q. How each is found:

    two modes      normal laws: the sum of the shares, and of the shares times centres
    spike          a logistic law of scale s has variance π² s² / 3
    Student t      B(1/2, ν/2) √ν; E ln(1 + θ²/ν) = ψ((ν + 1)/2) − ψ(ν/2)
    log-Cauchy     with u = ln θ: ∫ du / (π (1 + u²)²) = 1/2
    banana         E θ₂ = E θ₁² = 1
    ring           ∫ r e^{−(r−R)²/2s²} dr = R s √2π; E r² = R² + 3 s², to e^{−R²/2s²}
    funnel         E θ₁² = 9
    beta           B(a, a); E θ² = a (a + 1) / (2 a (2 a + 1))
    comb           as two modes
    kink and jump  ∫_{−1}^∞ e^{−|θ|} = 2 − 1/e; ∫ θ e^{−|θ|} = 2/e
    log-normal     E ln² θ = 25
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from scipy import special
from torch.nn.functional import logsigmoid


class Hard(NamedTuple):
    space: str
    log_density: Callable
    mass: float
    of: Callable
    mean: float
    tolerance: float  # relative, of both, where the rule believes itself


def normal(x, center, width):
    return -0.5 * ((x - center) / width) ** 2 - math.log(width * math.sqrt(2 * math.pi))


def mixed(parts):
    def log_density(theta):
        each = [math.log(w) + normal(theta[:, 0], m, s) for w, m, s in parts]
        return torch.stack(each).logsumexp(0)

    return log_density


def spiked(width, share=0.02, center=7.0, scale=100.0):
    def log_density(theta):
        z = theta[:, 0] / scale
        broad = logsigmoid(z) + logsigmoid(-z) + math.log((1 - share) / scale)
        return torch.logaddexp(broad, math.log(share) + normal(theta[:, 0], 7.0, width))

    broad = math.pi**2 / 3 * scale**2
    mean = (1 - share) * broad + share * (center**2 + width**2)
    return Hard("t:real", log_density, 1.0, square, mean, 1e-7)


def first(theta):
    return theta[:, 0]


def square(theta):
    return theta[:, 0] ** 2


def log_square(theta):
    return theta[:, 0].log() ** 2


def student(theta):
    return -1.05 * torch.log1p(theta[:, 0] ** 2 / 1.1)


def log_cauchy(theta):
    u = theta[:, 0].log()
    return -u - math.log(math.pi) - torch.log1p(u**2)


def banana(theta):
    return normal(theta[:, 0], 0, 1) + normal(theta[:, 1], theta[:, 0] ** 2, 0.05)


def ring(theta):
    return -0.5 * ((theta.square().sum(-1).sqrt() - 5) / 0.02) ** 2


def funnel(theta):
    v, x = theta.unbind(-1)
    return (
        normal(v, 0, 3) - 0.5 * x**2 * (-v).exp() - v / 2 - 0.5 * math.log(2 * math.pi)
    )


def beta(theta):
    return -0.95 * (theta[:, 0].log() + torch.log1p(-theta[:, 0]))


def kink_and_jump(theta):
    x = theta[:, 0]
    return torch.where(x > -1, -x.abs(), -torch.inf)


def log_normal(theta):
    u = theta[:, 0].log()
    return normal(u, 0, 5) - u


TWO = ((0.3, -50.0, 0.01), (0.7, 80.0, 0.002))
COMB = [(1 / 20, 3.0 * k - 30, 0.01) for k in range(20)]
E = math.exp(-1)

HARD = {
    "two narrow modes far apart": Hard("t:real", mixed(TWO), 1.0, first, 41.0, 1e-9),
    "a spike on a wide slope": spiked(0.05),
    "Student t of 1.1 degrees": Hard(
        "t:real",
        student,
        special.beta(0.5, 0.55) * math.sqrt(1.1),
        lambda theta: torch.log1p(theta[:, 0] ** 2 / 1.1),
        special.digamma(1.05) - special.digamma(0.55),
        1e-8,
    ),
    "log-Cauchy": Hard(
        "t:positive", log_cauchy, 1.0, lambda t: 1 / (1 + log_square(t)), 0.5, 1e-8
    ),
    "banana": Hard("t:real*2", banana, 1.0, lambda t: t[:, 1], 1.0, 1e-4),
    "ring": Hard(
        "t:real*2",
        ring,
        2 * math.pi * 5 * 0.02 * math.sqrt(2 * math.pi),
        lambda theta: theta.square().sum(-1),
        25 + 3 * 0.02**2,
        1e-6,
    ),
    "funnel": Hard("t:real*2", funnel, 1.0, square, 9.0, 1e-6),
    "beta of .05 and .05": Hard(
        "t:unit", beta, special.beta(0.05, 0.05), square, 0.05 * 1.05 / 0.11, 1e-6
    ),
    "a comb of twenty": Hard(
        "t:real",
        mixed(COMB),
        1.0,
        square,
        sum(m * m for _, m, _ in COMB) / 20 + 1e-4,
        1e-9,
    ),
    "a kink and a jump": Hard(
        "t:real", kink_and_jump, 2 - E, first, 2 * E / (2 - E), 1e-8
    ),
    "log-normal of scale 5": Hard(
        "t:positive", log_normal, 1.0, log_square, 25.0, 1e-8
    ),
}
