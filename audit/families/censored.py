"""A law clipped to its limits: what lies beyond one is an atom there (`limited`)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.interface import Shapes
from audit.families.limited import Limited
from audit.families.torch_laws import OwnLaw
from audit.families.univariate import Parameters
from audit.nodes.panels import Panels
from audit.nodes.survey import Survey, panels_of, survey


class Censored(Limited):
    """Coordinates of a component, those beyond a limit seen at the limit."""

    def __init__(self, component: str, shapes: Shapes, **options: object) -> None:
        super().__init__("censored", component, shapes, **options)

    def masses(self, rows: Tensor, log_density: Tensor, panels: Panels) -> Tensor:
        """Return those of the nodes, and of the two atoms."""
        every = panels_of(survey(self.line, rows.detach()))
        atoms = self.beyond(rows, every, lambda part, mass: mass.sum(-1))
        inside = log_density + panels.weights.log()
        return torch.cat([inside, torch.stack([*atoms.values()], -1).log()], dim=-1)

    def information(self, rows: Tensor, surveyed: Survey) -> Tensor:
        """Return ∫ s sᵀ f + ∂C ∂Cᵀ/C + ∂S ∂Sᵀ/S [M, q, q]."""
        every = panels_of(surveyed)
        panels = self.between(every, *self.ends())
        mass = (
            panels.weights
            * self.line.log_density(panels.nodes, rows.unsqueeze(1)).exp()
        )
        score = self.line.score(panels.nodes, rows)
        found = torch.einsum("mk,mki,mkj->mij", mass, score, score)

        def atom(part: Panels, mass: Tensor) -> Tensor:
            total = mass.sum(-1)
            slope = torch.einsum("mk,mki->mi", mass, self.line.score(part.nodes, rows))
            side = slope / torch.where(total > 0, total, 1.0).sqrt().unsqueeze(-1)
            return side.unsqueeze(-1) * side.unsqueeze(-2)

        for each in self.beyond(rows, every, atom).values():
            found = found + each
        return found

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the clipped law of one coordinate."""
        return Clipped(self, parameters)


class Clipped(OwnLaw):
    """Draws of a component, clipped; atoms at the limits."""

    def __init__(self, family: Censored, parameters: Parameters) -> None:
        self.family, self.own = family, parameters
        self.inner = family.line.law(parameters)
        super().__init__(parameters[0].shape)

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, *batch]."""
        drawn: Tensor = self.inner.sample(shape)
        return drawn.clamp(self.family.low, self.family.high)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density, and the log probability of an atom at a limit."""
        family, shape = self.family, self.own[0].shape
        rows = torch.stack(self.own, dim=-1).reshape(-1, len(self.own))
        every = panels_of(survey(family.line, rows.detach()))
        atoms = family.beyond(rows, every, lambda _, mass: mass.sum(-1))
        none = torch.full_like(self.own[0], -torch.inf)
        low, high = (
            atoms[side].log().reshape(shape) if side in atoms else none
            for side in ("low", "high")
        )
        below, above = value <= family.low, value >= family.high
        beyond = below | above
        middle = self.inner.sample() if not bool((~beyond).any()) else value[~beyond][0]
        inside = self.inner.log_prob(torch.where(beyond, middle.reshape(-1)[0], value))
        return torch.where(below, low, torch.where(above, high, inside))
