"""Where draws come from: base noise and θ."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from audit.families.computed import Transport
from audit.families.givers import Base, Nodes, taken
from audit.inputs import Inputs
from audit.nodes import Chains, LogDensity, TargetSpace, grid_nodes, nuts_draws
from audit.nodes.base_laws import BASE_LAWS, BaseLaw
from audit.nodes.grid import Nodes as GridNodes
from audit.nodes.grid import Region, nodes_within
from audit.nodes.noise import Noise, Points

_REMEMBERED = 512  # inputs whose chains are kept
_LONG = 64  # draws: fewer are only to try the file on
_WARMUP, _SHORT_WARMUP = 300, 20
_BATCHES = 32  # of consecutive draws: their means are nearly independent
_DRAWN = 16384  # rows of a call of a sampler: it is many small steps
_LAST = 3  # calls whose grids are kept
_GRID_NODES = (64, 4096, 150_000)
_NOISE_NODES = {1: 1500, 2: 6000}  # by the numbers of noise
ChainKey = tuple[int, int, int]  # seed, input index, draws


@dataclass(frozen=True)
class NamedBase:
    """z of m independent numbers from a standard law: normal, uniform or logistic.

    Args:
        law_name: one of these.
        size: m.
        device: of z.
        trial: says why one or two numbers are drawn, and nothing where they are not.
        seed: of its own, in place of the scan's.
    """

    law_name: str
    size: int
    device: torch.device
    trial: Callable[[], str] | None = None
    seed: int | None = None
    fixed: bool = False

    @property
    def name(self) -> str:
        """The law and its dimension."""
        return f"z ~ {self.law_name}, {self.size} numbers"

    @property
    def how(self) -> str:
        """How expectations over z are taken."""
        if self.size not in _NOISE_NODES:
            return "drawn"
        drawn = self.trial() if self.trial is not None else ""
        return drawn or "integrated on a grid"

    @property
    def law(self) -> BaseLaw | None:
        """The law of each number, where they are integrated over."""
        drawn = self.how.startswith("drawn")
        return None if drawn else BASE_LAWS[self.law_name]

    def count(self, draws: int) -> int:
        """Return about the number of nodes, or of draws."""
        return draws if self.law is None else _NOISE_NODES[self.size]

    def points(self, noise: Noise) -> Points:
        """Return z [S, N, m]."""
        own = noise if self.seed is None else replace(noise, seed=self.seed)
        found = own.points(self.size)
        values = BASE_LAWS[self.law_name].quantile(found.values)
        return Points(values.to(self.device), found.unit)


@dataclass(frozen=True)
class GivenDraws:
    """Draws that lie in the data, [S, …] for each input: of z, or of θ.

    They are those of the data's own x, and do not move with φ.
    """

    weighted = follows = False
    inputs: Inputs
    key: str
    device: torch.device
    fixed: bool = True
    law: BaseLaw | None = None
    how: str = "given"

    @property
    def name(self) -> str:
        """The key, and that nobody here drew them."""
        return f"'{self.key}' of the data (given, not drawn)"

    @property
    def size(self) -> int:
        """The numbers of one draw."""
        return math.prod(self.inputs.arrays[self.key].shape[2:])

    def count(self, draws: int) -> int:
        """Return the number of draws each input has, if it is not more than asked."""
        return min(draws, int(self.inputs.arrays[self.key].shape[1]))

    def points(self, noise: Noise) -> Points:
        """Return the first S of them [S, N, m], or all if there are fewer."""
        rows = self.inputs.take(self.key, noise.index).astype(np.float64)
        few = rows[:, : noise.draws].reshape(len(rows), -1, self.size)
        return Points(torch.from_numpy(few).transpose(0, 1).to(self.device), 1)

    def nodes(self, phi: Tensor, noise: Noise) -> Nodes:
        """Return the draws as θ."""
        return Nodes(self.points(noise).values)


@dataclass(frozen=True)
class FromSampler:
    """θ = T(φ, z), from the file's own sampler."""

    weighted, follows = False, True
    transport: Transport
    base: Base
    label: str

    @property
    def name(self) -> str:
        """The sampler, and its noise."""
        return f"{self.label}, {self.base.name}"

    @property
    def fixed(self) -> bool:
        """Whether the noise is given."""
        return self.base.fixed

    def count(self, draws: int) -> int:
        """Return the number of draws."""
        return draws

    def nodes(self, phi: Tensor, noise: Noise) -> Nodes:
        """Return draws [S, N, n]."""
        points = self.base.points(noise)
        inputs = len(phi)
        owner = torch.arange(inputs, device=phi.device).repeat(len(points.values))
        z = points.values.flatten(0, 1)
        with torch.no_grad():
            parts = [
                self.transport(z[i : i + _DRAWN], phi[owner[i : i + _DRAWN]])
                for i in range(0, len(z), _DRAWN)
            ]
        theta = torch.cat(parts).reshape(*points.values.shape[:2], -1)
        return Nodes(theta.detach(), unit=points.unit)


