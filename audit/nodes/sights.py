"""Densities that are only known as functions, and the first sight of where they live.

Values of log q that are NaN or infinite count as no density: they come from outside a
support, or from a θ that doubles cannot hold. Discrete coordinates are enumerated:
every combination of them is a law of its own.

Shapes: N inputs, D combinations of discrete values, M = N D laws, K points, n columns
of θ of which c are continuous.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from audit.nodes.cells import Cells, evaluate, log_sum
from audit.nodes.charts import SinhChart
from audit.nodes.peaks import Peaks
from audit.nodes.seeds import divide, first_boxes
from audit.nodes.space import TargetSpace
from audit.nodes.zoom import charted, faces, find_box, find_noise, locate

LogDensity = Callable[[Tensor, Tensor], Tensor]  # θ [R, n], φ [R, p] -> log q [R]

CHUNK = 32768  # rows that log q sees at once: a file's steps cost as much as 2,000
PIECES = {1: 32, 2: 6}  # of the first box, on each axis


@dataclass(frozen=True)
class Laws:
    """The densities of the continuous coordinates, one for each input and choice."""

    log_density: LogDensity
    phi: Tensor
    space: TargetSpace

    @property
    def count(self) -> int:
        """The number of laws M."""
        return len(self.phi) * len(self.space.choices())

    def repeated(self, times: int) -> Laws:
        """Return all laws, several times over."""
        return replace(self, phi=self.phi.repeat(times, 1))

    def targets(self, continuous: Tensor) -> Tensor:
        """Return θ [M, K, n] of continuous coordinates [M, K, c]."""
        choices = self.space.choices().repeat(len(self.phi), 1).unsqueeze(1)
        many = choices.expand(-1, continuous.shape[1], -1)
        return self.space.assemble(continuous, many)

    def log_q(self, targets: Tensor) -> Tensor:
        """Return log q [M, K] at θ [M, K, n], -inf where it is not finite.

        A θ that is not finite is not asked for. The search is the host's; the density
        is computed where φ is.
        """
        laws, count, _ = targets.shape
        repeats = count * (laws // max(1, len(self.phi)))
        flat = targets.flatten(0, 1)
        there = flat.isfinite().all(-1).nonzero().squeeze(-1)
        values = flat.new_full((len(flat),), -torch.inf)
        for rows in torch.split(there, CHUNK):
            theta = flat[rows].to(self.phi.device)
            law = self.phi[(rows // repeats).to(self.phi.device)]
            found = self.log_density(theta, law).detach().double()
            values[rows] = found.to(targets.device)
        values = values.reshape(laws, count)
        return values.masked_fill(~(values.abs() < torch.inf), -torch.inf)

    def field(self, u: Tensor) -> Tensor:
        """Return the log density [M, K] of unconstrained u [M, K, c]."""
        continuous, slope = self.space.to_target(u)
        values = self.log_q(self.targets(continuous)) + slope
        return values.masked_fill(~(values.abs() < torch.inf), -torch.inf)


@dataclass(frozen=True)
class Sight:
    """Where the laws live: charts, first cells, their noise, and what is outside.

    Tails fall by a factor e or more in a unit of t where the integral exists at all,
    so the highest density on a face of the box stands for what is behind it.
    """

    laws: Laws
    chart: SinhChart
    cells: Cells
    noise: Tensor  # [M]
    outside: Tensor  # [M, 2 c]

    def density(self, t: Tensor) -> Tensor:
        """Return the log density [M, K] of points t [M, K, c] of the chart."""
        return self.chart.density(self.laws.field)(t)


def look(laws: Laws) -> Sight:
    """Return the sight of each law, in the chart with the smaller error at first."""
    limits = laws.space.limits()
    charts, modes = locate(laws.field, limits, laws.count)
    every = laws.repeated(len(charts))
    chart = SinhChart(*(torch.cat(p) for p in zip(*map(_parts, charts), strict=True)))
    modes = Peaks(
        *(part.repeat(len(charts), *[1] * (part.dim() - 1)) for part in modes)
    )
    density = chart.density(every.field)
    peaks = charted(every.field, chart, modes)
    low, high = find_box(every.field, chart, peaks, limits)
    pieces = divide(first_boxes(low, high, PIECES[limits.shape[1]]), peaks)
    ceiling = peaks.height.amax(-1, keepdim=True).expand_as(pieces.used)
    cells = evaluate(density, pieces.low, pieces.high, pieces.used, ceiling)
    noise, outside = find_noise(density, low), faces(density, low, high)
    fault = log_sum(cells.log_error).reshape(len(charts), -1)
    least = fault.argmin(0) * laws.count + torch.arange(laws.count)
    return Sight(
        laws,
        SinhChart(*(part[least] for part in _parts(chart))),
        Cells(*(part[least] for part in cells.parts())),
        noise[least],
        outside[least],
    )


def _parts(chart: SinhChart) -> tuple[Tensor, Tensor]:
    return chart.center, chart.root
