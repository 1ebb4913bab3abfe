"""What a law is asked: which metric tensor, at what cost, estimated how."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from torch import Tensor
from torch.distributions import Distribution

from audit.ground.errors import ConfigError

Pointwise = Callable[[Tensor], Tensor]


class Tensors(Enum):
    """Which metric tensor a divergence has."""

    FISHER = "fisher"
    TRANSPORT = "transport"
    WASSERSTEIN = "wasserstein"
    OTHER = "other"
    """One that laws do not know: the divergence brings its root."""

    @classmethod
    def unknown(cls, tensor: object) -> ConfigError:
        """Return the error of a metric tensor that laws do not know."""
        known = (str(one) for one in cls if one is not cls.OTHER)
        return ConfigError(
            f"A law was asked for the metric tensor {tensor!r}",
            f"Expected one of {', '.join(known)}",
            "Give the divergence the root of its own tensor",
        )


@dataclass(frozen=True)
class RowCost:
    """What the answers about one input take.

    Args:
        rows: derivatives that are kept at once; 0 where roots are in closed form.
        pulled: rows that are pulled back, each by itself; ∞ where none is.
        fixed: whether more draws than there are cannot be had.
    """

    rows: int = 0
    pulled: float = math.inf
    fixed: bool = False


@dataclass(frozen=True)
class Estimation:
    """How a tensor was found.

    Args:
        kind: "closed_form", "quadrature" or "monte_carlo".
        draws: how many, for one input; None where there are none.
        notes: sentences for the report.
    """

    kind: str
    draws: int | None = None
    notes: tuple[str, ...] = ()


class Comparable(Protocol):
    """A divergence, as a law sees it that computes its exact values."""

    @property
    def name(self) -> str:
        """As the user wrote it."""

    @property
    def tensor(self) -> Tensors:
        """Its metric tensor."""

    @property
    def exact(self) -> Callable[[Any, Tensor, Tensor], Tensor | None]:
        """Return (law, φ, φ') -> D [N], None where it is not known."""

    @property
    def pointwise(self) -> Pointwise | None:
        """Log t -> g(t) with D = E_q[g(q'/q)]; None where D is no such mean."""

    @property
    def exchanged(self) -> Pointwise | None:
        """Log t -> g(t) with D = E_q'[g(q/q')]; None where q tells as much."""

    @property
    def supremum(self) -> float:
        """D is at most this; ∞ where it has no bound."""


class Drawn(Protocol):
    """A law that torch can draw from."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one θ."""

    def distribution(self, phi: Tensor) -> Distribution:
        """Return q_φ: batch shape [N]."""
