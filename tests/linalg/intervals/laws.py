"""Models whose means are known in closed form, to count how often intervals hold them.

A normal law with a log-linear scale, q = N(b·x, exp(w·x)²), has with ρ = w·δ, Δ = b·δ

    KL(q_x ‖ q_{x+δ}) = ρ + ½ e^{−2ρ} (1 + Δ²/s²) − ½,          s = exp(w·x),

and over δ ~ N(0, σ² I), under the tilt e^{−2ρ} that moves δ to −2σ² w,

    E[KL] = ½ e^{2σ²|w|²} (1 + (σ²|b|² + 4σ⁴ (b·w)²)/s²) − ½.

With w = 0 the scale does not move, and KL is the quadratic form itself.

Flows and samplers θ_k of three independent z_k, with m = tanh(a·x), s = exp(b·x + c)
and D = ∂/∂x, have the tensors

    affine       m + s z              F = Σ Dm Dmᵀ/s² + 2 b bᵀ,  G = Σ Dm Dmᵀ + Ds Dsᵀ
    log-normal   exp(m + s z)         G = Σ e^{2m+2s²} [(Dm + 2s Ds)(…)ᵀ + Ds Dsᵀ]
    quadratic    m + s z + (e·x) z²   G = Σ (Dm + e)(…)ᵀ + Ds Dsᵀ + 2 e eᵀ
"""

import math

import numpy as np
import torch

from audit.attacks.laws import Gaussian
from audit.families.implicit import ImplicitFamily
from audit.geometry.divergences import build_divergence
from audit.linalg.spectrum import Estimate
from audit.models.implicit.sources import FromSampler, NamedBase
from audit.nodes.noise import Noise
from audit.nodes.space import real_space
from audit.verify.paired_values import Evaluated
from audit.verify.random_attacks import Beside, attack_mean

CPU = torch.device("cpu")
COORDINATES = 3
SAMPLED = (
    ("affine", "kl"),
    ("affine", "quantile"),
    ("log-normal", "quantile"),
    ("quadratic", "quantile"),
)


class LogLinear:
    """Inputs of a normal law with a log-linear scale, under white noise."""

    def __init__(self, d, sigma, inputs, seed=0, bent=True):
        self.d, self.seed, self.attack = d, seed, Gaussian(sigma)
        self.b, self.w = torch.from_numpy(
            0.5 * np.random.default_rng(d).standard_normal((2, d))
        )
        x = np.random.default_rng(seed + 1).standard_normal((inputs, d))
        self.scale = torch.exp(torch.from_numpy(0.7 * x) @ self.w)
        if not bent:
            self.w = torch.zeros_like(self.w)
        variance, b, w = sigma**2, self.b, self.w
        self.predicted = variance * (w @ w) + variance * (b @ b) / 2 / self.scale**2
        bent = variance * (b @ b) + 4 * variance**2 * (b @ w) ** 2
        size = torch.exp(2 * variance * (w @ w))
        self.truth = size * (1 + bent / self.scale**2) / 2 - 0.5

    def evaluate(self, rows, delta):
        rise, moved = delta @ self.w, (delta @ self.b) / self.scale[rows, None]
        exact = rise + torch.exp(-2 * rise) * (1 + moved**2) / 2 - 0.5
        return Evaluated(exact, torch.zeros_like(exact), self.form(rows, delta))

    def form(self, rows, delta):
        return (delta @ self.w) ** 2 + (
            delta @ self.b / self.scale[rows, None]
        ) ** 2 / 2

    def realised(self, chosen=False):
        """Return E[KL] as the audit takes it, by pairs that the form chooses or any."""
        noise, attack = Noise(self.seed, np.arange(len(self.truth)), 8), self.attack
        given = noise, self.d, Estimate(self.predicted), 0.1, self.evaluate
        return attack_mean(attack, *given, Beside(form=self.form if chosen else None))


class Law:
    """A flow or sampler of d conditions at one x."""

    def __init__(self, kind, d):
        rng = np.random.default_rng(d + 100)
        self.kind = kind
        a, b = rng.standard_normal((2, COORDINATES, d)) / math.sqrt(d)
        self.a, self.b = torch.from_numpy(a), torch.from_numpy(0.5 * b)
        self.c = torch.tensor([-0.9, -1.1, -0.7]).double()
        self.x = torch.from_numpy(0.5 * rng.standard_normal(d))

    def moments(self, phi):
        return torch.tanh(phi @ self.a.T), torch.exp(phi @ self.b.T + self.c)

    def push(self, z, phi):
        mean, scale = self.moments(phi)
        drawn = mean + scale * z
        if self.kind == "quadratic":
            drawn = drawn + (phi @ (self.a + self.b).T) * z**2
        return drawn.exp() if self.kind == "log-normal" else drawn

    def log_density(self, theta, phi):
        """Return log q of the affine law, without its constant."""
        mean, scale = self.moments(phi)
        return -(((theta - mean) / scale).square() / 2 + scale.log()).sum(dim=1)

    def tensor(self, divergence):
        mean, scale = self.moments(self.x)
        moved = (1 - mean.square())[:, None] * self.a
        grown = scale[:, None] * self.b
        if divergence == "kl":
            return moved.T / scale.square() @ moved + 2 * self.b.T @ self.b
        bend, weight = 0.0 * self.a, torch.ones_like(mean)
        if self.kind == "log-normal":
            moved = moved + 2 * scale[:, None] * grown
            weight = torch.exp(2 * mean + 2 * scale.square())
        if self.kind == "quadratic":
            bend = self.a + self.b
            moved = moved + bend
        pairs = ((moved, 1), (grown, 1), (bend, 2))
        return sum(k * (part.T * weight) @ part for part, k in pairs)

    def root(self, divergence, draws, sampling, repetitions):
        """Return a root at draws for each repetition."""
        base = NamedBase("normal", COORDINATES, CPU)
        family = ImplicitFamily(
            len(self.x),
            real_space(COORDINATES),
            self.log_density,
            self.push,
            base,
            FromSampler(self.push, base, "the law's own map"),
        )
        phi = self.x.repeat(repetitions, 1)
        noise = Noise(1, np.arange(repetitions), draws, sampling)
        return family.root(build_divergence(divergence).tensor, phi, noise)


def held(interval, truth):
    """Return how often an interval (lower, upper) contains the truth."""
    lower, upper = interval
    return float(((lower <= truth) & (truth <= upper)).double().mean())
