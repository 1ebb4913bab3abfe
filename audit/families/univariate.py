"""Products of n independent one-dimensional laws.

Everything adds up over coordinates: divergences are sums, metric tensors are block
diagonal. A family states its formulas for one coordinate and never sees the product.
It states a root B of each tensor, not the tensor BᵀB, whose entries are squares and
overflow for scales beyond 1e±154.

φ [N, q·n] is laid out parameter by parameter: (loc₁ … loc_n, scale₁ … scale_n). What a
formula receives is the tuple of its q parameters, each [..., n], and what it returns
is [..., n] (a number) or [..., n, r, q] (a root).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from audit.families.integrands import JENSEN_SHANNON, RELATIVE_ENTROPY, Integrand, Renyi
from audit.families.interface import Family
from audit.families.parameters import Shapes, check_finite
from audit.families.roots import coordinate_root
from audit.ground.errors import ConfigError
from audit.linalg.stored import LinearOperator

Parameters = tuple[Tensor, ...]


def broadcast(name: str, shapes: Shapes) -> tuple[int, ...]:
    """Return the event shape of parameters.

    Raises:
        ConfigError: they do not broadcast to one.
    """
    try:
        return tuple(np.broadcast_shapes(*shapes.values()))
    except ValueError as error:
        given = ", ".join(f"{k} {v}" for k, v in shapes.items())
        raise ConfigError(
            f"The parameters of {name} have the shapes {given}",
            "They must broadcast to one event shape",
            "Slice the outputs so that all have the same last axis, or size 1",
        ) from error


class Univariate(Family):
    """Independent coordinates; the parameters' shapes broadcast to the event's."""

    positive: ClassVar[tuple[str, ...]] = ()
    not_negative: ClassVar[tuple[str, ...]] = ()
    least_index: ClassVar[float] = 2.0  # no second moment is known up to this index

    def __init__(self, shapes: Shapes, **options: object) -> None:
        super().__init__(shapes, **options)
        self._event_shape = broadcast(self.name, self.shapes)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape all parameters broadcast to."""
        return self._event_shape

    @property
    def coordinates(self) -> int:
        """The number of one-dimensional laws n."""
        return math.prod(self.event_shape)

    @property
    def size(self) -> int:
        """The number of parameters p = q n."""
        return len(self.parameters) * self.coordinates

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Flatten parameters [N, *shape] into φ [N, q n], parameter by parameter."""
        return torch.cat([self._flat(values[name]) for name in self.parameters], -1)

    def unpack(self, phi: Tensor) -> dict[str, Tensor]:
        """Return the parameters [..., *event_shape] of φ."""
        shape = (*phi.shape[:-1], *self.event_shape)
        values = (value.reshape(shape) for value in self.split(phi))
        return dict(zip(self.parameters, values, strict=True))

    def coordinate_of_each(self) -> Tensor | None:
        """Return the coordinate of each entry of φ, parameter by parameter [q n]."""
        return torch.arange(self.coordinates).repeat(len(self.parameters))

    def split(self, phi: Tensor) -> Parameters:
        """Return the parameters [..., n] of φ [..., q n]."""
        return phi.chunk(len(self.parameters), dim=-1)

    def rows(self, phi: Tensor) -> Tensor:
        """Return the parameters [N n, q] of every coordinate of every input."""
        return torch.stack(self.split(phi), dim=-1).reshape(-1, len(self.parameters))

    def distribution(self, phi: Tensor) -> Distribution:
        """Return q_φ: batch shape [N], event shape `event_shape`."""
        law = self.law(tuple(self.unpack(phi).values()))
        return Independent(law, len(self.event_shape), validate_args=False)

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N]: not finite, or of a sign that it must not have."""
        found = check_finite(phi)
        for name, value in zip(self.parameters, self.split(phi), strict=True):
            if name in self.positive:
                found[f"{name} is not positive"] = (value <= 0).any(-1)
            if name in self.not_negative:
                found[f"{name} is negative"] = (value < 0).any(-1)
        return found

    def fisher_root(self, phi: Tensor) -> LinearOperator | None:
        """Return the root of one block for each coordinate."""
        return coordinate_root(self.fisher_block(self.split(phi)))

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Return the root of one block for each coordinate."""
        return coordinate_root(self.transport_block(self.split(phi)))

    def transport_caveat(self, phi: Tensor) -> dict[str, Tensor]:
        """Return reason -> bool [N], true where no second moment is known."""
        index = self.tail_index(self.split(phi))
        if index is None:
            return {}
        reason = f"the variance of {self.name} is infinite"
        if self.least_index > 2:
            reason += f", or its tail index is below {self.least_index}"
        return {reason: (index <= self.least_index).any(-1)}

    def kl(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the sum of the coordinates' divergences [N], in nats."""
        return self.relative_entropy(self.split(phi), self.split(other)).sum(-1)

    def kl_slope(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return ∂KL(q_φ ‖ q_other)/∂other [N, p]; None where autograd takes it."""
        found = self.relative_entropy_slope(self.split(phi), self.split(other))
        return None if found is None else torch.cat(found, dim=-1)

    def renyi(self, phi: Tensor, other: Tensor, alpha: float) -> Tensor | None:
        """Return the sum of the coordinates' Rényi divergences [N]."""
        return self.renyi_divergence(self.split(phi), self.split(other), alpha).sum(-1)

    # one coordinate

    @abstractmethod
    def law(self, parameters: Parameters) -> Distribution:
        """Return the one-dimensional law, batched like its parameters."""

    @abstractmethod
    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return B [..., r, q] with Bᵀ B the Fisher information."""

    @abstractmethod
    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return B [..., r, q] with Bᵀ B = E[∂T ∂Tᵀ] of the increasing map T."""

    @abstractmethod
    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return KL(left ‖ right) [...], in nats."""

    def relative_entropy_slope(
        self, left: Parameters, right: Parameters
    ) -> Parameters | None:
        """Return its slopes [...] by the parameters on the right; None: by autograd."""
        return None

    @abstractmethod
    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return the Rényi divergence of order α [...]."""

    def tail_index(self, parameters: Parameters) -> Tensor | None:
        """Return the order [...] from which moments are infinite; None for never."""
        return None

    def _flat(self, value: Tensor) -> Tensor:
        """Broadcast [N, *shape] to [N, n]."""
        missing = len(self.event_shape) + 1 - value.dim()
        aligned = value.to(torch.float64).reshape(
            value.shape[0], *(1,) * missing, *value.shape[1:]
        )
        return aligned.expand(-1, *self.event_shape).reshape(value.shape[0], -1)


class IntegratedCoordinates(Univariate):
    """Independent coordinates with one sum, or one integral, for every divergence."""

    @abstractmethod
    def _divergence(
        self, left: Parameters, right: Parameters, integrand: Integrand
    ) -> Tensor:
        """Return the divergence [...] of an integrand."""

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return KL(left ‖ right) [...], in nats."""
        return self._divergence(left, right, RELATIVE_ENTROPY)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return the Rényi divergence of order α [...]."""
        return self._divergence(left, right, Renyi(alpha))

    def jensen_shannon(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the Jensen-Shannon divergence [N] for one coordinate, else None."""
        if self.coordinates != 1:
            return None
        pair = self.split(phi), self.split(other)
        return self._divergence(*pair, JENSEN_SHANNON).squeeze(-1)
