"""Perturbations of a random attack in mirrored pairs, chosen by the local form.

D is far from the form where the form is large, and there pairs are rare: few of them
miss that tail, and their interval is too narrow. The form takes no pass of the network.
So `CHOICES` pairs are drawn for each that is evaluated, and the one among them is taken
with a probability that is proportional to

    h = Q + `EVEN` E[Q],      with the weight w = mean h / h.

Given the draws, E[w D] = Σ (h / Σ h) (Σ h / CHOICES) D / h is the mean of D over them
all: w D has no bias, and no more has w Q for the control variate. Where D − β Q grows
as Q², w (D − β Q) grows as Q only. No weight is above 1 + mean Q / (`EVEN` E[Q]).

Reference:
    Talbot, Cline & Egbert, Importance resampling for global illumination (2005).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audit.attacks.bases import RandomAttack
from audit.nodes.noise import Noise

CHOICES, EVEN = 4, 0.3  # pairs that one is chosen of; a share of E[Q] for all alike
_DRAWN = 2**21  # numbers of pairs that are chosen of at a time
_CHOOSING = 64  # beyond the stream of pairs, those of what chooses among them
Form = Callable[[Tensor, Tensor], Tensor]  # rows [n], δ [n, K, size] -> Q [n, K]


@dataclass(frozen=True)
class Choice:
    """One of `CHOICES` pairs, by the form Q and E[Q] of N inputs."""

    form: Form
    expected: Tensor

    def __call__(
        self, rows: Tensor, half: Tensor, mean: Tensor, at: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return one δ of each pair that is chosen [n, count, size], and w [n, count].

        Args:
            rows: of the inputs [n].
            half: one δ of each pair [n, count, CHOICES, size].
            mean: where the others mirror them [size].
            at: uniform numbers that choose [n, count].
        """
        n, count, _, size = half.shape
        flat = half.reshape(n, -1, size)
        form = self.form(rows, flat)
        if bool(mean.any()):  # forms are even
            form = (form + self.form(rows, 2 * mean - flat)) / 2
        h = form.reshape(n, count, CHOICES) + EVEN * self.expected[rows, None, None]
        usable = torch.isfinite(h).all(dim=2, keepdim=True) & (h > 0)
        h = torch.where(usable, h, 1.0)
        summed = h.cumsum(dim=2)
        which = (summed < at.to(h).unsqueeze(2) * summed[:, :, -1:]).sum(dim=2)
        which = which.clamp_max(CHOICES - 1).unsqueeze(2)
        weights = h.mean(dim=2) / h.gather(2, which).squeeze(2)
        places = which.to(half.device).unsqueeze(3).expand(-1, -1, 1, size)
        return half.gather(2, places).squeeze(2), weights


class Pairs:
    """Perturbations in pairs that are mirrored at the law's mean."""

    def __init__(
        self,
        attack: RandomAttack,
        noise: Noise,
        size: int,
        stream: int,
        choice: Choice | None,
    ) -> None:
        self.attack, self.size, self.choice = attack, size, choice
        rows = range(len(noise.index))
        self.generators, self.choosing = (
            [noise.generator(row, one) for row in rows]
            for one in (stream, _CHOOSING + stream)
        )

    def draw(self, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return the next pairs of some inputs [n, 2 count, size], mirrors last.

        And their weights [n, count].
        """
        mean = torch.from_numpy(self.attack.center(self.size))
        if self.choice is None:
            half = self._drawn(rows, count)
            weights = torch.ones(half.shape[:2], dtype=half.dtype)
        else:
            parts = torch.split(rows, max(1, _DRAWN // (count * CHOICES * self.size)))
            both = zip(
                *(self._chosen(part, count, mean) for part in parts), strict=True
            )
            half, weights = (torch.cat(list(part)) for part in both)
        return torch.cat([half, 2 * mean - half], dim=1), weights

    def _chosen(self, rows: Tensor, count: int, mean: Tensor) -> tuple[Tensor, Tensor]:
        assert self.choice is not None
        half = self._drawn(rows, count * CHOICES)
        half = half.reshape(len(rows), count, CHOICES, self.size)
        at = np.stack([self.choosing[row].random(count) for row in rows.tolist()])
        return self.choice(rows, half, mean, torch.from_numpy(at))

    def _drawn(self, rows: Tensor, count: int) -> Tensor:
        """Return one δ of each of the next pairs of some inputs [n, count, size]."""
        own = [self.generators[row] for row in rows.tolist()]
        drawn = [self.attack.draw(each, count, self.size) for each in own]
        return torch.from_numpy(np.stack(drawn))
