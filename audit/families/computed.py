"""What a file computes of its law: log q(θ; φ), a map θ = T(φ, z), and derivatives.

Shapes: S nodes, N inputs, n coordinates of θ, m numbers of noise, p parameters and c
numbers of context.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from audit.families.givers import Base, Nodes, Source, interleaved
from audit.families.interface import Family
from audit.families.pieces import MORE, ROWS, SCORED, gradient, pieces
from audit.ground.errors import ConfigError, NoFisher, NoTransport
from audit.linalg.stored import LinearOperator
from audit.nodes.noise import Noise
from audit.nodes.space import TargetSpace

LogDensity = Callable[[Tensor, Tensor], Tensor]  # θ [R, n], φ [R, p + c] -> [R]
Slopes = Callable[[Tensor, Tensor], Tensor]  # z, φ -> ∂T/∂φ [R, n, p]
Transport = Callable[[Tensor, Tensor], Tensor]  # z [R, m], φ [R, p + c] -> θ [R, n]
MANY = 2**14  # weighted nodes of an input above which no scores are kept
_MISSED = 1e-3  # of a law that is drawn or counted: what its nodes may lack


class ComputedFamily(Family):
    """The functions that a file gives, indexed by φ.

    Args:
        size: p, without the context.
        space: where θ lives.
        log_density: log q(θ; φ) in nats, None where the file has none.
        transport: T(φ, z), None where the file has none.
        base: the law of z, where there is a T.
        source: of θ ~ q(·; φ), where there is a density.
        transport_name: what T is called.
        unnormalised: whether log q is known up to a number that may depend on x.
    """

    parameterizations: ClassVar[tuple[tuple[str, ...], ...]] = (("phi",),)
    parametric = False

    def __init__(
        self,
        size: int,
        space: TargetSpace,
        log_density: LogDensity | None,
        transport: Transport | None,
        base: Base | None,
        source: Source | None,
        transport_name: str = "the file's own map",
        unnormalised: bool = False,
    ) -> None:
        super().__init__({"phi": (size,)})
        self.space, self.n = space, space.n
        self.log_density, self.transport = log_density, transport
        self.base, self.source = base, source
        self.follows = source is None or source.follows
        self.transport_name, self.unnormalised = transport_name, unnormalised
        self.slopes: Slopes | None = None

    @property
    def size(self) -> int:
        """The number p of columns of a metric tensor."""
        return self.shapes["phi"][0]

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(n,)."""
        return (self.n,)

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return φ."""
        return values["phi"]

    def unpack(self, phi: Tensor) -> dict[str, Tensor]:
        """Return φ by its only name."""
        return {"phi": phi}

    def distribution(self, phi: Tensor) -> Distribution:
        """Refuse: the law is a function, not one of torch's."""
        raise NotImplementedError

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return what φ alone tells: the conditioning network overflowed."""
        return {"a conditioning tensor is not finite": ~torch.isfinite(phi).all(dim=-1)}

    def kl(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return None: only draws can tell."""
        return None

    def wasserstein_root(self, phi: Tensor) -> LinearOperator:
        """Refuse: T need not be the optimal map.

        Raises:
            NoTransport: always.
        """
        raise NoTransport(
            "W₂² was asked for of a law that is known by a file's own map",
            "Its metric tensor needs the optimal map, which the file does not give",
            "Audit the quantile distance of the file's map, -d quantile",
        )

    # what the file computes

    def with_slopes(self, slopes: Slopes) -> Self:
        """Return the same law with all rows of ∂T/∂φ from one sweep."""
        found = copy(self)
        found.slopes = slopes
        return found

    def density(self) -> LogDensity:
        """Return log q.

        Raises:
            NoFisher: the file has none.
        """
        if self.log_density is None:
            raise NoFisher(
                "The file is a sampler θ = T(x, z) and has no log-density"
                + self._singular(),
                "KL and the other f-divergences need log q(θ|x)",
                "Audit the quantile distance, -d quantile, or export log q(θ|x)",
            )
        return self.log_density

    def _singular(self) -> str:
        m = getattr(self.base, "size", self.n)
        if m >= self.n:
            return ""
        return (
            f"; none exists, since {m} numbers of noise fill no volume among {self.n}"
        )

    def map(self) -> tuple[Transport, Base]:
        """Return T and the law of its noise.

        Raises:
            NoTransport: the file has none.
        """
        if self.transport is None or self.base is None:
            raise NoTransport(
                "The file has a log-density but no sampler θ = T(x, z)",
                "The quantile distance needs a differentiable map from noise to draws",
                "Pass --sampler FILE, or audit it with -d kl",
            )
        return self.transport, self.base

    def nodes(self, phi: Tensor, noise: Noise) -> Nodes:
        """Return θ at φ [N, p + c], with their weights."""
        assert self.source is not None
        return self.source.nodes(phi, noise)

    def log_likelihood(self, theta: Tensor, phi: Tensor) -> Tensor:
        """Return log q [S, N] at θ [S, N, n]; −∞ where the file gives no number.

        Raises:
            NoFisher: the file has no density.
            ConfigError: log q is known up to a number that may depend on x.
        """
        if self.unnormalised:
            raise ConfigError(
                "--target-key asks for a likelihood, and --unnormalised was given",
                "log q(θ|x) up to a number that depends on x is no log-likelihood",
                "Leave --target-key out, or export a normalised density",
            )
        value = self.log_prob(theta, phi)
        return torch.where(value.isnan(), -torch.inf, value)

    @property
    def sums_scores(self) -> bool:
        """Whether nodes are so many that their scores are summed and not kept."""
        source = self.source
        return source is not None and source.weighted and source.count(0) > MANY

    @property
    def has_density(self) -> bool:
        """Whether the file computes a normalised density, of continuous θ alone."""
        known = self.log_density is not None and not self.unnormalised
        return known and len(self.space.continuous) == self.n

    def drawn(self, phi: Tensor, noise: Noise) -> Nodes:
        """Return θ at φ [N, p + c]: of the source, or of the map where that is all.

        Raises:
            ConfigError: draws are given in the data, and do not move with x.
        """
        source = self.source
        if source is None and self.base is not None:
            points = self.base.points(noise)
            return Nodes(self.push(points.values, phi), unit=points.unit)
        if source is None or (source.fixed and not source.weighted):
            raise ConfigError(
                "Coverage under attack was asked for of draws that the data bring",
                "They belong to the data's own x, and not to x + δ",
                "Pass --sampler FILE, or leave --target-key out",
            )
        return self._beside(phi, noise) or self.nodes(phi, noise)

    def _beside(self, phi: Tensor, noise: Noise) -> Nodes | None:
        """Return nodes of laws of which some are of one input, moved; None elsewhere.

        Where nodes are very many, only the first of an input is searched for, and the
        others where it lives. None where less than all but `_MISSED` of one is there.
        """
        _, places, owner = np.unique(
            noise.index, return_index=True, return_inverse=True
        )
        if not self.sums_scores or self.unnormalised or len(places) == len(phi):
            return None
        first = torch.from_numpy(places).to(phi.device)
        own = self.nodes(phi[first], noise.of(noise.index[places]))
        if own.beside is None:
            return None
        near = own.beside(torch.from_numpy(owner).to(phi.device), phi)
        whole = (near.checks["normalisation"] - 1).abs() <= _MISSED
        return interleaved(own, near, first) if bool(whole.all()) else None

    def log_prob(self, targets: Tensor, phi: Tensor) -> Tensor:
        """Return log q [S, N] at θ [S, N, n] for φ [N, p + c]."""
        log_density = self.density()
        with torch.no_grad():
            parts = [log_density(*rows) for rows in pieces(targets, phi, MORE)]
        return torch.cat(parts).reshape(targets.shape[:2])

    def push(self, z: Tensor, phi: Tensor) -> Tensor:
        """Return T(φ, z) [S, N, n] for z [S, N, m]."""
        transport, _ = self.map()
        with torch.no_grad():
            parts = [transport(*rows) for rows in pieces(z, phi, MORE)]
        return torch.cat(parts).reshape(*z.shape[:2], self.n)

    def scores(self, targets: Tensor, phi: Tensor, rows: int = SCORED) -> Tensor:
        """Return ∇_φ log q [S, N, p] at θ [S, N, n]; the context is left out.

        As many rows as said are seen at once.

        Raises:
            NotDifferentiable: log q does not depend on φ by differentiable operators.
        """
        log_density = self.density()
        parts = []
        for theta, own in pieces(targets, phi, rows):
            leaf = own.requires_grad_()
            parts.append(gradient(log_density(theta, leaf), leaf, "log q(θ|x)"))
        found = torch.cat(parts).reshape(*targets.shape[:2], -1)
        return found[..., : self.size]

    def jacobians(self, z: Tensor, phi: Tensor) -> Tensor:
        """Return ∂T/∂φ [S, N, n, p] at z [S, N, m].

        In float64, or in the type of the file's network where it is swept.

        Raises:
            NotDifferentiable: T does not depend on φ by differentiable operators.
        """
        transport, _ = self.map()
        if self.slopes is not None:
            return self._swept(self.slopes, z, phi)
        parts = []
        for noise, rows in pieces(z, phi):
            leaf = rows.requires_grad_()
            moved = transport(noise, leaf)
            gradients = [
                gradient(moved[:, j], leaf, "T(x, z)", j < self.n - 1)
                for j in range(self.n)
            ]
            parts.append(torch.stack(gradients, dim=1)[..., : self.size])
        return torch.cat(parts).reshape(*z.shape[:2], self.n, self.size)

    def _swept(self, slopes: Slopes, z: Tensor, phi: Tensor) -> Tensor:
        """Return the Jacobians by a sweep, the draws of an input beside each other."""
        draws, n = z.shape[:2]
        flat = z.transpose(0, 1).flatten(0, 1)
        owner = torch.arange(n, device=phi.device).repeat_interleave(draws)
        parts = [
            slopes(flat[at : at + ROWS], phi.detach()[owner[at : at + ROWS]])
            for at in range(0, len(flat), ROWS)
        ]
        found = parts[0] if len(parts) == 1 else torch.cat(parts)
        return found.reshape(n, draws, self.n, self.size).transpose(0, 1)
