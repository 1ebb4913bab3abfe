"""Expectations under a density that is only known as a function, by quadrature.

log q(θ; φ) has no sampler, so each input gets its own nodes θ_k and weights w_k with
Σ_k w_k g(θ_k) ≈ E_q[g] for any g that is as smooth as q. The density need not be
normalised: Z = ∫ q is measured, and so is its error. `zoom` finds where each density
lives, `cells` cuts that box until the integral stands. Discrete coordinates are
enumerated: every combination of them is a law of its own.

Values of log q that are NaN or infinite count as no density: they come from outside a
support, or from a θ that doubles cannot hold.

Shapes: N inputs, D combinations of discrete values, M = N D laws, Q nodes, n columns
of θ of which c are continuous.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from audit.errors import ConfigError
from audit.families.cells import Cells, first_cells, log_sum, refine
from audit.families.space import TargetSpace
from audit.families.zoom import Chart, find_box, find_noise, locate

LogDensity = Callable[[Tensor, Tensor], Tensor]  # θ [R, n], φ [R, p] -> log q [R]

CHUNK = 8192  # rows that log q sees at once
PIECES = {1: 16, 2: 6}  # of the first box, on each axis
ROUNDS = {1: 72, 2: 64}
TOLERANCE = {1: 1e-10, 2: 1e-7}
LEFT_OUT = {1: 1e-12, 2: 1e-9}  # the mass of nodes that are not worth a score


@dataclass(frozen=True)
class Nodes:
    """A quadrature rule for each input's own density.

    Args:
        targets: θ [Q, N, n].
        log_density: log q there [Q, N].
        weights: [Q, N]; they add up to one over Q, and are zero at the end.
        normalisation: Z = ∫ q [N].
        error: an estimate of the relative error of Z [N]; infinite where no density
            was found.
    """

    targets: Tensor
    log_density: Tensor
    weights: Tensor
    normalisation: Tensor
    error: Tensor


def grid_nodes(
    log_density: LogDensity,
    phi: Tensor,
    space: TargetSpace,
    tolerance: float | None = None,
) -> Nodes:
    """Return nodes at which expectations under q(θ; φ) are sums.

    Args:
        log_density: θ [R, n], φ [R, p] -> log q [R], normalised or not.
        phi: parameters [N, p], float64.
        space: what θ may be.
        tolerance: relative error of Z at which refinement ends; by default 1e-10 for
            one continuous coordinate and 1e-7 for two.

    Raises:
        ConfigError: more than two coordinates are continuous.
    """
    axes = len(space.continuous)
    if axes > 2:
        raise ConfigError(
            f"The target has {axes} continuous coordinates",
            "Quadrature on a grid takes one or two",
            "Give a sampler with --sampler, draws with --draws, or install the "
            "Markov chains: pip install 'robaudit[mcmc]'",
        )
    laws = _Laws(log_density, phi, space)
    if axes == 0:
        return _enumerate(laws)
    with torch.no_grad():
        sight = _look(laws)
        cells = refine(
            sight.density,
            sight.cells,
            sight.noise,
            tolerance or TOLERANCE[axes],
            ROUNDS[axes],
        )
        return _collect(laws, sight, cells)


@dataclass(frozen=True)
class _Sight:
    """Where the laws live: charts, first cells, their noise, and what is outside."""

    laws: _Laws
    chart: Chart
    cells: Cells
    noise: Tensor  # [M]
    outside: Tensor  # [M, 2 c]

    def density(self, t: Tensor) -> Tensor:
        """Return the log density [M, K] of points t [M, K, c] of the chart."""
        return _charted(self.laws, self.chart, t)


def _charted(laws: _Laws, chart: Chart, t: Tensor) -> Tensor:
    u, slope = chart.place(t)
    return laws.field(u) + slope


def _look(laws: _Laws) -> _Sight:
    """Return the sight of each law with the smaller error at first."""
    limits = laws.space.limits()
    sights = []
    for chart in locate(laws.field, limits, laws.count):
        density = partial(_charted, laws, chart)
        low, high = find_box(laws.field, chart, limits)
        cells = first_cells(density, low, high, PIECES[limits.shape[1]])
        noise, outside = find_noise(density, low), _outside(density, low, high)
        sights.append(_Sight(laws, chart, cells, noise, outside))
    if len(sights) == 1:
        return sights[0]
    one, two = sights
    fault = [log_sum(s.cells.log_error) for s in sights]
    return _mix(fault[1] < fault[0], two, one)


def _mix(first: Tensor, one: _Sight, two: _Sight) -> _Sight:
    """Return the sights of one where `first` [M], of the other elsewhere."""

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(first.reshape(-1, *[1] * (a.dim() - 1)), a, b)

    pairs = zip(one.cells.parts(), two.cells.parts(), strict=True)
    return _Sight(
        one.laws,
        Chart(one.chart.center, pick(one.chart.root, two.chart.root)),
        Cells(*(pick(a, b) for a, b in pairs)),
        pick(one.noise, two.noise),
        pick(one.outside, two.outside),
    )


@dataclass(frozen=True)
class _Laws:
    """The densities of the continuous coordinates, one for each input and choice."""

    log_density: LogDensity
    phi: Tensor
    space: TargetSpace

    @property
    def count(self) -> int:
        return len(self.phi) * len(self.space.choices())

    def targets(self, continuous: Tensor) -> Tensor:
        """Return θ [M, K, n] of continuous coordinates [M, K, c]."""
        choices = self.space.choices().repeat(len(self.phi), 1).unsqueeze(1)
        many = choices.expand(-1, continuous.shape[1], -1)
        return self.space.assemble(continuous, many)

    def log_q(self, targets: Tensor) -> Tensor:
        """Return log q [M, K] at θ [M, K, n], -inf where it is not finite."""
        laws, count, _ = targets.shape
        repeats = count * (laws // max(1, len(self.phi)))
        flat = targets.flatten(0, 1)
        parts = []
        for start in range(0, len(flat), CHUNK):
            rows = torch.arange(start, min(start + CHUNK, len(flat))) // repeats
            theta = flat[start : start + CHUNK]
            parts.append(self.log_density(theta, self.phi[rows]).detach().double())
        values = torch.cat(parts).reshape(laws, count)
        usable = values.isfinite() & targets.isfinite().all(-1)
        return values.masked_fill(~usable, -torch.inf)

    def field(self, u: Tensor) -> Tensor:
        """Return the log density [M, K] of unconstrained u [M, K, c]."""
        continuous, slope = self.space.to_target(u)
        values = self.log_q(self.targets(continuous)) + slope
        return values.masked_fill(~values.isfinite(), -torch.inf)


def _enumerate(laws: _Laws) -> Nodes:
    """Return the sum over all combinations of discrete values."""
    inputs, combinations = len(laws.phi), len(laws.space.choices())
    with torch.no_grad():
        targets = laws.targets(torch.zeros(laws.count, 1, 0, dtype=torch.float64))
        values = laws.log_q(targets).reshape(inputs, combinations)
    total = values.logsumexp(-1)
    return Nodes(
        targets.reshape(inputs, combinations, -1).transpose(0, 1).contiguous(),
        values.mT.contiguous(),
        _shares(values, total).mT.contiguous(),
        total.exp(),
        torch.where(total.isfinite(), 0.0, torch.inf),
    )


def _collect(laws: _Laws, sight: _Sight, cells: Cells) -> Nodes:
    """Gather the nodes of all of an input's laws, the heaviest first."""
    inputs, axes = len(laws.phi), len(laws.space.continuous)
    masses = cells.log_masses.reshape(inputs, -1)
    total = log_sum(masses)
    errors = torch.cat([sight.outside, cells.log_error], dim=-1).reshape(inputs, -1)
    weights, order = _shares(masses, total).sort(dim=-1, descending=True, stable=True)
    rest = weights.flip(-1).cumsum(-1).flip(-1)
    kept = max(1, int((rest > LEFT_OUT[axes]).sum(-1).max()))
    weights = weights.masked_fill(rest <= LEFT_OUT[axes], 0.0)[:, :kept]
    order = order[:, :kept]
    targets, log_q = _unfold(laws, sight.chart, cells)
    targets = targets.gather(1, order.unsqueeze(-1).expand(-1, -1, laws.space.n))
    error = (log_sum(errors) - total).exp() + sight.noise.reshape(inputs, -1).amax(-1)
    return Nodes(
        targets.transpose(0, 1).contiguous(),
        log_q.gather(1, order).mT.contiguous(),
        (weights / weights.cumsum(-1)[:, -1:].clamp_min(1e-300)).mT.contiguous(),
        total.exp(),
        torch.where(total.isfinite(), error, torch.inf),
    )


