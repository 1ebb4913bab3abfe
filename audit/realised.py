"""What an attack really costs, from exact divergences at some of its δ.

For an attack along the worst direction the exact divergence is taken at both signs,
+εv and −εv: to second order they are equal, to third they are not, and the attacker
takes the worse. For a random attack the expectation over δ is sampled with the form
itself as control variate,

    E[D(δ)] ≈ mean_m [D(δ_m) − β (Q(δ_m) − E[Q(δ)])],       Q(δ) = c |A δ|²,

where E[Q] is known. The error of the estimate vanishes where the form is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.attacks import RandomAttack
from audit.linalg.spectrum import Estimate
from audit.noise import Noise
from audit.reports.measured import VerificationInfo

TOLERANCE = 0.1  # predicted and realised part where they differ by more
DRAWS = 32  # of a random attack, in pairs ±δ
_ATTACK_STREAM = 1  # of the noise; stream 0 draws θ
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Realised:
    """A realised degradation [N], its error, and the error beside the prediction's.

    Prediction and realised value come from the same draws of θ. What those are off by,
    both are off by, and only the rest can part them.
    """

    value: Tensor
    error: Tensor
    apart: Tensor


def worse_sign(values: Tensor, errors: Tensor, weights: Tensor) -> Realised:
    """Return the expectation over ε along the worse of +v and −v."""
    plus, minus = (values.reshape(len(values), 2, -1) @ weights).unbind(dim=1)
    noise = errors.reshape(len(values), 2, -1) @ weights
    worse = torch.where(plus >= minus, noise[:, 0], noise[:, 1])
    return Realised(torch.maximum(plus, minus), worse, worse)


def attack_draws(attack: RandomAttack, noise: Noise, d: int) -> Tensor:
    """Return δ [n, M, d], in pairs mirrored at the law's mean."""
    rows = []
    for row in range(len(noise.index)):
        rng = noise.generator(row, _ATTACK_STREAM)
        half = attack.draw(rng, DRAWS // 2, d)
        rows.append(np.concatenate([half, 2 * attack.center(d) - half]))
    return torch.from_numpy(np.stack(rows))


def controlled(
    values: Tensor, errors: Tensor, forms: Tensor, expected: Estimate
) -> Realised:
    """Return E[D] with the form as control variate; pairs are the sampling unit.

    The draws of θ, where there are any, are the same for every δ, so their error does
    not average out over the pairs.

    The weight β = Cov(D, Q) / Var(Q), kept in [0, 1], is 1 where the form is exact and
    0 where it says nothing about D.
    """
    exact, form = (t.reshape(len(t), 2, -1).mean(dim=1) for t in (values, forms))
    centred = form - form.mean(dim=1, keepdim=True)
    variance = centred.square().sum(dim=1, keepdim=True)
    weight = (centred * exact).sum(dim=1, keepdim=True) / variance
    weight = torch.where(variance > 0, weight, 1.0).clamp(0, 1)
    rest = exact - weight * (form - expected.value.unsqueeze(1))
    error = rest.std(dim=1) / math.sqrt(rest.shape[1])
    own = errors.mean(dim=1)
    return Realised(rest.mean(dim=1).clamp_min(0), torch.hypot(error, own), error)


def compare_realised(
    label: str, predicted: Estimate, realised: Realised
) -> dict[str, Floats]:
    """Return the realised columns of an attack, and where they part."""
    slack = realised.apart
    if predicted.standard_error is not None:
        slack = slack + predicted.standard_error
    distance = (realised.value - predicted.value).abs()
    foreseen = torch.isfinite(predicted.value)
    known = torch.isfinite(realised.value) & foreseen
    parted = distance > TOLERANCE * predicted.value.abs() + 3 * slack
    parted |= ~known
    return {
        f"{label}_realised": _plain(realised.value, known),
        f"{label}_realised_se": _plain(realised.error, known),
        f"{label}_ratio": _plain(realised.value / predicted.value, known),
        f"{label}_parted": _plain(parted.double(), foreseen),
    }


def checked_attacks(columns: Mapping[str, Floats]) -> list[str]:
    """Return the attacks whose prediction was held against an exact value."""
    return [
        quantity.removesuffix("_parted")
        for quantity, values in columns.items()
        if quantity.endswith("_parted") and np.isfinite(values).any()
    ]


def summarise_ratios(ratios: Floats, parted: Floats) -> VerificationInfo:
    """Return realised over predicted [n] in numbers.

    An input is noisy that looks parted, but by no more than its errors explain.
    """
    finite = ratios[np.isfinite(ratios)]
    low, middle, high = (
        np.quantile(finite, [0.05, 0.5, 0.95]).tolist() if len(finite) else [np.nan] * 3
    )
    checked = int(np.isfinite(parted).sum())
    noisy = (np.abs(ratios - 1) > TOLERANCE) & (parted == 0)
    counts = checked, int(np.nansum(parted))
    return VerificationInfo(*counts, low, middle, high, int(noisy.sum()))


def _plain(values: Tensor, known: Tensor) -> Floats:
    array: Floats = torch.where(known, values, torch.nan).cpu().numpy()
    return array
