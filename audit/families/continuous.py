"""Continuous one-dimensional laws: what the quadrature gives where no formula does.

A family is a chart of its support, the place of its bulk and, where it has one, a
closed form for each tensor and divergence. Whatever it does not state is integrated.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from audit.families import quadrature
from audit.families.affine import Affine
from audit.families.integrands import Integrand
from audit.families.quantile_distance import quantile_distance
from audit.families.roots import semidefinite_root
from audit.families.univariate import IntegratedCoordinates, Parameters
from audit.ground.errors import NoTransport
from audit.nodes.lines import REAL, Chart, Line

STAND_IN = 4.0  # a value that every parameter may have
HEAVY = 0.1  # a tail x^-(2 + this) holds 1e-20 of the variance beyond 1e200


class Continuous(IntegratedCoordinates):
    """Independent coordinates with densities: a `Line`, and its closed forms."""

    chart: ClassVar[Chart] = REAL
    limit: ClassVar[float] = math.inf
    mixes: ClassVar[bool] = True  # whether x(y) is the same for all members
    location: ClassVar[str] = ""  # the parameter that shifts θ, if there is one
    under_affine: ClassVar[Mapping[str, Affine]] = {}
    """Parameter -> how it moves with a + b θ; empty if no such law is in the family."""

    # a line, for the quadrature

    @abstractmethod
    def bulk_of(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return the centre and the width [...] of the density in the chart."""

    def bulk(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the one centre and width [M, 1] of each law."""
        center, width = self.bulk_of(rows.unbind(-1))
        return center.unsqueeze(-1), width.unsqueeze(-1)

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return the log density [M, K] in the chart at y [M, K]."""
        log_prob = self.law(rows.unbind(-1)).log_prob(self.chart.point(y))
        return log_prob + self.chart.log_slope(y)

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return ∂ log density / ∂φ [M, K, q] at y [M, K]."""
        return quadrature.automatic_score(self, y, rows)

    # one coordinate

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root of the Fisher information [..., q, q] by quadrature."""
        rows, shape = _rows(parameters)
        tensor = _shaped(quadrature.fisher_information(self, rows), shape)
        return semidefinite_root(tensor)

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return the root [..., q, q] by quadrature; infinite without variance."""
        rows, shape = _rows(self.resolvable(parameters))
        tensor = _shaped(quadrature.transport_tensor(self, rows), shape)
        return self.unless_infinite(parameters, semidefinite_root(tensor))

    def squared_distance(self, left: Parameters, right: Parameters) -> Tensor:
        """Return E(T − T')² [...] by quadrature over one law's levels.

        NaN where it hangs on a tail that is too heavy for that. The first law is the
        one with the heavier tail.
        """
        left, right = self._heavier_first(left, right)
        unit, *pair = self.rescaled(self.resolvable(left), self.resolvable(right))
        (rows, shape), (others, _) = map(_rows, pair)
        distance = _shaped(quantile_distance(self, rows, others), shape)
        distance = (unit * distance.sqrt()).square()
        for index in (self.tail_index(left), self.tail_index(right)):
            if index is not None:
                distance = distance.masked_fill(index < 2 + HEAVY, torch.nan)
        return distance

    def _heavier_first(
        self, left: Parameters, right: Parameters
    ) -> tuple[Parameters, Parameters]:
        ours, theirs = self.tail_index(left), self.tail_index(right)
        if ours is None or theirs is None:
            return left, right
        swap, pairs = theirs < ours, list(zip(left, right, strict=True))
        heavier = tuple(torch.where(swap, b, a) for a, b in pairs)
        return heavier, tuple(torch.where(swap, a, b) for a, b in pairs)

    def rescaled(
        self, left: Parameters, right: Parameters
    ) -> tuple[Tensor, Parameters, Parameters]:
        """Return a unit of θ [...] and the laws in it: θ² may be more than numbers."""
        return torch.ones_like(left[0]), left, right

    def comparable(
        self, left: Parameters, right: Parameters
    ) -> tuple[Line, Parameters, Parameters]:
        """Return a line and two laws on it with the same divergences.

        Divergences do not change with a coordinate of θ that both laws share, so a
        family may take one in which the numbers are near one.
        """
        return self, left, right

    def exponential_index(self, parameters: Parameters) -> Tensor | None:
        """Return the order k [...] from which E e^{kθ} is infinite; None for never.

        Raises:
            NoTransport: the family does not say.
        """
        raise NoTransport(
            f"The family {self.name} does not say which moments e^y has",
            "Distances between laws of e^y are known where two of them are finite",
            "Audit it with -d kl",
        )

    # the whole product

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return E‖T − T'‖² [N]; infinite where a law has no variance.

        Laws that are only shifted keep their distance, whatever their tails.
        """
        left, right = self.split(phi), self.split(other)
        distance = self.squared_distance(left, right)
        for parameters in (left, right):
            index = self.tail_index(parameters)
            if index is not None:
                distance = distance.masked_fill(index <= 2, torch.inf)
        shift, alike = torch.zeros_like(distance), torch.ones_like(distance).bool()
        for name, ours, theirs in zip(self.parameters, left, right, strict=True):
            if name == self.location:
                shift = (ours - theirs).square()
            else:
                alike &= ours == theirs
        return torch.where(alike, shift, distance).sum(-1)

    def unless_infinite(self, parameters: Parameters, block: Tensor) -> Tensor:
        """Return the root [..., q, q], infinite where the variance is.

        A location moves the law as a whole: its own entry is 1, whatever the tails. The
        others are NaN where the variance is finite and not known (`least_index`).
        """
        index = self.tail_index(parameters)
        if index is None:
            return block
        value = torch.where(index <= 2, torch.inf, torch.nan).unsqueeze(-1)
        shifts = torch.tensor([n == self.location for n in self.parameters])
        wild = torch.diag_embed(torch.where(shifts.to(index.device), 1.0, value))
        unknown = (index <= self.least_index)[..., None, None]
        return torch.where(unknown, wild, block)

    def resolvable(self, parameters: Parameters) -> Parameters:
        """Return the parameters, with some other law where the variance is unknown.

        Its tails would cost thousands of panels, for an answer that is not used.
        """
        index = self.tail_index(parameters)
        if index is None:
            return parameters
        unknown = index <= self.least_index
        return tuple(value.masked_fill(unknown, STAND_IN) for value in parameters)

    def _divergence(
        self, left: Parameters, right: Parameters, integrand: Integrand
    ) -> Tensor:
        line, *pair = self.comparable(left, right)
        (rows, shape), (others, _) = map(_rows, pair)
        return _shaped(quadrature.divergence(line, rows, others, integrand), shape)


def _rows(parameters: Parameters) -> tuple[Tensor, tuple[int, ...]]:
    """Return the parameters as rows [M, q], and the shape that M had."""
    stacked = torch.stack(parameters, dim=-1)
    return stacked.reshape(-1, stacked.shape[-1]), tuple(stacked.shape[:-1])


def _shaped(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return values [M, ...] with M unfolded to `shape`."""
    return values.reshape(*shape, *values.shape[1:])
