"""Two laws side by side, as data that can be drawn without the model.

What is drawn depends on θ:

    classes, or one count          the masses of both laws on what they can answer
    one number with a density      the density of both laws on one grid, and quantiles
    two numbers with a density     the edges of the highest-density regions of 50 and
                                   90 % of both laws, in the plane
    anything else                  quantiles of each coordinate

Grids join even steps with quantiles of both laws, so that a narrow peak is seen where
most of a law lies. Quantiles are in closed form where torch inverts the
distribution function, else those of draws, the same noise for both laws. The least
density of a region of level α is the (1 − α) quantile of q(θ) over θ ~ q.

A law with atoms has no density at them: its draws repeat themselves, and then only its
quantiles are drawn.

Source: Hyndman, The American Statistician 50 (1996), section 3, for regions by
quantiles of the density.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from audit.families.interface import Family
from audit.ground.errors import AuditError
from audit.measure.columns import plain
from audit.nodes.noise import Noise
from audit.reports.portraits import Kind
from audit.reports.portrayed import PredictionInfo
from audit.reports.values import Floats
from audit.verify.contours import Line, contours
from audit.verify.drawn import Draws

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
REGIONS = (0.5, 0.9)
DRAWS = 4096
MOST_COORDINATES = 256
MOST_CLASSES = 12
_LINE, _PLANE = (64, 32), (24, 12)  # points of a grid: even ones, at quantiles
_FIXED = (
    "no prediction is drawn: draws of θ belong to the inputs as they are, and do not "
    "move with x"
)
_INFINITE = "no prediction is drawn: a quantile of θ is not finite"
_PLACES = "no prediction is drawn: {} places with classes each"
_WIDE = "no prediction is drawn: θ has {} coordinates, and up to {} are drawn"


@dataclass(frozen=True)
class Pair:
    """The laws at x and x + δ, side by side; see `reports.portraits.Portrait`."""

    kind: Kind | None
    before: PredictionInfo
    after: PredictionInfo
    axes: tuple[Floats, ...] = ()
    how: str = ""
    unpictured: str = ""


def side_by_side(law: Family, phi: Tensor, noise: Noise) -> Pair:
    """Return two laws of a family as data.

    Args:
        law: the family.
        phi: of both [2, p], members of it.
        noise: of the input, for both [2].
    """
    named = _parameters(law, phi)
    try:
        return _Sketch(law, phi, noise).pair(named)
    except (AuditError, NotImplementedError, RuntimeError, ValueError) as error:
        said = str(error).partition("\n")[0] or "its law gives no draws"
        return Pair(None, *named, unpictured=f"no prediction is drawn: {said}")


def _parameters(law: Family, phi: Tensor) -> tuple[PredictionInfo, PredictionInfo]:
    if not law.parametric:
        return PredictionInfo(), PredictionInfo()
    values = law.unpack(phi)
    before, after = (
        PredictionInfo({name: plain(value[row]) for name, value in values.items()})
        for row in (0, 1)
    )
    return before, after


class _Sketch:
    """Two laws that are looked at."""

    def __init__(self, law: Family, phi: Tensor, noise: Noise) -> None:
        self.law, self.phi, self.noise = law, phi, noise
        self.wide = math.prod(law.event_shape)
        self.classes = law.most_likely(phi) is not None

    def pair(self, named: tuple[PredictionInfo, PredictionInfo]) -> Pair:
        """Return both laws, drawn as what they are."""
        if self.classes:
            return self._of_classes(named)
        if self.wide > MOST_COORDINATES:
            why = _WIDE.format(self.wide, MOST_COORDINATES)
            return Pair(None, *named, unpictured=why)
        if not self.law.follows:
            return Pair(None, *named, unpictured=_FIXED)
        return self._of_draws(named)

    def _of_classes(self, named: tuple[PredictionInfo, PredictionInfo]) -> Pair:
        """Return the masses of the classes that either law finds likely."""
        listed = self._listed()
        if listed is None and self.wide == 1:
            return self._of_draws(named)
        if listed is None:
            why = _PLACES.format(self.wide)
            return Pair(None, *named, unpictured=why)
        masses = self._density(listed)
        largest = np.sort(np.argsort(-masses.max(axis=0), kind="stable")[:MOST_CLASSES])
        names = largest.astype(float)
        if listed.shape[2:] == () or math.prod(listed.shape[2:]) == 1:
            names = plain(listed[:, 0].reshape(-1))[largest]
        before, after = (
            PredictionInfo(one.parameters, None, mass[largest])
            for one, mass in zip(named, masses, strict=True)
        )
        return Pair("masses", before, after, (names,))

    def _listed(self) -> Tensor | None:
        """Return every answer of a classifier [K, 2, *event]; None for many places."""
        try:
            listed = self.law.distribution(self.phi).enumerate_support(expand=False)
        except NotImplementedError:
            return None
        event = self.law.event_shape
        return listed.reshape(-1, 1, *event).expand(-1, 2, *event)

    def _of_draws(self, named: tuple[PredictionInfo, PredictionInfo]) -> Pair:
        noise = self.law.few(self.noise.with_draws(DRAWS))
        found = self.law.drawn(self.phi, noise)
        theta = found.targets.reshape(len(found.targets), 2, self.wide)
        draws = Draws(theta.double(), found.weights, found.log_density)
        quantiles, how = self._quantiles(draws)
        if not np.isfinite(quantiles).all():
            return Pair(None, *named, unpictured=_INFINITE)
        kind, axes = self._axes(draws)
        infos = [
            replace(one, quantiles=quantiles[row]) for row, one in enumerate(named)
        ]
        if kind == "contour":
            edges = self._edges(draws, axes)
            if edges is None:
                return Pair("quantiles", infos[0], infos[1], (), how)
            infos = [
                replace(one, regions=own) for one, own in zip(infos, edges, strict=True)
            ]
            return Pair(kind, infos[0], infos[1], (), how)
        if axes:
            density = self._density(self._points(axes[0][:, None]))
            infos = [
                replace(one, density=own)
                for one, own in zip(infos, density, strict=True)
            ]
        return Pair(kind, infos[0], infos[1], axes, how)

    def _quantiles(self, draws: Draws) -> tuple[Floats, str]:
        """Return quantiles of each coordinate [2, L, C], and where they come from."""
        closed = self._inverted()
        if closed is not None:
            return closed, "quantiles in closed form"
        counted = f"quantiles of {len(draws.theta)} draws"
        how = counted if draws.weights is None else "quantiles by quadrature"
        return np.stack([draws.quantiles(row, LEVELS) for row in (0, 1)]), how

    def _inverted(self) -> Floats | None:
        """Return quantiles of coordinates that torch can invert; None of others."""
        if not self.law.parametric:
            return None
        law = self.law.distribution(self.phi)
        if not (isinstance(law, Independent) or self.wide == 1):
            return None
        base: Distribution = law.base_dist if isinstance(law, Independent) else law
        event = (2, *self.law.event_shape)
        levels = self.phi.new_tensor(LEVELS).reshape(-1, *[1] * len(event))
        try:
            found = base.icdf(levels.expand(-1, *event))
        except NotImplementedError:
            return None
        values = plain(found.reshape(len(LEVELS), 2, self.wide)).swapaxes(0, 1)
        return values if np.isfinite(values).all() else None

    def _axes(self, draws: Draws) -> tuple[Kind, tuple[Floats, ...]]:
        """Return what is drawn, and the grid of each coordinate that it takes."""
        if self.wide > 2 or not (self.law.discrete or self.law.has_density):
            return "quantiles", ()
        if self.law.discrete:
            whole = draws.whole() if self.wide == 1 else None
            return ("quantiles", ()) if whole is None else ("masses", (whole,))
        if draws.repeated() or not draws.bounded():
            return "quantiles", ()
        if self.wide == 1:
            return "density", (draws.axis(0, *_LINE),)
        return "contour", tuple(draws.axis(k, *_PLANE) for k in (0, 1))

    def _points(self, places: Floats) -> Tensor:
        points = torch.from_numpy(places).to(self.phi.device)
        points = points.reshape(-1, 1, *self.law.event_shape)
        return points.expand(-1, 2, *self.law.event_shape)

    def _density(self, grid: Tensor) -> Floats:
        """Return the density, or the mass, of both laws [2, G]."""
        return plain(self.law.log_likelihood(grid, self.phi).exp()).T

    def _edges(
        self, draws: Draws, axes: tuple[Floats, ...]
    ) -> list[dict[str, list[Line]]] | None:
        """Return the edges of the highest-density regions; None of an infinite one."""
        plane = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        heights = self._density(self._points(plane.reshape(-1, 2)))
        if not np.isfinite(heights).all():
            return None
        theta = draws.theta.reshape(-1, 2, *self.law.event_shape)
        known = draws.log_density
        if known is None:
            known = self.law.log_likelihood(theta.to(self.phi), self.phi)
        of_q = Draws(known.exp().unsqueeze(2), draws.weights)
        x, y = (axis.tolist() for axis in axes)
        found = []
        for row in (0, 1):
            least = of_q.quantiles(row, [1 - level for level in REGIONS])[:, 0]
            own = heights[row].reshape(len(x), len(y)).tolist()
            found.append(
                {
                    f"{level:g}": contours(x, y, own, at)
                    for level, at in zip(REGIONS, least.tolist(), strict=True)
                }
            )
        return found
