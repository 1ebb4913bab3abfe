"""Evidential regression: the predictive law of a normal-inverse-gamma posterior.

    μ ~ N(γ, σ²/ν),  σ² ~ InverseGamma(α, β):     y ~ Student-t with 2α degrees of
    freedom, location γ and scale √(β(1+ν)/(να))

Every tensor is that of the Student-t, pulled back through this map; four parameters
move three, so one direction costs nothing.

Source: Amini, Schwarting, Soleimany & Rus, NeurIPS (2020), equation 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from audit.families.roles import Role
from audit.families.roots import rows
from audit.families.student import StudentT
from audit.families.univariate import Parameters, Univariate


class Evidential(Univariate):
    """Coordinates by `loc` γ, `nu` ν, `alpha` α and `beta` β.

    Density: Student-t with 2α degrees of freedom, location γ and scale √(β(1 +
    ν)/(να)).

    Fisher information: Sᵀ F S, F that of the Student-t, S the derivatives of its three
    parameters by these four.
    """

    parameterizations = (("loc", "nu", "alpha", "beta"),)
    positive: ClassVar[tuple[str, ...]] = ("nu", "alpha", "beta")
    roles: ClassVar[Mapping[str, Role]] = {"nu": Role.SCALE, "beta": Role.SCALE}
    least_index = StudentT.least_index

    @property
    def student(self) -> StudentT:
        """The Student-t law of the same coordinates."""
        shape = self.event_shape
        return StudentT({"df": shape, "loc": shape, "scale": shape})

    def predictive(self, parameters: Parameters) -> Parameters:
        """Return df, location and scale [...]."""
        loc, nu, alpha, beta = parameters
        return 2 * alpha, loc, (beta / alpha * (1 + 1 / nu)).sqrt()

    def slopes(self, parameters: Parameters) -> Tensor:
        """Return ∂(df, loc, scale) / ∂(γ, ν, α, β) [..., 3, 4]."""
        _, nu, alpha, beta = parameters
        scale = self.predictive(parameters)[2]
        none, one = torch.zeros_like(scale), torch.ones_like(scale)
        return rows(
            (none, none, 2 * one, none),
            (one, none, none, none),
            (
                none,
                -scale / (2 * nu * (1 + nu)),
                -scale / (2 * alpha),
                scale / (2 * beta),
            ),
        )

    def law(self, parameters: Parameters) -> Distribution:
        """Return the Student-t law."""
        return self.student.law(self.predictive(parameters))

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the Student-t's root, pulled back."""
        root = self.student.fisher_block(self.predictive(parameters))
        return root @ self.slopes(parameters)

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Return the Student-t's root, pulled back; infinite where that is."""
        student = self.predictive(parameters)
        unknown = (self.tail_index(parameters) <= self.least_index)[..., None, None]
        root = torch.where(unknown, 0.0, self.student.transport_block(student))
        block = torch.nn.functional.pad(root @ self.slopes(parameters), (0, 0, 0, 1))
        wild = torch.where(self.tail_index(parameters) <= 2, torch.inf, torch.nan)
        edge = torch.diag_embed(
            torch.stack([torch.ones_like(wild), wild, wild, wild], -1)
        )
        return torch.where(unknown, edge, block)

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return the Student-t's."""
        pair = self.predictive(left), self.predictive(right)
        return self.student.relative_entropy(*pair)

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return the Student-t's."""
        pair = self.predictive(left), self.predictive(right)
        return self.student.renyi_divergence(*pair, alpha)

    def jensen_shannon(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the Student-t's [N] for one coordinate, else None."""
        return self.student.jensen_shannon(self._mapped(phi), self._mapped(other))

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return the Student-t's [N]."""
        return self.student.transport_distance(self._mapped(phi), self._mapped(other))

    def tail_index(self, parameters: Parameters) -> Tensor:
        """Return 2α."""
        return 2 * parameters[2]

    def _mapped(self, phi: Tensor) -> Tensor:
        return torch.cat(self.predictive(self.split(phi)), dim=-1)
