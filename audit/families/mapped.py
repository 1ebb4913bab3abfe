"""The law of θ = g(y) for a law of y on the line and a fixed increasing g.

A bijection of θ that does not move leaves what two laws can be told apart by: with
f(y) the density of y, that of θ is f(y) / g'(y), and in every ratio of two of them g'
cancels,

    ∫ h(q_θ/q'_θ) q_θ dθ = ∫ h(f/f') f dy,     ∂ ln q_θ / ∂φ = ∂ ln f / ∂φ at fixed θ,

so divergences, Fisher information and its root are those of y. Distances are not: a
level's quantile is g(q), and moves by g'(q) ∂q,

    G = ∫ g'(q)² ∂q ∂qᵀ du,      E(T − T')² = ∫ (g(q) − g(q'))² du.

A `Line` is already a density in a chart, so that of θ has the same density of y and g
for a chart: `quadrature` gives G. For g = e^y and y = μ + s z all of it is in units of
e^μ, and is finite where E e^{2sz} is.

Sources: Cover & Thomas, Elements of Information Theory (2006), section 8.6 for the
invariance; Johnson, Andrews & Kotz (logit-normal), Biometrika 36 (1949), 149-176.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor
from torch import distributions as td
from torch.distributions import constraints

from audit.families.continuous import Continuous
from audit.families.torch_laws import OwnLaw
from audit.families.univariate import Parameters
from audit.nodes.lines import POSITIVE, UNIT, Chart, Line

CHARTS: Mapping[str, Chart] = {"log": POSITIVE, "logit": UNIT}
HOW = {"log": "e^y", "logit": "1 / (1 + e^-y)"}
KNOWN = 2.1  # a tail x^-k with k nearer to 2 takes more panels than there are


class Mapped(Continuous):
    """Independent coordinates θ, of which log or logit is `inner`'s.

    Args:
        inner: laws on the line.
        of: `log` or `logit`, the coordinate y of θ whose laws they are.
    """

    least_index = KNOWN

    def __init__(self, inner: Continuous, of: str) -> None:
        self.inner, self.of = inner, of
        self.parameters, self.shapes = inner.parameters, inner.shapes
        self.settings = inner.settings
        self._event_shape = inner.event_shape
        self.chart = CHARTS[of]  # type: ignore[misc]  # the chart of this law alone

    @property
    def name(self) -> str:
        """The component's name, and of what it is the law."""
        return f"{self.inner.name} of {self.of}"

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the law of one coordinate."""
        return Image(self.inner.law(parameters), self.of)

    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return that of y."""
        return self.inner.bulk_of(parameters)

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return that of y."""
        return self.inner.log_density(y, rows)

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return that of y."""
        return self.inner.score(y, rows)

    def comparable(
        self, left: Parameters, right: Parameters
    ) -> tuple[Line, Parameters, Parameters]:
        """Return the line of y."""
        return self.inner.comparable(left, right)

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return that of y."""
        return self.inner.fisher_block(parameters)

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return that of y."""
        return self.inner.relative_entropy(left, right)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return that of y."""
        return self.inner.renyi_divergence(left, right, alpha)

    def jensen_shannon(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return that of y."""
        return self.inner.jensen_shannon(phi, other)

    def tail_index(self, parameters: Parameters) -> Tensor | None:
        """Return the order from which E θ^k is infinite; None for a bounded θ."""
        if self.of == "logit":
            return None
        return self.inner.exponential_index(parameters)

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return the root of G [..., q, q], in units of e^μ where y has a μ."""
        unit, parameters = self._in_units(parameters)
        return unit[..., None, None] * super().transport_block(parameters)

    def rescaled(
        self, left: Parameters, right: Parameters
    ) -> tuple[Tensor, Parameters, Parameters]:
        """Return e^μ of the larger μ, and the laws in it."""
        place = self._place
        if place is None:
            return super().rescaled(left, right)
        top = torch.maximum(left[place], right[place])
        return top.exp(), self._lower(left, top), self._lower(right, top)

    def resolvable(self, parameters: Parameters) -> Parameters:
        """Return the parameters, with a narrow law where the variance is unknown."""
        index = self.tail_index(parameters)
        if index is None:
            return parameters
        narrow = {"loc": 0.0, "scale": 0.1}
        unknown = index <= self.least_index
        return tuple(
            value.masked_fill(unknown, narrow.get(name, 100.0))
            for name, value in zip(self.parameters, parameters, strict=True)
        )

    @property
    def _place(self) -> int | None:
        """Where the location of ln θ is among the parameters; None if it has none."""
        if self.of == "logit" or self.inner.location not in self.parameters:
            return None
        return self.parameters.index(self.inner.location)

    def _in_units(self, parameters: Parameters) -> tuple[Tensor, Parameters]:
        place = self._place
        if place is None:
            return torch.ones_like(parameters[0]), parameters
        top = parameters[place]
        return top.exp(), self._lower(parameters, top)

    def _lower(self, parameters: Parameters, top: Tensor) -> Parameters:
        return tuple(
            value - top if place == self._place else value
            for place, value in enumerate(parameters)
        )


class Image(OwnLaw):
    """Draws g(y) of a law of y; log q(θ) = ln f(y) − ln g'(y).

    Args:
        inner: the law of y, batch shape [...].
        of: what y is of θ.
    """

    def __init__(self, inner: td.Distribution, of: str) -> None:
        self.inner, self.of = inner, of
        super().__init__(inner.batch_shape, moves=inner.has_rsample)

    @property
    def support(self) -> constraints.Constraint:
        """θ > 0, or θ within (0, 1)."""
        unit = self.of == "logit"
        found = constraints.unit_interval if unit else constraints.positive
        return cast(constraints.Constraint, found)

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, *batch]."""
        return CHARTS[self.of].point(getattr(self.inner, how)(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return ln f(y) − ln g'(y) [...], −∞ where there is no such θ."""
        inside = (value > 0) & ((value < 1) | torch.tensor(self.of == "log"))
        safe = torch.where(inside, value, 0.5)
        y = safe.log() if self.of == "log" else safe.log() - torch.log1p(-safe)
        found = self.inner.log_prob(y) - CHARTS[self.of].log_slope(y)
        return torch.where(inside, found, -torch.inf)
