"""What is summed over every input: the features its worst direction moves.

Directions are large, so they are added up as they come and never held. |v| is counted
in whole steps of 2⁻³⁶: integers add up to the same sum in any order, so blocks, workers
and shards do not show in it, and 10⁸ inputs do not overflow.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from audit.measure import Answers, MeanForm
from audit.reports.listing import PRINTED_VALUES
from audit.reports.measured import Means
from audit.reports.spill import Spill
from audit.reports.values import Floats

STEPS = 2.0**36


def lighter(answers: Answers) -> Answers:
    """Return answers with what the tally takes: v₁ of small inputs, and the leaders.

    A worker hands back a thousand inputs at a time; the full directions of all of them
    are only for a rows file.
    """
    kept = {
        name: values[:, :1].copy()
        for name, values in answers.directions.items()
        if values.shape[2] <= PRINTED_VALUES
    }
    return replace(answers, directions=kept, leaders=answers.leading())


@dataclass
class Tally:
    """Grows by answers, in any order."""

    event: tuple[int, ...]
    """The shape of one input."""
    spill: Spill | None = None
    """Keeps the eigenvalues of many inputs on the disk; None: in memory."""
    _sums: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _eigenvalues: dict[str, list[Floats]] = field(default_factory=dict)
    _forms: dict[str, MeanForm] = field(default_factory=dict)
    _shares: dict[str, tuple[NDArray[np.int64], int]] = field(default_factory=dict)

    def add(self, answers: Answers) -> None:
        """Take the directions and eigenvalues of some inputs."""
        for name, values in answers.eigenvalues.items():
            kept = self._eigenvalues.setdefault(name, [])
            if self.spill is None:
                kept.append(values)
            else:
                self.spill.append({f"{name}.eigenvalues": values})
        for name, mean in answers.means.items():
            before = self._forms.get(name)
            self._forms[name] = mean if before is None else before + mean
        for name, shares in answers.coordinates.items():
            sums, count = self._shares.get(name, (0, 0))
            known = shares[~np.isnan(shares).any(axis=1)]
            steps = np.rint(known * STEPS).astype(np.int64).sum(axis=0)
            self._shares[name] = (sums + steps, count + len(known))
        for name, directions in answers.directions.items():
            if directions.shape[2] > PRINTED_VALUES:
                continue
            size = np.abs(directions[:, 0])
            moved = size.sum(axis=1) > 0  # false for NaN and for no direction at all
            steps = size * STEPS if moved.all() else size[moved] * STEPS
            sums = np.rint(steps, out=steps).sum(axis=0)  # exact below 2¹⁷ rows
            self._sums[name] = self._sums.get(name, 0) + sums.astype(np.int64)
            self._counts[name] = self._counts.get(name, 0) + int(moved.sum())

    def features(self, names: list[str]) -> dict[str, Means]:
        """Return, for each divergence, the mean |v₁| of each feature [*event]."""
        d = int(np.prod(self.event, dtype=int))
        if d > PRINTED_VALUES:
            reason = (
                f"an input has {d} features, and the mean is kept up to "
                f"{PRINTED_VALUES}; -o rows.npz holds the directions of every input"
            )
            return {name: Means(0, None, reason) for name in names}
        return {name: self._means(name) for name in names}

    def _means(self, name: str) -> Means:
        n = self._counts.get(name, 0)
        if not n:
            return Means(0, None, "no input has a worst direction")
        means = self._sums[name] / (STEPS * n)
        return Means(n, means.reshape(self.event))

    def coordinates(self) -> dict[str, Means]:
        """Return, for each divergence, the mean share of each coordinate of θ [C]."""
        return {
            name: Means(n, sums / (STEPS * n) if n else None)
            for name, (sums, n) in self._shares.items()
        }

    def forms(self) -> dict[str, MeanForm]:
        """Return, for each divergence, the sum of the forms of all inputs."""
        return dict(self._forms)

    def spectra(self) -> dict[str, Floats]:
        """Return each divergence's leading eigenvalues [N, K]."""
        if self.spill is None:
            return {name: np.concatenate(v) for name, v in self._eigenvalues.items()}
        return {n: self.spill.array(f"{n}.eigenvalues") for n in self._eigenvalues}
