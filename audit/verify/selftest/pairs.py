"""Rows that have both x and θ: the law's parameters beside the data's own value."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from audit.families.interface import Family
from audit.verify.selftest.subject import Subject, outside

_MOST, _LEAST = 2000, 20  # rows
_DRAWS, _SEED = 64, 20_240_302
CANNOT = (NotImplementedError, AttributeError, IndexError, RuntimeError, ValueError)
"""What torch's laws raise where they have no density, moments or sampler."""


@dataclass(frozen=True)
class Rows:
    """φ [n, p] and θ [n, *event] of rows that have both.

    Args:
        family: of the law. phi, theta: of the rows.
        x: the inputs [n, d]. laws: x -> φ [n, p], all else as it is; None where what is
            perturbed is φ itself.
    """

    family: Family
    phi: Tensor
    theta: Tensor
    x: Tensor
    laws: Callable[[Tensor], Tensor] | None = None

    def log_likelihood(self, phi: Tensor) -> Tensor:
        """Return log q(θ) [n] at other parameters; −∞ where they are none."""
        law = self.family.distribution(phi)
        found = law.log_prob(self.theta).reshape(len(phi), -1).sum(dim=1)
        lost = outside(self.family, phi) | found.isnan()
        return found.masked_fill(lost | ~_supported(law, self.theta), -torch.inf)

    def with_phi(self, phi: Tensor) -> Rows:
        """Return the rows with other parameters."""
        return replace(self, phi=phi)

    def with_theta(self, theta: Tensor) -> Rows:
        """Return the rows with other θ."""
        return replace(self, theta=theta)

    def expected(self, phi: Tensor) -> float:
        """Return the mean of −H over the rows, by draws from their own laws."""
        law = self.family.distribution(phi.cpu())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            drawn = law.sample(torch.Size((_DRAWS,)))
        found = law.log_prob(drawn).reshape(_DRAWS, len(phi), -1).sum(dim=2)
        return float(found.mean())

    def changed(self, name: str, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Return φ with one parameter changed."""
        values = self.family.unpack(self.phi)
        return self.family.pack(values | {name: change(values[name])})

    def variance(self, phi: Tensor) -> float | None:
        """Return the mean of (θ − E θ)² / Var θ; None without such moments."""
        try:
            law = self.family.distribution(phi)
            mean, variance = law.mean, law.variance
            squares = (self.theta - mean).square() / variance
        except CANNOT:
            return None
        found = float(squares.mean()) if squares.shape == mean.shape else math.nan
        return found if math.isfinite(found) else None


def _supported(law: Distribution, theta: Tensor) -> Tensor:
    """Return which θ [n] a law can give, as far as torch knows its support."""
    inside = torch.ones_like(theta, dtype=torch.bool)
    with suppress(*CANNOT):
        support = law.support
        inside = inside if support is None else support.check(theta)  # type: ignore[no-untyped-call]
    return inside.reshape(len(theta), -1).all(dim=1)


def rows_with_theta(it: Subject, targets: NDArray[np.generic]) -> Rows | str:
    """Return rows that have φ and θ, or why there are none."""
    event = it.family.event_shape
    index = it.spread(_MOST)
    theta = targets[np.searchsorted(it.index, index)].astype(np.float64)
    known = np.isfinite(theta.reshape(len(index), -1)).all(axis=1)
    known &= it.model.inputs.finite(index)
    index, theta = index[known], theta[known]
    if len(index) < _LEAST:
        return f"{len(index)} rows have x and θ: fewer than {_LEAST} tell nothing"
    if theta[0].size != math.prod(event):
        return (
            f"one θ of the data has the shape {list(theta.shape[1:])}, one of the law "
            f"{list(event)}"
        )
    model, laws = it.model, it.model.density.parameter_map
    parts = [model.rows(part) for part in np.split(index, range(256, len(index), 256))]

    def at(x: Tensor) -> Tensor:
        split = torch.split(x, [len(own) for own, _ in parts])
        found = zip(split, (held for _, held in parts), strict=True)
        return torch.cat([laws(here, held) for here, held in found])

    x = torch.cat([part for part, _ in parts])
    phi = at(x)
    kept = ~outside(it.family, phi)
    if int(kept.sum()) < _LEAST:
        return "too few rows are members of the family"
    ours = torch.from_numpy(theta.reshape(len(index), *event)).to(phi.device)
    whole = bool(kept.all()) and model.space == "input"
    found = Rows(it.family, phi[kept], ours[kept], x[kept])
    return replace(found, laws=at) if whole else found
