"""The worst perturbation of a ball: no law of δ, but a search.

To second order the worst of ‖u‖_p ≤ ε costs max c |A u|² over the ball. What it really
costs is searched by ascent on the exact divergence (a witness, below the truth) and
bounded by a certificate (above it); see `audit.verify`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from audit.attacks.balls import Ball, read_norm
from audit.attacks.bases import Attack
from audit.attacks.laws import positive_size
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Estimate, Spectrum


@dataclass(frozen=True)
class WorstCase(Attack):
    """Any δ with ‖u‖_p ≤ norm, the worst that is found."""

    norm: float
    ball: Ball = field(default_factory=Ball)
    arguments: ClassVar[tuple[str, ...]] = ("norm",)
    optional: ClassVar[tuple[str, ...]] = ("p",)

    @classmethod
    def parse(cls, kind: str, arguments: Mapping[str, str]) -> WorstCase:
        """Return the attack with its size and its norm read from text."""
        ball = read_norm(arguments.get("p", "2"))
        return cls(positive_size(kind, "norm", arguments["norm"]), ball)

    def expected(self, form: QuadraticForm, spectrum: Spectrum) -> Estimate:
        """Return the largest c |A u|² [N] that is found on the ball."""
        if self.ball.p == 2:
            return spectrum.top.scaled(form.scale * self.norm**2)
        corner = self.ball.largest(form, spectrum)
        return form.total(corner.unsqueeze(-1)).scaled(self.norm**2)

    def reach(self) -> float | None:
        """Return the radius of the ball."""
        return self.norm

    def mean_size(self, d: int) -> float | None:
        """Return ε along an ℓ₂ direction; None for other balls."""
        return self.norm if self.ball.p == 2 else None


@dataclass(frozen=True)
class Certified(WorstCase):
    """The same ball, with a proven upper bound in place of a search."""