@dataclass(frozen=True)
class FromGrid:
    """Nodes of a quadrature rule over all θ."""

    weighted = follows = True
    log_density: LogDensity
    space: TargetSpace
    fixed: bool = True
    last: threading.local = field(default_factory=threading.local, compare=False)

    @property
    def name(self) -> str:
        """What is integrated."""
        kinds = ", ".join(f"{c.name} {c.kind}" for c in self.space.coordinates)
        return f"quadrature on a grid ({kinds})"

    def count(self, draws: int) -> int:
        """Return about the number of nodes, by the continuous dimensions."""
        return _GRID_NODES[len(self.space.continuous)]

    def nodes(self, phi: Tensor, noise: Noise) -> Nodes:
        """Return nodes [Q, N, n] with their weights, Z and the rule's own error.

        A thread remembers its last ones: a form and exact values ask for them one after
        the other, and a portrait for some of them.
        """
        known: tuple[tuple[Tensor, Nodes], ...] = getattr(self.last, "ones", ())
        for laws, nodes in known:
            same = (laws.unsqueeze(0) == phi.unsqueeze(1)).all(dim=2)  # [N, K]
            if bool(same.any(dim=1).all()):
                return taken(nodes, same.to(torch.int8).argmax(dim=1))
        found = grid_nodes(self.log_density, phi, self.space)
        nodes = _of_grid(found)
        if found.region is not None:
            nodes = replace(nodes, beside=partial(self._beside, found.region))
        self.last.ones = ((phi.detach().clone(), nodes), *known)[:_LAST]
        return nodes

    def _beside(self, region: Region, inputs: Tensor, phi: Tensor) -> Nodes:
        """Return nodes of laws φ [K, p + c] near some inputs' [K]."""
        near = region.take(inputs.cpu())
        return _of_grid(nodes_within(self.log_density, phi, self.space, near))


def _of_grid(found: GridNodes) -> Nodes:
    """Return a grid's nodes with what it measured; of a plane's, log q too."""
    checks = {"normalisation": found.normalisation, "quadrature_error": found.error}
    plane = found.nested is not None and found.nested.axes > 1
    return Nodes(
        found.targets,
        found.weights,
        checks=checks,
        nested=found.nested,
        log_density=found.log_density if plane else None,
    )


@dataclass(frozen=True)
class FromChains:
    """Chains of a gradient-based sampler, where nothing else draws θ.

    A chain is run once for each input, and does not move with φ.
    """

    name, weighted, follows = "NUTS chains", False, False
    log_density: LogDensity
    space: TargetSpace
    known: dict[ChainKey, Chains]
    fixed: bool = False

    def count(self, draws: int) -> int:
        """Return the number of draws."""
        return draws

    def nodes(self, phi: Tensor, noise: Noise) -> Nodes:
        """Return draws [S, N, n] with the chains' own diagnostics.

        Raises:
            AuditError: the library is not installed.
        """
        rows = [self._chain(row, phi, noise) for row in range(len(phi))]
        targets = torch.cat([row.targets for row in rows], dim=1)
        unit = max(1, len(targets) // _BATCHES)
        checks = {
            name: torch.cat([getattr(row, name) for row in rows]).double()
            for name in ("rhat", "ess")
        }
        return Nodes(targets[: unit * _BATCHES], unit=unit, checks=checks)

    def _chain(self, row: int, phi: Tensor, noise: Noise) -> Chains:
        """Return one input's chains, run once."""
        key = noise.seed, int(noise.index[row]), noise.draws
        found = self.known.get(key)
        if found is None:
            one = noise.of(noise.index[row : row + 1])
            law = phi[row : row + 1]
            warmup = _WARMUP if noise.draws >= _LONG else _SHORT_WARMUP
            found = nuts_draws(self.log_density, law, self.space, one, warmup)
            if len(self.known) >= _REMEMBERED:
                self.known.clear()
            self.known[key] = found
        return found
