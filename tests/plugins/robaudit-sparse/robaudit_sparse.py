"""An attack on one feature at a time."""

from dataclasses import dataclass

import numpy as np

from audit.plugins import RandomAttack


@dataclass(frozen=True)
class Sparse(RandomAttack):
    """One feature, any, moves by ±size; the others stay."""

    size: float
    arguments = ("size",)
    formula = "c size² tr G / d,  δ = ± size · e_j, j uniform"
    unit = "[divergence]"
    reading = "What a single broken sensor costs on average."

    def expected(self, form, spectrum):
        d = form.root.shape[2]
        return spectrum.trace.scaled(form.scale * self.size**2 / d)

    def draw(self, rng, count, d):
        delta = np.zeros((count, d))
        sign = rng.choice([-1.0, 1.0], count)
        delta[np.arange(count), rng.integers(d, size=count)] = self.size * sign
        return delta

    def mean_size(self, d):
        return None  # E|vᵀδ| = size ‖v‖₁ / d depends on v
