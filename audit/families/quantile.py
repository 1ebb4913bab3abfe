"""Quantile heads: a network that outputs quantiles q_j at fixed levels τ_j.

T(u) interpolates them, so it is linear in q and the quantile distance is exactly
quadratic: E(T − T')² = Δqᵀ M Δq, where M is the mass matrix of the basis functions.

    interpolation="linear"  hat functions between the levels: h/6 [[2, 1], [1, 2]] for
                            each interval; below τ_1 and above τ_Q the quantile is taken
                            to be constant, which adds τ_1 and 1 − τ_Q to the corners
    interpolation="step"    atoms (quantile regression DQN): diag of the lengths of the
                            levels nearer to τ_j than to another, ends included

The constant tail is a choice: nothing is known beyond the outer levels, and any
extrapolation would be invented. What it adds to M is diag(τ_1, 0, …, 0, 1 − τ_Q), in
both interpolations; `tail_share` says how much of an answer hangs on it. Such a law has
atoms and so no Fisher information.

Sources: Strang & Fix, An Analysis of the Finite Element Method (1973), chapter 1;
Dabney et al., AAAI 2018, for the atoms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.interface import Family
from audit.families.options import read_numbers
from audit.families.parameters import Shapes, check_finite
from audit.families.torch_laws import OwnLaw
from audit.ground.errors import ConfigError, NoFisher
from audit.linalg.operators import CoordinateBlocks, Diagonal
from audit.linalg.stored import LinearOperator


class Quantile(Family):
    """Independent quantiles [*event, Q] at `levels` [Q]: --option levels=[0.1,0.9].

    Density: none: the law has atoms at its outer levels.

    Fisher information: none: kl is not defined, quantile is.

    φ is laid out level by level: (q₁ of every coordinate, q₂ of every coordinate, …).
    """

    parameterizations = (("quantiles",),)
    options = ("levels", "interpolation")
    optional = ("interpolation",)

    def __init__(self, shapes: Shapes, **options: object) -> None:
        super().__init__(shapes, **options)
        levels = read_numbers("levels", self.settings["levels"])
        given = (0.0, *levels, 1.0)
        if any(a >= b for a, b in pairwise(given)):
            raise ConfigError(
                f"The levels {', '.join(map(str, levels))} are not increasing",
                "They must increase strictly, between 0 and 1",
                "Give the levels in the order of the model's outputs",
            )
        if self.shapes["quantiles"][-1:] != (len(levels),):
            raise ConfigError(
                f"quantiles has the shape {self.shapes['quantiles']}",
                f"Its last axis must match the {len(levels)} levels",
                self._next_step(len(levels)),
            )
        self.levels = torch.tensor(levels, dtype=torch.float64)
        self.interpolation = str(self.settings.get("interpolation", "linear"))
        if self.interpolation not in {"linear", "step"}:
            raise ConfigError(
                f"The option interpolation is {self.interpolation!r}",
                "It takes linear or step",
                "Set interpolation to one of them, or leave it out",
            )

    @property
    def size(self) -> int:
        """Q n."""
        return math.prod(self.shapes["quantiles"])

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of quantiles without its last axis."""
        return self.shapes["quantiles"][:-1]

    def _next_step(self, count: int) -> str:
        """Return what to do where the last axis is not that of the levels."""
        if count in self.shapes["quantiles"]:
            return (
                "Put that axis last: --param quantiles=transpose(OUTPUT) exchanges the "
                "last two"
            )
        return "Give one level for each quantile"

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return quantiles [N, *event, Q] as φ [N, Q n], level by level."""
        quantiles = values["quantiles"].to(torch.float64)
        return quantiles.movedim(-1, 1).flatten(1)

    def unpack(self, phi: Tensor) -> dict[str, Tensor]:
        """Return quantiles [..., *event, Q]."""
        shape = (*phi.shape[:-1], len(self.levels), *self.event_shape)
        levels = phi.reshape(shape)
        return {"quantiles": levels.movedim(-1 - len(self.event_shape), -1)}

    def coordinate_of_each(self) -> Tensor | None:
        """Return the coordinate of each entry of φ, level by level [Q n]."""
        return torch.arange(math.prod(self.event_shape)).repeat(len(self.levels))

    def distribution(self, phi: Tensor) -> td.Distribution:
        """Return a law that can be sampled; it has no density."""
        quantiles = self.unpack(phi)["quantiles"]
        return QuantileLaw(quantiles, self.levels.to(phi), self.interpolation)

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N]: not finite, or quantiles that cross."""
        falls = self.unpack(phi)["quantiles"].diff(dim=-1) < 0
        crossing = falls.flatten(phi.dim() - 1).any(-1)
        return check_finite(phi) | {"quantiles cross": crossing}

    def fisher_root(self, phi: Tensor) -> LinearOperator:
        """Refuse: quantiles alone have no density."""
        raise NoFisher(
            "A quantile head has no Fisher information",
            "It knows quantiles at a few levels, not a density",
            "Audit it with -d quantile",
        )

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Return the Cholesky root of M, the same for every coordinate."""
        root = torch.linalg.cholesky(self.mass().to(phi)).mT
        n = math.prod(self.event_shape)
        return CoordinateBlocks(root.expand(*phi.shape[:-1], n, -1, -1))

    def tail_root(self, phi: Tensor) -> LinearOperator:
        """Return the diagonal root of what the constant tails add to M."""
        tails = torch.zeros_like(self.levels)
        tails[0] += self.levels[0]
        tails[-1] += 1 - self.levels[-1]
        n = math.prod(self.event_shape)
        entries = tails.sqrt().to(phi).repeat_interleave(n)
        return Diagonal(entries.expand(*phi.shape[:-1], -1))

    @property
    def has_density(self) -> bool:
        """False: between and beyond the levels nothing is known of one."""
        return False

    def kl(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return None: there is no density."""
        return None

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return Δqᵀ M Δq [N], exactly."""
        step = (phi - other).reshape(len(phi), len(self.levels), -1)
        return torch.einsum("nic,ij,njc->n", step, self.mass().to(phi), step)

    def mass(self) -> Tensor:
        """Return the mass matrix M [Q, Q]."""
        low, high = self.levels[:1], 1 - self.levels[-1:]
        gaps = self.levels.diff()
        if self.interpolation == "step":
            halves = torch.cat([low, gaps / 2]) + torch.cat([gaps / 2, high])
            return torch.diag(halves)
        thirds = torch.cat([low, gaps / 3]) + torch.cat([gaps / 3, high])
        sides = gaps / 6
        return torch.diag(thirds) + torch.diag(sides, 1) + torch.diag(sides, -1)


class QuantileLaw(OwnLaw):
    """Draws T(u) of an interpolated quantile function, u uniform.

    Shapes: quantiles [*batch, *event, Q]; everything but Q is the batch here.
    """

    def __init__(self, quantiles: Tensor, levels: Tensor, interpolation: str) -> None:
        self.quantiles, self.levels = quantiles, levels
        self.interpolation = interpolation
        super().__init__(quantiles.shape[:1], quantiles.shape[1:-1], moves=True)

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, *batch, *event]."""
        shape = self._extended_shape(shape)
        level = torch.rand(shape, dtype=self.levels.dtype, device=self.levels.device)
        return self.icdf(level)

    def icdf(self, level: Tensor) -> Tensor:
        """Return T [..., *batch, *event] at levels of that shape."""
        quantiles = self.quantiles.expand(*level.shape, -1)
        if self.interpolation == "step":
            middles = (self.levels[1:] + self.levels[:-1]) / 2
            index = torch.searchsorted(middles, level.contiguous()).unsqueeze(-1)
            return quantiles.gather(-1, index).squeeze(-1)
        index = torch.searchsorted(self.levels, level.contiguous()) - 1
        index = index.clamp_min(0)
        after = (index + 1).clamp_max(len(self.levels) - 1)
        gap = (self.levels[after] - self.levels[index]).clamp_min(1e-300)
        share = ((level - self.levels[index]) / gap).clamp(0, 1)
        low, high = (quantiles.gather(-1, i.unsqueeze(-1)) for i in (index, after))
        return torch.lerp(low.squeeze(-1), high.squeeze(-1), share)
