"""The certificate: an upper bound on D(q_x ‖ q_{x+δ}) over a whole ball, proven.

Truth ≤ certificate: for every u with ‖u‖_p ≤ ε, D(q_x ‖ q_{x+Su}) is at most the bound.
The file's own graph is enclosed by linear relaxation (`audit.importer.relaxation`), and
the law bounds its divergence over the enclosure (`audit.families.largest_kl`). What is
proven is about the graph in real arithmetic, with its constants as float64 has them;
rounding of the bound itself is accounted for. Where no finite bound is proven it is ∞.

A ball holds the smaller ones, so a bound at ε is one for all smaller ε: the smallest of
those at sizes ≥ ε counts. For the same reason the largest ε with bound ≤ τ is below the
radius at which D reaches τ; bisection keeps the end at which the bound holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.geometry.divergences import Divergence
from audit.ground import stages
from audit.ground.errors import ConfigError, NoCertificate
from audit.models.enclosing import enclose
from audit.verify.sites import Site

_ROWS = 1024  # balls at the same time
_NUMBERS = 2**12  # of inputs at the same time
_DOUBLINGS = 60
_BISECTIONS = 24
_CLOSE = 1e-3  # relative width of a bracket that is narrow enough


@dataclass(frozen=True)
class Certified:
    """Upper bounds, or why there are none.

    Args:
        bound: [n, S], or for radii [n]; None where nothing is proven.
        why: the reason, in words; "" where there is a bound.
    """

    bound: Tensor | None
    why: str = ""


def certify(divergence: Divergence, site: Site, sizes: Tensor, p: float) -> Certified:
    """Return upper bounds on a divergence over balls of several sizes.

    Args:
        divergence: only `kl` has certificates.
        site: inputs of a model in float64.
        sizes: ε > 0 [S], in units of the perturbation, float64 (a float32 number
            rounded down would be a smaller ball than the one that was asked for).
        p: the norm, 1, 2 or ∞.

    Returns:
        Bounds [n, S], never falling along sorted sizes.

    Raises:
        ConfigError: p is another number, or a size is not positive and finite.
    """
    sizes = sizes.to(site.x.device)
    wide = sizes.dtype == torch.float64
    if not (wide and bool((torch.isfinite(sizes) & (sizes > 0)).all())):
        raise ConfigError(
            f"A certificate was asked for at the sizes {sizes.tolist()}",
            "Expected positive finite numbers in float64",
            "Correct the sizes",
        )
    try:
        n, count = len(site.x), len(sizes)
        rows = torch.arange(n, device=site.x.device).repeat(count)
        reach = sizes.repeat_interleave(n)  # balls of one size need the same passes
        found = _bounds(divergence, site, rows, reach, p).reshape(count, n).T
    except NoCertificate as error:
        return Certified(None, error.given)
    order = torch.argsort(sizes)
    least = found[:, order].flip(1).cummin(1).values.flip(1)
    return Certified(least[:, torch.argsort(order)])


def certified_radius(
    divergence: Divergence, site: Site, tau: float, p: float
) -> Certified:
    """Return the largest norm found [n] within which D ≤ τ is proven.

    0 where none is; ∞ is never claimed. Bisection stops at a bracket of one part in
    1,000, on its safe side.

    Args:
        divergence: only `kl` has certificates.
        site: inputs of a model in float64.
        tau: τ > 0.
        p: the norm, 1, 2 or ∞.
    """
    try:
        return Certified(_Radii(divergence, site, tau, p).search())
    except NoCertificate as error:
        return Certified(None, error.given)


@dataclass
class _Radii:
    """A search for the largest ε with a bound ≤ τ, for all inputs of a site at once."""

    divergence: Divergence
    site: Site
    tau: float
    p: float

    def search(self) -> Tensor:
        """Return the proven ends of the brackets [n]."""
        good = self.site.lengths() * 1e-3
        good, bad = self._bracketed(good)
        for _ in range(_BISECTIONS):
            stages.step(0.04)
            open_ = (bad > good * (1 + _CLOSE)) & (bad < torch.inf) & (good > 0)
            if not bool(open_.any()):
                break
            rows = open_.nonzero()[:, 0]
            middle = (good[rows] * bad[rows]).sqrt()
            holds = self._holds(rows, middle)
            good[rows] = torch.where(holds, middle, good[rows])
            bad[rows] = torch.where(holds, bad[rows], middle)
        return good

    def _bracketed(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return sizes with a bound ≤ τ, 0 where none is found, and sizes without."""
        rows = torch.arange(len(start), device=start.device)
        first = self._holds(rows, start)
        good = torch.where(first, start, 0.0)
        bad = torch.where(first, torch.inf, start)
        for _ in range(_DOUBLINGS):
            rows = ((good == 0) | torch.isinf(bad)).nonzero()[:, 0]
            if not len(rows):
                break
            up = good[rows] > 0
            size = torch.where(up, 2 * good[rows], bad[rows] / 2)
            holds = self._holds(rows, size)
            good[rows] = torch.where(holds, size, good[rows])
            bad[rows] = torch.where(holds, bad[rows], size)
        return good, bad

    def _holds(self, rows: Tensor, reach: Tensor) -> Tensor:
        found = _bounds(self.divergence, self.site, rows, reach, self.p)
        return found <= self.tau


def _bounds(
    divergence: Divergence, site: Site, rows: Tensor, reach: Tensor, p: float
) -> Tensor:
    """Return upper bounds [B] for some inputs [B], each over a ball of its own size.

    Raises:
        NoCertificate: nothing is proven for this divergence, family or file.
    """
    if divergence.name != "kl":
        raise NoCertificate(
            f"no certificate: the divergence {divergence.name} has none",
            "Expected kl",
            "Read the witness instead, which needs no such thing",
        )
    frame, family = site.questions.frame, site.model.density.family
    size = max(1, min(_ROWS, _NUMBERS // site.x.shape[1]))
    parts = []
    for part, sizes in zip(
        torch.split(rows, size), torch.split(reach, size), strict=True
    ):
        held = {name: values[part] for name, values in site.held.items()}
        ball = (sizes, p, frame.free, frame.unit.double())
        enclosed = enclose(site.model, site.x[part], held, ball)
        with torch.no_grad():
            parts.append(family.largest_kl(enclosed))
    return torch.cat(parts)
