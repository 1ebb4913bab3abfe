"""Discrete families: the quantile distance is linear in δ, not quadratic.

The quantile function of a discrete law is a step function. A small δ moves it by a
whole step on a set of levels u of size O(|δ|), so that

    E|T_φ(u) − T_φ+δ(u)|² = Σ_i |a_iᵀ δ| + o(|δ|),      a_i the rows of B J:

the first-order change of W₁, e.g. |∂E[θ]| for a Poisson rate. Autograd through the
steps would say zero. The worst unit direction maximises Σ|a_iᵀ v| = max_s ‖Aᵀ s‖ over
signs s: by enumeration for few rows, else by alternating between s and v from several
starts, which gives a lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
from torch import Tensor

from audit.attacks.balls import Ball
from audit.attacks.bases import Attack, DirectedAttack, RandomAttack
from audit.attacks.worst import WorstCase
from audit.linalg.spectrum import Estimate

_ENUMERATE = 8  # rows; 2^7 sign patterns
_STARTS, _STEPS = 8, 20  # of the alternation
_TINY = 1e-300


@dataclass(frozen=True)
class LinearLaw:
    """δ -> Σ_i |a_iᵀ δ| for N inputs.

    Args:
        rows: a_i [N, m, d].
        beyond: [N], 0, or ∞ or NaN that every value has on top (see `bounded`); None: 0
            everywhere.
    """

    rows: Tensor
    beyond: Tensor | None = None

    def take(self, places: Tensor) -> LinearLaw:
        """Return the laws of some inputs."""
        return LinearLaw(self.rows[places], self._beyond[places])

    @property
    def _beyond(self) -> Tensor:
        if self.beyond is None:
            return self.rows.new_zeros(len(self.rows))
        return self.beyond

    def __call__(self, delta: Tensor) -> Tensor:
        """Return the law at δ [N, d, K]: [N, K]."""
        costs: Tensor = (self.rows @ delta).abs().sum(dim=1)
        return costs + self._beyond.unsqueeze(-1)

    @property
    def coefficient(self) -> Tensor:
        """The slope along the worst direction [N], max over unit v of ‖A v‖₁."""
        slope: Tensor = self._combined.norm(dim=1)
        return slope + self._beyond

    @property
    def lengths(self) -> Tensor:
        """Σ_i ‖a_i‖ [N]: what isotropic noise feels, and a bound on the slope."""
        total: Tensor = self.rows.norm(dim=2).sum(dim=1)
        return total + self._beyond

    @property
    def direction(self) -> Tensor:
        """The worst direction [N, d], a unit vector; zero where none is the worst."""
        length = self._combined.norm(dim=1).clamp_min(_TINY).unsqueeze(1)
        unit: Tensor = self._combined / length
        return torch.where((self._beyond == 0).unsqueeze(1), unit, 0.0)

    def expected(self, attack: Attack) -> Estimate | None:
        """Return the attack's expected degradation [N]; None if its law is too general.

        For an isotropic law E|aᵀδ| = ‖a‖ E|u₁|, so random attacks cost Σ‖a_i‖ times
        the mean size of one coordinate; a directed one costs the worst coefficient
        times E[ε].
        """
        if isinstance(attack, WorstCase):
            return Estimate(attack.norm * self.worst(attack.ball)[1])
        size = attack.mean_size(self.rows.shape[2])
        if size is None:
            return None
        if isinstance(attack, DirectedAttack):
            return Estimate(size * self.coefficient)
        return (
            Estimate(size * self.lengths) if isinstance(attack, RandomAttack) else None
        )

    def worst(self, ball: Ball) -> tuple[Tensor, Tensor]:
        """Return where the law is largest on a unit ball [N, d], and how large [N].

        max over u of ‖A u‖₁ is max over signs s of the dual norm of Aᵀ s. Of more than
        8 rows the signs of the Euclidean ball are tried, a lower bound.
        """
        longest = ball.dual(self._candidates).argmax(dim=1)
        place = torch.arange(len(self.rows), device=longest.device)
        combined = self._candidates[place, longest]
        direction = torch.where((self._beyond == 0).unsqueeze(1), combined, 0.0)
        return ball.steepest(direction), ball.dual(combined) + self._beyond

    @cached_property
    def _combined(self) -> Tensor:
        """Return Aᵀ s [N, d] for the signs s that make it longest."""
        combined = self._candidates
        longest = combined.norm(dim=2).argmax(dim=1)
        return combined[torch.arange(len(combined)), longest]

    @cached_property
    def _candidates(self) -> Tensor:
        """Return Aᵀ s [N, S, d] for the signs s that are tried."""
        candidates = self._all_signs() if self.rows.shape[1] <= _ENUMERATE else None
        if candidates is None:
            candidates = self._alternated_signs()
        return candidates.to(self.rows) @ self.rows

    def _all_signs(self) -> Tensor:
        """Return every pattern of signs [2^(m−1), m], the first one positive."""
        rest = product((1.0, -1.0), repeat=self.rows.shape[1] - 1)
        return torch.tensor([(1.0, *signs) for signs in rest])

    def _alternated_signs(self) -> Tensor:
        """Return signs [N, S, m] that are fixed points of s -> sign A Aᵀ s."""
        order = self.rows.norm(dim=2).argsort(dim=1, descending=True)[:, :_STARTS]
        index = order.unsqueeze(-1).expand(-1, -1, self.rows.shape[2])
        v = self.rows.gather(1, index).mT  # [N, d, S]
        for _ in range(_STEPS):
            signs = torch.where(self.rows @ v < 0, -1.0, 1.0).to(self.rows)
            v = self.rows.mT @ signs
        return signs.mT