def _unfold(laws: _Laws, chart: Chart, cells: Cells) -> tuple[Tensor, Tensor]:
    """Return θ [N, D P k, n] and log q(θ) there."""
    inputs = len(laws.phi)
    u, slope = chart.place(cells.points)
    continuous, log_slope = laws.space.to_target(u)
    log_q = cells.values.flatten(1) - slope - log_slope
    targets = laws.targets(continuous).reshape(inputs, -1, laws.space.n)
    return targets, log_q.reshape(inputs, -1)


def _shares(log_masses: Tensor, total: Tensor) -> Tensor:
    """Return masses over their total [N, Q], zero where there is none."""
    safe = torch.where(total.isfinite(), total, 0.0)
    return (log_masses - safe.unsqueeze(-1)).exp()


def _outside(density: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Return the log of what may lie beyond each face of the box [M, 2 c].

    Tails fall by a factor e or more in a unit of t where the integral exists at all,
    so the highest density on the face stands for what is behind it.
    """
    unit = torch.linspace(0, 1, 65, dtype=torch.float64)[:, None]
    found = []
    for axis in range(low.shape[-1]):
        for end in (low, high):
            face = low.unsqueeze(1) + (high - low).unsqueeze(1) * unit
            face[..., axis] = end[:, axis, None]
            found.append(density(face).amax(-1))
    return torch.stack(found, dim=-1)
