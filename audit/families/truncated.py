"""A law given that it is between its limits, and rescaled (`limited`)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.interface import Shapes
from audit.families.limited import LEAST, Limited
from audit.families.torch_laws import OwnLaw
from audit.families.univariate import Parameters
from audit.nodes.panels import Panels
from audit.nodes.survey import Survey, panels_of, survey

ROUNDS = 1000


class Truncated(Limited):
    """Coordinates of a component, given that they are between the limits."""

    def __init__(self, component: str, shapes: Shapes, **options: object) -> None:
        super().__init__("truncated", component, shapes, **options)

    def masses(self, rows: Tensor, log_density: Tensor, panels: Panels) -> Tensor:
        """Return those of the nodes, which add up to one."""
        logs = log_density + panels.weights.log()
        total = logs.logsumexp(-1, keepdim=True)
        return torch.where(total > torch.tensor(LEAST).log(), logs - total, torch.nan)

    def information(self, rows: Tensor, surveyed: Survey) -> Tensor:
        """Return ∫ (s − m)(s − m)ᵀ f / Z [M, q, q]."""
        panels = self.between(panels_of(surveyed), *self.ends())
        log_density = self.line.log_density(panels.nodes, rows.unsqueeze(1))
        mass = self.masses(rows, log_density, panels).exp()
        score = self.line.score(panels.nodes, rows)
        score = score - torch.einsum("mk,mki->mi", mass, score).unsqueeze(1)
        return torch.einsum("mk,mki,mkj->mij", mass, score, score)

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the law of one coordinate."""
        return Inside(self, parameters)


class Inside(OwnLaw):
    """Draws of a component until they are between the limits."""

    def __init__(self, family: Truncated, parameters: Parameters) -> None:
        self.family, self.own = family, parameters
        self.inner = family.line.law(parameters)
        super().__init__(parameters[0].shape)

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, *batch]; NaN where a thousand were outside."""
        low, high = self.family.low, self.family.high
        drawn: Tensor = self.inner.sample(shape)
        for _ in range(ROUNDS):
            outside = (drawn < low) | (drawn > high)
            if not bool(outside.any()):
                return drawn
            drawn = torch.where(outside, self.inner.sample(shape), drawn)
        return torch.where((drawn < low) | (drawn > high), torch.nan, drawn)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return ln f − ln Z, −∞ beyond the limits."""
        family, shape = self.family, self.own[0].shape
        rows = torch.stack(self.own, dim=-1).reshape(-1, len(self.own))
        panels = panels_of(survey(family.line, rows.detach()))
        panels = family.between(panels, *family.ends())
        log_density = family.line.log_density(panels.nodes, rows.unsqueeze(1))
        total = (log_density + panels.weights.log()).logsumexp(-1).reshape(shape)
        inside = (value >= family.low) & (value <= family.high)
        found = self.inner.log_prob(torch.where(inside, value, self.inner.sample()))
        return torch.where(inside, found - total, -torch.inf)
