"""The data's own θ under the law as it is read, and under other readings of it.

An honest model is often over- or under-confident, so a variance of the standardised
residuals that is not one proves no mistake: the density estimator of the samples that
was trained by reverse KL has one of 40. A wrong reading leaves another trace. If a
log-variance is read as a log-standard deviation, σ is read as σ², and the errors grow
like the *root* of what is read. So three log-likelihoods [N] are compared, row by row:

    stated     log q(θ) as it is read
    meant      log q(θ) with the parameter as another reading means it: nothing fitted
    rescaled   log q(θ) with the parameter times the best constant factor

A reading is called a mistake where `meant` beats `stated` by six standard errors of the
paired differences, and by 0.05 nats a row; and beats `rescaled` by three, although that
was fitted to these θ and covers every constant over- or under-confidence. Where what
is read hardly varies among the rows, a constant factor and a power are the same thing,
and `meant` can only tie with `rescaled`. Then it counts only where the constant is at
least ten in variance, and `meant` falls short of it by no more than two standard
errors: with no number fitted it has hit by chance what has a range of decades.

With n rows a normal paired z passes six with a chance of 1e-9; fewer than 20 rows are
not judged, since a z of so few heavy-tailed differences is none.

Reference:
    Gneiting, Balabdaoui & Raftery, Probabilistic forecasts, calibration and sharpness,
    JRSS B 69 (2007), for the probability integral transform.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audit.families.interface import Family
from audit.verify.selftest.finding import Finding, failed, inapplicable, passed
from audit.verify.selftest.readings import Reading, readings_of
from audit.verify.selftest.subject import Subject, outside

NAME = "residuals"
_MOST, _LEAST = 2000, 20  # rows
_BEATS, _TELLS, _TIES = 6.0, 3.0, -2.0  # standard errors
_NATS = 0.05  # of a row
_DECADE = 10.0  # of a variance
_FACTORS = torch.logspace(-3, 3, 121, dtype=torch.float64)


@dataclass(frozen=True)
class Rows:
    """φ [n, p] and θ [n, *event] of rows that have both."""

    family: Family
    phi: Tensor
    theta: Tensor

    def log_likelihood(self, phi: Tensor) -> Tensor:
        """Return log q(θ) [n] at other parameters; −∞ where they are none."""
        found = self.family.distribution(phi).log_prob(self.theta)
        found = found.reshape(len(phi), -1).sum(dim=1)
        lost = outside(self.family, phi) | found.isnan()
        return found.masked_fill(lost, -torch.inf)

    def changed(self, name: str, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Return φ with one parameter changed."""
        values = self.family.unpack(self.phi)
        return self.family.pack(values | {name: change(values[name])})


def residuals(it: Subject) -> Finding:
    """Hold the data's own θ against the law, as it is read and otherwise."""
    if it.targets is None:
        return inapplicable(NAME, "the data hold no θ (--target-key names it)")
    if not it.family.parametric:
        return inapplicable(NAME, "the file names no parameters to be misread")
    rows = _rows(it)
    if isinstance(rows, str):
        return inapplicable(NAME, rows)
    numbers = _numbers(rows)
    try:
        stated = rows.log_likelihood(rows.phi)
    except (NotImplementedError, IndexError, RuntimeError, ValueError):
        return inapplicable(NAME, f"{rows.family.name} has no density at these θ")
    if not bool(torch.isfinite(stated).all()):
        count = int((~torch.isfinite(stated)).sum())
        return _impossible(rows, count, numbers)
    numbers["log_likelihood"] = float(stated.mean())
    best = None
    for name, reading in readings_of(rows.family.unpack(rows.phi)):
        gain = _gain(rows, name, reading, stated)
        if gain is not None and (best is None or gain > best[0]):
            best = gain, name, reading
    if best is None:
        spread = numbers.get("variance")
        said = "no usual misreading explains θ better"
        if spread is not None:
            said = f"standardised residuals have the variance {spread:.3g}; " + said
        return passed(NAME, said, **numbers)
    gain, name, reading = best
    return failed(
        NAME,
        f"'{name}': {reading.what}: read so, the data's own θ are {gain:.2g} nats a "
        "row more likely" + _variance_then(rows, name, reading),
        reading.todo,
        gain=gain,
        **numbers,
    )


