"""Predicted against exact values: columns of the checked inputs, and a few numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audit.linalg.intervals.pooled import pooled_ratio
from audit.linalg.spectrum import Estimate
from audit.measure.columns import NOT_RESOLVED, values_of
from audit.reports.found import Verification
from audit.reports.roles import (
    ERROR,
    LOWER,
    PARTED,
    RATIO,
    REALISED,
    UPPER,
    Role,
    named,
)
from audit.reports.statistics import quantiles
from audit.reports.values import Floats, Values
from audit.verify.attacks import TOLERANCE, Realised
from audit.verify.critical import Critical

INFINITE = "infinite, or x + δ has parameters of no law of the family"
BOTH = "predicted and realised are both infinite"
NO_WORST = "there is no worst direction"
NOTHING_MOVED = "at rest: no direction to attack along, and sampled ones move nothing"
AT_LEAST = "the form is infinite and has no direction; sampled ones give a lower bound"


@dataclass(frozen=True)
class Compared:
    """What exact values say of one prediction at n inputs.

    Args:
        columns: quantity -> [n]; the ratio and whether the two part are among them.
        label: the attack, or "radius".
        predicted, exact, error: [n]; the error is what can part the two.
        carried: at how many inputs one pair of perturbations carries the exact mean.
    """

    columns: dict[str, Values]
    label: str
    predicted: Floats
    exact: Floats
    error: Floats
    carried: int = 0


def compared_attack(label: str, predicted: Estimate, realised: Realised) -> Compared:
    """Return the realised columns of an attack, and where the two part."""
    total, directed = realised.total, realised.directed
    everywhere = {
        NOT_RESOLVED: total.value.isnan(),
        INFINITE: torch.ones_like(directed),
    }
    ends: dict[tuple[Role, ...], Tensor] = {(): total.value}
    if not realised.exact:
        ends |= {(ERROR,): total.standard_error}
        ends |= {(LOWER,): total.lower, (UPPER,): total.upper}
    columns = {
        named(label, REALISED, *end): values_of(values, None, everywhere)
        for end, values in ends.items()
    }
    still = ~directed & (predicted.value == 0) & (total.value == 0)
    at_least = ~directed & torch.isinf(predicted.value) & torch.isfinite(total.value)
    both = torch.isinf(total.value) & torch.isinf(predicted.value)
    unknown = {
        NOTHING_MOVED: still,
        AT_LEAST: at_least,
        NOT_RESOLVED: total.value.isnan() | predicted.value.isnan(),
    }
    ratio = (total.value / predicted.value).masked_fill(at_least, torch.nan)
    lost = still | at_least | total.value.isnan() | predicted.value.isnan()
    parted = _parted(predicted, realised).double().masked_fill(lost, torch.nan)
    columns[named(label, RATIO)] = values_of(
        ratio, None, {**unknown, BOTH: both, **everywhere}
    )
    columns[named(label, PARTED)] = values_of(parted, None, unknown)
    error = realised.apart.standard_error
    numbers = (_array(predicted.value), _array(total.value), _array(error))
    return Compared(columns, label, *numbers, int(realised.carried.sum()))


def _array(values: Tensor) -> Floats:
    found: Floats = values.cpu().numpy()
    return found


def _parted(predicted: Estimate, realised: Realised) -> Tensor:
    """Return where the interval of the realised value misses predicted ± 10 % [n]."""
    interval = realised.apart
    foreseen = torch.isfinite(predicted.value)
    above = interval.lower > predicted.value * (1 + TOLERANCE)
    below = interval.upper < predicted.value * (1 - TOLERANCE)
    unforeseen = ~foreseen & torch.isfinite(interval.upper)
    return torch.where(foreseen, above | below, unforeseen)


def compared_radius(local: Tensor, critical: Critical, tau: float) -> Compared:
    """Return the columns of the critical radius beside the second-order one [n]."""
    columns = critical.columns(tau)
    ratio = torch.where(critical.directed, critical.value / local, torch.nan)
    off = (ratio > 1 + TOLERANCE) | (ratio < 1 - TOLERANCE)
    reasons = {
        **columns["critical_radius"].explained(),
        NO_WORST: (~critical.directed).cpu().numpy(),
    }
    columns[named("radius", RATIO)] = Values.of(_array(ratio), None, reasons)
    parted = torch.where(ratio.isnan(), torch.nan, off.double())
    columns[named("radius", PARTED)] = Values.of(_array(parted), None, reasons)
    exact, zero = _array(critical.value), np.zeros(len(ratio))
    return Compared(columns, "radius", _array(local), exact, zero)


def in_numbers(parts: list[Compared]) -> Verification:
    """Return exact over predicted at the inputs of several sites, in a few numbers.

    An input is noisy that looks parted, but by no more than its errors explain.
    """
    label = parts[0].label
    ratio, parted = (
        np.concatenate([part.columns[named(label, role)].numbers for part in parts])
        for role in (RATIO, PARTED)
    )
    known = ~np.isnan(parted)
    seen = np.sort(ratio[known & ~np.isnan(ratio)])
    low, middle, high = quantiles(seen, (0.05, 0.5, 0.95)) if len(seen) else [None] * 3
    noisy = (np.abs(ratio - 1) > TOLERANCE) & (parted == 0)
    predicted, exact, error = (
        np.concatenate([getattr(part, name) for part in parts])[known]
        for name in ("predicted", "exact", "error")
    )
    pooled = pooled_ratio(exact, predicted, error)
    ends = (pooled.lower, pooled.upper)
    still = [
        p.columns[named(label, PARTED)].explained().get(NOTHING_MOVED) for p in parts
    ]
    return Verification(
        int(known.sum()),
        int((parted == 1).sum()),
        low,
        middle,
        high,
        int(noisy.sum()),
        None if math.isnan(pooled.ratio) else pooled.ratio,
        None if any(map(math.isnan, ends)) else ends,
        int((~known).sum()),
        sum(int(rows.sum()) for rows in still if rows is not None),
    )
