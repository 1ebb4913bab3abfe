"""Laws of the perturbation δ, and what each costs in expectation.

With the form c |A δ|², t = tr G and λ = λ_max(G) (G = AᵀA, d free features):

    white noise N(0, σ² I)                      c σ² t
    mean μ, covariance Σ = L Lᵀ                 c (μᵀ G μ + ‖A L‖²_F)
    worst direction, norm ε                     c ε² λ
    worst direction, norm uniform on [0, ε]     c ε² λ / 3
    random direction, norm uniform on [0, ε]    c ε² t / (3 d)

The last two use E[ε²] = ε_max² / 3; a uniform direction has E[u uᵀ] = I / d. `draw`
makes sizes of the same law, so that the prediction can be held against exact values.
For a general law only its first two moments matter to second order; draws then take
it to be normal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.attacks.bases import Attack, DirectedAttack, RandomAttack, read_size
from audit.attacks.contract import look_at
from audit.attacks.damped import damped_mean
from audit.attacks.moments import read_moments
from audit.ground.errors import ConfigError
from audit.ground.plugins import lacks_of_class
from audit.ground.registry import Registry
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Estimate, Spectrum


def _lacks(found: object) -> Iterable[str]:
    return lacks_of_class(found, Attack, "arguments")


ATTACKS: Registry[type[Attack]] = Registry(
    "attacks",
    {
        "gaussian": "audit.attacks.laws:Gaussian",
        "moments": "audit.attacks.laws:Moments",
        "fixed_norm": "audit.attacks.laws:FixedNorm",
        "uniform_norm": "audit.attacks.laws:UniformNorm",
        "random_direction": "audit.attacks.laws:RandomDirection",
        "worst_case": "audit.attacks.worst:WorstCase",
        "certified": "audit.attacks.worst:Certified",
    },
    _lacks,
)

# Gauss-Legendre nodes on [0, 1], for a norm that is uniform on [0, ε_max].
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)


@dataclass(frozen=True)
class Gaussian(RandomAttack):
    """White noise: δ ~ N(0, sigma² I)."""

    sigma: float
    arguments = ("sigma",)
    normal = True

    def expected(self, form: QuadraticForm, spectrum: Spectrum) -> Estimate:
        """Return c σ² tr G."""
        return spectrum.trace.scaled(form.scale * self.sigma**2)

    def draw(self, rng: np.random.Generator, count: int, d: int) -> NDArray[np.float64]:
        """Return normal draws [count, d]."""
        return self.sigma * rng.standard_normal((count, d))

    def damped(self, form: QuadraticForm, rates: Tensor) -> Tensor | None:
        """Return what `damped_mean` gives: that of σ² s, over σ²."""
        variance = self.sigma**2
        found = damped_mean(form, None, variance * rates)
        return None if found is None else variance * found

    def mean_size(self, d: int) -> float | None:
        """Return E|N(0, σ²)| = σ √(2/π)."""
        return self.sigma * math.sqrt(2 / math.pi)


@dataclass(frozen=True)
class RandomDirection(RandomAttack):
    """δ = ε u, u uniform on the sphere and ε uniform on [0, max_norm]."""

    max_norm: float
    arguments = ("max_norm",)

    def reach(self) -> float | None:
        """Return the largest norm."""
        return self.max_norm

    def expected(self, form: QuadraticForm, spectrum: Spectrum) -> Estimate:
        """Return c ε² tr G / (3 d)."""
        d = form.root.shape[2]
        return spectrum.trace.scaled(form.scale * self.max_norm**2 / (3 * d))

    def draw(self, rng: np.random.Generator, count: int, d: int) -> NDArray[np.float64]:
        """Return draws [count, d]: a normalised normal vector times its norm."""
        direction = rng.standard_normal((count, d))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        norm: NDArray[np.float64] = self.max_norm * rng.random((count, 1))
        return norm * direction

    def mean_size(self, d: int) -> float | None:
        """Return E[ε] E|u₁| = ε_max/2 · Γ(d/2) / (√π Γ((d+1)/2))."""
        coordinate = math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2))
        return self.max_norm / 2 * coordinate / math.sqrt(math.pi)


@dataclass(frozen=True)
class FixedNorm(DirectedAttack):
    """δ = norm · v, the worst that a perturbation of this norm can do."""

    norm: float
    arguments = ("norm",)

    def reach(self) -> float | None:
        """Return the norm."""
        return self.norm

    def expected(self, form: QuadraticForm, spectrum: Spectrum) -> Estimate:
        """Return c ε² λ_max."""
        return spectrum.top.scaled(form.scale * self.norm**2)

    def sizes(self) -> tuple[Tensor, Tensor]:
        """Return the one norm."""
        return torch.tensor([self.norm], dtype=torch.float64), torch.ones(1).double()


@dataclass(frozen=True)
class UniformNorm(DirectedAttack):
    """δ = ε v with ε uniform on [0, max_norm]."""

    max_norm: float
    arguments = ("max_norm",)

    def reach(self) -> float | None:
        """Return the largest norm."""
        return self.max_norm

    def expected(self, form: QuadraticForm, spectrum: Spectrum) -> Estimate:
        """Return c ε_max² λ_max / 3."""
        return spectrum.top.scaled(form.scale * self.max_norm**2 / 3)

    def sizes(self) -> tuple[Tensor, Tensor]:
        """Return Gauss-Legendre norms on [0, max_norm]."""
        nodes = torch.from_numpy((_NODES + 1) / 2 * self.max_norm)
        return nodes, torch.from_numpy(_WEIGHTS / 2)


@dataclass(frozen=True)
class Moments(RandomAttack):
    """Any law with a given mean and covariance, read from an npz file.

    The file holds `mean` [d] and `covariance` [d, d], or `factor` L [d, k] with
    Σ = L Lᵀ; a missing mean is zero.
    """

    mean: NDArray[np.float64]
    factor: NDArray[np.float64]
    arguments = ("file",)
    normal = True

    @classmethod
    def parse(cls, kind: str, arguments: Mapping[str, str]) -> Moments:
        """Return the attack with the moments of a file."""
        return cls(*read_moments(Path(arguments["file"])))

    def expected(self, form: QuadraticForm, spectrum: Spectrum) -> Estimate:
        """Return c (|A μ|² + ‖A L‖²_F)."""
        n, _, d = form.root.shape
        if self.mean.shape != (d,):
            raise ConfigError(
                f"The attack 'moments' has a mean of {self.mean.size} features",
                f"The perturbation has {d} free features",
                "Write the moments for the flattened condition (after --mask)",
            )
        columns = np.column_stack([self.mean, self.factor])
        stacked = torch.from_numpy(columns).expand(n, -1, -1)
        device = spectrum.trace.value.device
        return form.total(stacked.to(device))

    def draw(self, rng: np.random.Generator, count: int, d: int) -> NDArray[np.float64]:
        """Return normal draws [count, d] with these moments."""
        noise = rng.standard_normal((count, self.factor.shape[1]))
        return self.mean + noise @ self.factor.T

    def damped(self, form: QuadraticForm, rates: Tensor) -> Tensor | None:
        """Return what `damped_mean` gives for L; None for a mean that is not zero."""
        if self.mean.any():
            return None
        return damped_mean(form, torch.from_numpy(self.factor).to(rates), rates)

    def center(self, d: int) -> NDArray[np.float64]:
        """Return μ."""
        return self.mean

    def mean_size(self, d: int) -> float | None:
        """Return None: two moments do not give E|vᵀδ|, and it depends on v."""
        return None


def build_attack(kind: str, arguments: Mapping[str, str]) -> Attack:
    """Return the attack `kind` with its arguments read from text.

    Raises:
        UnknownName: no attack has this name.
        ConfigError: an argument is missing, unknown, or makes no sense.
        BrokenPlugin: it is a third party's, and lacks something.
    """
    attack = ATTACKS[kind]
    given, needed = set(arguments), set(attack.arguments)
    if not needed <= given <= needed | set(attack.optional):
        raise ConfigError(
            f"The attack {kind} was given {', '.join(sorted(arguments)) or 'nothing'}",
            f"It takes {', '.join([*attack.arguments, *attack.optional])}",
            "Write it as "
            + f"{kind}:{','.join(f'{name}=…' for name in attack.arguments)}",
        )
    built = attack.parse(kind, arguments)
    look_at(built, Attack)
    return built


def positive_size(kind: str, name: str, text: str) -> float:
    """Return the size of a ball read from text.

    Raises:
        ConfigError: it is no positive number.
    """
    size = read_size(kind, name, text)
    if size > 0:
        return size
    raise ConfigError(
        f"The attack {kind} was given {name}={text}",
        "Expected a number above zero",
        f"Write it as {kind}:{name}=0.1",
    )
