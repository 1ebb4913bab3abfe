"""The mean of a divergence over a random attack, from as many δ as it needs.

A pilot says how many pairs of perturbations each input needs and what the form is worth
as a control variate; fresh pairs then give the mean and its interval (see
`intervals.controlled`). The perturbations of an input come from generators of its own,
one chunk after the other, so that none depends on which inputs are measured with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audit.attacks.laws import RandomAttack
from audit.ground import stages
from audit.linalg.intervals.controlled import (
    LEVELS,
    PILOT,
    control_weight,
    controlled_mean,
    pairs_needed,
)
from audit.linalg.intervals.means import Interval
from audit.linalg.spectrum import Estimate
from audit.nodes.noise import Noise

CHUNK = 64  # pairs that are evaluated at a time
_PILOTS = 0.2  # of the time
_PILOT_STREAM, _STREAM = 1, 2  # of the noise; stream 0 draws θ


@dataclass(frozen=True)
class Evaluated:
    """What perturbations do: D, its own error, and the local law Q; each [n, K]."""

    values: Tensor
    errors: Tensor
    forms: Tensor


Evaluate = Callable[[Tensor, Tensor], Evaluated]  # rows [n], δ [n, K, size]


@dataclass(frozen=True)
class AttackMean:
    """E[D] at N inputs.

    Args:
        interval: the mean, with the error of sampling the attack and that of the exact
            values themselves.
        apart: the mean, with what can part it from the prediction. Where the prediction
            is sampled its draws of θ are those of the exact values: what they are off
            by, both are off by, and the error of sampling the attack is left.
        pairs: how many were averaged [N].
    """

    interval: Interval
    apart: Interval
    pairs: Tensor


def attack_mean(
    attack: RandomAttack,
    noise: Noise,
    size: int,
    predicted: Estimate,
    tolerance: float,
    evaluate: Evaluate,
    probed: bool = False,
) -> AttackMean:
    """Return E[D(δ)] with its interval.

    Args:
        attack: the law of δ.
        noise: of the N inputs.
        size: the number of free features, of δ.
        predicted: E[Q(δ)] [N] of the local law Q that is the control variate.
        tolerance: relative distance at which mean and prediction are said to part.
        evaluate: inputs [n] and their perturbations [n, K, size] -> what they do, K at
            most 2 `CHUNK`.
        probed: whether the error of the prediction is that of probes, which D knows
            nothing of: β of it is in the mean, by the control variate, and 1 − β parts
            the mean from the prediction.
    """
    expected = predicted.value
    everyone = torch.full(expected.shape, PILOT)
    pairs = _Pairs(attack, noise, size, _PILOT_STREAM)
    with stages.part(_PILOTS):
        pilot = _sample(pairs, everyone, evaluate)
    weight = control_weight(pilot.values, pilot.forms)
    first = controlled_mean(pilot.values, pilot.forms, expected, weight)
    needed = pairs_needed(first, expected, tolerance)
    with stages.part(1.0):
        found = _sample(_Pairs(attack, noise, size, _STREAM), needed, evaluate)
    alone = _by_levels(found, needed, expected, weight)
    alone = alone.infinite_where(torch.isinf(first.value))
    whole = alone.widened(found.errors.nanmean(dim=1))
    shared = predicted.standard_error is not None and not probed
    if probed and predicted.standard_error is not None:
        error = predicted.standard_error
        beside = whole.widened((1 - weight) * error)
        return AttackMean(whole.widened(weight * error), beside, needed)
    return AttackMean(whole, alone if shared else whole, needed)


class _Pairs:
    """Perturbations in pairs that are mirrored at the law's mean."""

    def __init__(
        self, attack: RandomAttack, noise: Noise, size: int, stream: int
    ) -> None:
        self.attack, self.size = attack, size
        rows = range(len(noise.index))
        self.generators = [noise.generator(row, stream) for row in rows]

    def draw(self, rows: Tensor, count: int) -> Tensor:
        """Return the next pairs of some inputs [n, 2 count, size], mirrors last."""
        drawn = []
        for row in rows.tolist():
            half = self.attack.draw(self.generators[row], count, self.size)
            mirrored = 2 * self.attack.center(self.size) - half
            drawn.append(np.concatenate([half, mirrored]))
        return torch.from_numpy(np.stack(drawn))


def _sample(pairs: _Pairs, needed: Tensor, evaluate: Evaluate) -> Evaluated:
    """Return means over pairs [N, most], NaN where an input needs no more of them."""
    table: Tensor | None = None
    most = int(needed.max())
    for first in range(0, most, CHUNK):
        rows = (needed > first).nonzero()[:, 0]
        count = min(CHUNK, most - first)
        found = evaluate(rows, pairs.draw(rows.cpu(), count))
        parts = torch.stack([found.values, found.errors, found.forms])
        means = parts.reshape(3, len(rows), 2, count).mean(dim=2)
        if table is None:
            table = means.new_full((3, len(needed), most), torch.nan)
        table[:, rows, first : first + count] = means
        stages.step(len(rows) * count / float(needed.sum()))
    assert table is not None
    return Evaluated(*table)


def _by_levels(
    found: Evaluated, needed: Tensor, expected: Tensor, weight: Tensor
) -> Interval:
    """Return each input's interval from its own number of pairs."""
    parts = expected.new_empty(4, len(needed))
    for level in LEVELS:
        rows = needed == level
        if bool(rows.any()):
            values, forms = (p[rows, :level] for p in (found.values, found.forms))
            one = controlled_mean(values, forms, expected[rows], weight[rows])
            parts[:, rows] = torch.stack(
                [one.value, one.lower, one.upper, one.standard_error]
            )
    return Interval(*parts)
