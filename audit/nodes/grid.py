"""Expectations under a density that is only known as a function, by quadrature.

log q(θ; φ) has no sampler, so each input gets its own nodes θ_k and weights w_k with
Σ_k w_k g(θ_k) ≈ E_q[g] for any g that is as smooth as q. The density need not be
normalised: Z = ∫ q is measured, and so is its error. `search` finds the modes, `sights`
the box where each density lives, `halving` cuts it until the integral stands, and
`assurance` looks again at what stands. How thin a mode may be before it is missed in
silence is said in `search` and `probe`.

Shapes: N inputs, D combinations of discrete values, M = N D laws, Q nodes, n columns
of θ of which c are continuous.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from audit.ground.errors import ConfigError
from audit.nodes.assurance import assure
from audit.nodes.cells import Cells, log_sum
from audit.nodes.charts import SinhChart, picked
from audit.nodes.halving import refine
from audit.nodes.nested import Nested
from audit.nodes.region import Region
from audit.nodes.sights import Laws, LogDensity, Sight, look
from audit.nodes.space import TargetSpace

__all__ = ["LogDensity", "Nodes", "Region", "grid_nodes", "nodes_within"]

ROUNDS = {1: 72, 2: 80}
TOLERANCE = {1: 1e-10, 2: 1e-6}  # relative error of Z at which refinement ends
_LARGEST = 300.0  # of log Z: the square of its exponential is still a number
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
        nested: the coarser rules among the nodes; None where they are a whole sum.
        region: where the densities live, for others that are near; None if none was
            looked for.
    """

    targets: Tensor
    log_density: Tensor
    weights: Tensor
    normalisation: Tensor
    error: Tensor
    nested: Nested | None = None
    region: Region | None = None


def grid_nodes(log_density: LogDensity, phi: Tensor, space: TargetSpace) -> Nodes:
    """Return nodes at which expectations under q(θ; φ) are sums.

    Args:
        log_density: θ [R, n], φ [R, p] -> log q [R], normalised or not.
        phi: parameters [N, p], float64.
        space: what θ may be.

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
    laws = Laws(log_density, phi, space)
    if axes == 0:
        return _enumerate(laws)
    with torch.no_grad():
        sight = look(laws)
        limits = (sight.noise, TOLERANCE[axes], ROUNDS[axes])
        cells = refine(sight.density, sight.cells, *limits)
        cells, doubt = assure(sight.density, cells, *limits)
        found = _collect(laws, sight, cells, doubt)
        return replace(found, region=Region.of(sight))


def nodes_within(
    log_density: LogDensity, phi: Tensor, space: TargetSpace, region: Region
) -> Nodes:
    """Return nodes for laws that are near others, whose region they are looked for in.

    No mode is searched for: what lies elsewhere, or between the first points, is missed
    in silence, and Z lacks it. That is for the caller to look at.

    Args:
        log_density: as in `grid_nodes`, like the next two.
        phi: parameters [N, p].
        space: what θ may be.
        region: of as many laws. Its faces move out as far as these densities ask.
    """
    laws, axes = Laws(log_density, phi, space), len(space.continuous)
    with torch.no_grad():
        sight = region.look(laws)
        limits = (sight.noise, TOLERANCE[axes], ROUNDS[axes])
        cells = refine(sight.density, sight.cells, *limits)
        nothing = torch.full_like(sight.noise, -torch.inf)
        return _collect(laws, sight, cells, nothing)


def _enumerate(laws: Laws) -> Nodes:
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
        total.clamp_max(_LARGEST).exp(),
        torch.where(total.isfinite(), 0.0, torch.inf),
    )


def _collect(laws: Laws, sight: Sight, cells: Cells, doubt: Tensor) -> Nodes:
    """Gather the nodes of all of an input's laws, the heaviest first."""
    inputs, axes = len(laws.phi), len(laws.space.continuous)
    masses = cells.log_masses.reshape(inputs, -1)
    total = log_sum(masses)
    parts = [sight.outside, cells.log_told, doubt.unsqueeze(-1)]
    errors = torch.cat(parts, dim=-1).reshape(inputs, -1)
    weights, order = _shares(masses, total).sort(dim=-1, descending=True, stable=True)
    rest = weights.flip(-1).cumsum(-1).flip(-1)
    kept = max(1, int((rest > LEFT_OUT[axes]).sum(-1).max()))
    small = rest <= LEFT_OUT[axes]
    left_out = rest.masked_fill(~small, 0.0).amax(-1)
    weights = weights.masked_fill(small, 0.0)[:, :kept]
    order = order[:, :kept]
    targets, log_q = _unfold(laws, sight.chart, cells)
    targets = picked(targets, order)
    error = (log_sum(errors) - total).exp() + sight.noise.reshape(inputs, -1).amax(-1)
    return Nodes(
        targets.transpose(0, 1).contiguous(),
        log_q.gather(1, order).mT.contiguous(),
        (weights / weights.cumsum(-1)[:, -1:].clamp_min(1e-300)).mT.contiguous(),
        total.clamp_max(_LARGEST).exp(),
        torch.where(total.isfinite(), error, torch.inf),
        Nested(order.mT.contiguous(), axes, left_out),
    )


def _unfold(laws: Laws, chart: SinhChart, cells: Cells) -> tuple[Tensor, Tensor]:
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