def _variance_then(rows: Rows, name: str, reading: Reading) -> str:
    then = _variance(rows, rows.changed(name, reading.change))
    now = _variance(rows, rows.phi)
    if then is None or now is None:
        return ""
    return (
        f", and the variance of their standardised residuals {then:.3g}, not {now:.3g}"
    )


def _impossible(rows: Rows, count: int, numbers: dict[str, float]) -> Finding:
    if 2 * count <= len(rows.phi):
        said = f"{count} of {len(rows.phi)} θ are impossible under the law"
        return passed(NAME, said, **numbers)
    return failed(
        NAME,
        f"{count} of {len(rows.phi)} θ of the data are impossible under "
        f"{rows.family.name}: another family, another unit of θ, or another key",
        "name the key of θ with --target-key, or the family with --family",
        **numbers,
    )


def _gain(rows: Rows, name: str, reading: Reading, stated: Tensor) -> float | None:
    """Return the nats a row that another reading gains; None if it is no better."""
    meant = rows.log_likelihood(rows.changed(name, reading.change))
    if not bool(torch.isfinite(meant).all()):
        return None
    gain, z = _paired(meant - stated)
    if z < _BEATS or gain < _NATS:
        return None
    if not reading.scaled:
        return gain
    factor, rescaled = _rescaled(rows, name)
    _, beyond = _paired(meant - rescaled)
    large = max(factor, 1 / factor) ** 2 >= _DECADE
    if beyond >= _TELLS or (large and beyond >= _TIES):
        return gain
    return None


def _rescaled(rows: Rows, name: str) -> tuple[float, Tensor]:
    """Return the best constant factor of a parameter, and log q(θ) [n] with it."""
    found = [
        rows.log_likelihood(rows.changed(name, lambda v, f=float(factor): f * v))  # type: ignore[misc]
        for factor in _FACTORS
    ]
    means = torch.stack([one.mean() for one in found])
    best = int(means.nan_to_num(nan=-torch.inf).argmax())
    return float(_FACTORS[best]), found[best]


def _paired(differences: Tensor) -> tuple[float, float]:
    """Return the mean and its number of standard errors."""
    mean = float(differences.mean())
    error = float(differences.std()) / math.sqrt(len(differences))
    return mean, mean / error if error > 0 else math.copysign(math.inf, mean)


def _numbers(rows: Rows) -> dict[str, float]:
    found = {"rows": float(len(rows.phi))}
    variance = _variance(rows, rows.phi)
    return found if variance is None else found | {"variance": variance}


def _variance(rows: Rows, phi: Tensor) -> float | None:
    """Return the mean of (θ − E θ)² / Var θ; None where the law has no such moments."""
    law = rows.family.distribution(phi)
    try:
        mean, variance = law.mean, law.variance
        squares = (rows.theta.double() - mean).square() / variance
    except (NotImplementedError, AttributeError, RuntimeError):
        return None
    found = float(squares.mean()) if squares.shape == mean.shape else math.nan
    return found if math.isfinite(found) else None


def _rows(it: Subject) -> Rows | str:
    """Return rows that have φ and θ, or why there are none."""
    assert it.targets is not None
    model = it.model
    spread = np.linspace(0, len(it.index) - 1, min(len(it.index), _MOST))
    index = it.index[np.unique(spread.round().astype(np.int64))]
    raw = it.targets[index].reshape(len(index), -1)
    index_kept = np.isfinite(raw.astype(np.float64)).all(axis=1)
    index_kept &= model.inputs.finite(index)
    index = index[index_kept]
    if len(index) < _LEAST:
        return f"{len(index)} rows have x and θ: fewer than {_LEAST} tell nothing"
    parts = np.split(index, range(256, len(index), 256))
    phi = torch.cat([model.density.parameter_map(*model.rows(p)) for p in parts])
    event = it.family.event_shape
    theta = torch.from_numpy(it.targets[index].astype(np.float64)).to(phi.device)
    if theta[0].numel() != math.prod(event):
        return (
            f"one θ of the data has the shape {list(theta.shape[1:])}, one of the law "
            f"{list(event)}"
        )
    kept = ~outside(it.family, phi)
    if int(kept.sum()) < _LEAST:
        return "too few rows are members of the family"
    return Rows(it.family, phi[kept], theta.reshape(len(index), *event)[kept])
