"""A law of one number seen between two limits.

It is clipped to them, or given that it is between them. Everything is a sum over panels
that end at the limits. What lies beyond is an atom at the limit (`censored`), or
nothing, and the rest is rescaled (`truncated`):

    censored    F = ∫ s sᵀ f + ∂C ∂Cᵀ/C + ∂S ∂Sᵀ/S,       C below, S above the limits
    truncated   F = ∫ (s − m)(s − m)ᵀ f / Z,               m = ∫ s f / Z,  Z = ∫ f

The limits are numbers, the options `low` and `high`, one of them or both. A law of
which less than 1e-10 lies between them is not resolved, and NaN.

Sources: Tobin, Econometrica 26 (1958); Cohen, Truncated and Censored Samples (1991).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from audit.families import FAMILIES
from audit.families.continuous import Continuous
from audit.families.integrands import Integrand
from audit.families.options import read_numbers
from audit.families.parameters import Shapes
from audit.families.roles import Role
from audit.families.roots import semidefinite_root
from audit.families.univariate import IntegratedCoordinates, Parameters
from audit.ground.errors import ConfigError, NoTransport
from audit.nodes.lines import by_chunks
from audit.nodes.panels import Panels
from audit.nodes.survey import Survey, panels_of, survey, where_known

STEEP = 50.0  # nats in a width of the bulk
LEAST = 1e-10  # of a law, between the limits, for its panels to be right there
KEPT = ("low", "high")


class Limited(IntegratedCoordinates):
    """Independent coordinates of a component, between `low` and `high`.

    Args:
        component: a registered family of real or positive numbers with a density.
        shapes: the component's parameters.
        options: `low`, `high`, and those of the component.

    Raises:
        ConfigError: there is no limit, they are in the wrong order, or the component is
            no such family.
    """

    kind: ClassVar[str]
    """What the name begins with."""

    def __init__(self, component: str, shapes: Shapes, **options: object) -> None:
        own = {name: value for name, value in options.items() if name not in KEPT}
        made = FAMILIES[component](shapes, **own)
        if not isinstance(made, Continuous) or math.isfinite(made.limit):
            raise ConfigError(
                f"The family {self.kind}:{component} is not one of numbers on a line",
                f"{self.kind}: takes a family with a density, such as normal or gamma",
                "Choose another component",
            )
        self.made_of, self.line = (component,), made
        self.parameters, self.shapes = made.parameters, made.shapes
        self.settings = dict(options)
        self._event_shape = made.event_shape
        self.low = self._limit("low", -math.inf)
        self.high = self._limit("high", math.inf)
        open_ended = math.isinf(self.low) and math.isinf(self.high)
        if open_ended or not self.low < self.high:
            raise ConfigError(
                f"The family {self.name} was given the limits {self.low:g} and "
                f"{self.high:g}",
                "Expected one of low and high, or both with low below high",
                "Give them with --option low=… and --option high=…",
            )

    def role(self, name: str) -> Role | None:
        """Return what a parameter is for in the component."""
        return self.line.role(name)

    def _limit(self, name: str, default: float) -> float:
        if name not in self.settings:
            return default
        (value,) = read_numbers(name, self.settings[name])
        return float(value)

    @property
    def name(self) -> str:
        """The kind, a colon and the component's name."""
        return f"{self.kind}:{self.line.name}"

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return those of the component."""
        return self.line.violations(phi)

    # what lies between the limits, and beyond

    @abstractmethod
    def masses(self, rows: Tensor, log_density: Tensor, panels: Panels) -> Tensor:
        """Return the log masses [M, nodes and atoms] of the law.

        Args:
            rows: parameters [M, q].
            log_density: of the component at the nodes [M, nodes].
            panels: between the limits.
        """

    @abstractmethod
    def information(self, rows: Tensor, surveyed: Survey) -> Tensor:
        """Return F [M, q, q]."""

    def ends(self) -> tuple[float, float]:
        """Return the limits in the chart of the component."""
        point = self.line.chart.point(torch.tensor([0.0, 1.0], dtype=torch.float64))
        if bool(point[0] == 0):  # x(y) = y
            return self.low, self.high
        if bool(point[0] == 1):  # x(y) = e^y
            return _log(self.low), _log(self.high)
        return _logit(self.low), _logit(self.high)

    def between(self, panels: Panels, low: float, high: float) -> Panels:
        """Return the panels as far as they lie between two ends."""
        return Panels(panels.edges.clamp(low, high))

    def beyond(
        self, rows: Tensor, panels: Panels, of: Callable[[Panels, Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """Return of(panels, masses at nodes) [M, …] below `low` and above `high`."""
        low, high = self.ends()
        parts = {}
        if math.isfinite(low):
            parts["low"] = self.between(panels, -math.inf, low)
        if math.isfinite(high):
            parts["high"] = self.between(panels, high, math.inf)
        found = {}
        for name, part in parts.items():
            mass = self.line.log_density(part.nodes, rows.unsqueeze(1)).exp()
            found[name] = of(part, part.weights * mass)
        return found

    # one coordinate

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return the root [..., q, q] of the sum."""
        rows = torch.stack(parameters, dim=-1)
        flat = rows.reshape(-1, rows.shape[-1])

        def chunk(rows: Tensor) -> Tensor:
            surveyed = survey(self.line, rows)
            found = where_known(self.information, surveyed.lost, rows, surveyed)
            square = len(rows), rows.shape[1], rows.shape[1]
            return found if found.dim() == 3 else found[:, None, None].expand(square)

        found = by_chunks(chunk, self.line, flat, copies=2 + 2 * flat.shape[1])
        return semidefinite_root(found.reshape(*rows.shape, rows.shape[-1]))

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Refuse: it is not computed."""
        raise NoTransport(
            f"The family {self.name} has no transport tensor here",
            "Draws at a limit stay there, and the map of the others is not computed",
            "Audit it with -d kl",
        )

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return None."""
        return None

    def _divergence(
        self, left: Parameters, right: Parameters, integrand: Integrand
    ) -> Tensor:
        rows, others = (torch.stack(each, dim=-1) for each in (left, right))
        flat = [each.reshape(-1, each.shape[-1]) for each in (rows, others)]

        def chunk(left: Tensor, right: Tensor) -> Tensor:
            return self._of_pair(left, right, integrand)

        return by_chunks(chunk, self.line, *flat, copies=8).reshape(rows.shape[:-1])

    def _of_pair(self, left: Tensor, right: Tensor, integrand: Integrand) -> Tensor:
        surveys, infinite = [survey(self.line, left), survey(self.line, right)], None
        lost = surveys[0].lost | surveys[1].lost
        if integrand.tilt > 1:
            surveys.append(self._tilted(left, right, integrand.tilt))
            infinite = surveys[2].endless & ~lost
            lost = lost | surveys[2].lost

        def value(left: Tensor, right: Tensor, *surveys: Survey) -> Tensor:
            panels = self.between(panels_of(*surveys), *self.ends())
            logs = [
                self.masses(
                    rows, self.line.log_density(panels.nodes, rows.unsqueeze(1)), panels
                )
                for rows in (left, right)
            ]
            return integrand(logs[0], logs[1], torch.ones_like(logs[0]))

        found = where_known(value, lost, left, right, *surveys)
        return found if infinite is None else found.masked_fill(infinite, torch.inf)

    def _tilted(self, left: Tensor, right: Tensor, tilt: float) -> Survey:
        """Survey f^α g^{1−α} between the limits: its tails may not end for α > 1.

        Beyond a limit it falls off at once, from whichever side it is seen.
        """
        low, high = self.ends()
        width = self.line.bulk(left)[1].amin(-1, keepdim=True)

        def tilted(y: Tensor) -> Tensor:
            inside = y.clamp(low, high)
            log_f = self.line.log_density(inside, left.unsqueeze(1))
            log_g = self.line.log_density(inside, right.unsqueeze(1))
            return (
                tilt * log_f + (1 - tilt) * log_g - STEEP * (y - inside).abs() / width
            )

        return survey(self.line, left, log_density=tilted)


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def _logit(x: float) -> float:
    if x <= 0 or x >= 1:
        return -math.inf if x <= 0 else math.inf
    return math.log(x) - math.log1p(-x)
