"""The certificate: an upper bound on D(q_x ‖ q_{x+δ}) over a whole ball, proven.

Truth ≤ certificate: for every u with ‖u‖_p ≤ ε, D(q_x ‖ q_{x+Su}) is at most the bound.
The file's own graph is enclosed by linear relaxation (`audit.importer.relaxation`), and
the law bounds its divergence over the enclosure (`audit.families.largest_kl`). What is
proven is about the graph in real arithmetic, with its constants as float64 has them;
rounding of the bound itself is accounted for. Where no finite bound is proven it is ∞.

A ball holds the smaller ones, so a bound at ε is one for all smaller ε: the smallest of
those at sizes ≥ ε counts. For the same reason the largest ε with bound ≤ τ is below the
radius at which D reaches τ; a bracket keeps the end at which the bound holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.geometry.divergence import Divergence
from audit.ground.errors import ConfigError, NoCertificate
from audit.models.enclosed import Centred
from audit.models.enclosing import centred
from audit.verify.bracket import Bracket
from audit.verify.sites import Site

_ROWS = 1024  # balls at the same time
_NUMBERS = 2**13  # of inputs at the same time
_START = 1e-3  # of an input's own norm, where the search for a radius begins


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
        parts = [
            torch.stack([balls.bound(size.expand(balls.count)) for size in sizes], 1)
            for balls in _balls(divergence, site, p)
        ]
    except NoCertificate as error:
        return Certified(None, error.given)
    found = torch.cat(parts)
    order = torch.argsort(sizes)
    least = found[:, order].flip(1).cummin(1).values.flip(1)
    return Certified(least[:, torch.argsort(order)])


def certified_radius(
    divergence: Divergence, site: Site, tau: float, p: float
) -> Certified:
    """Return the largest norm found [n] within which D ≤ τ is proven.

    0 where none is; ∞ is never claimed. The search stops at a bracket of one part in
    1,000, on its safe side.

    Args:
        divergence: only `kl` has certificates.
        site: inputs of a model in float64.
        tau: τ > 0.
        p: the norm, 1, 2 or ∞.
    """
    try:
        parts = [_largest(balls, tau) for balls in _balls(divergence, site, p)]
    except NoCertificate as error:
        return Certified(None, error.given)
    return Certified(torch.cat(parts))


@dataclass(frozen=True)
class _Balls:
    """Some inputs of a site, with all that balls around them share.

    Args:
        site: the inputs. rows: which of them [B].
        p: of the norm. centre: the law's coordinates there.
    """

    site: Site
    rows: Tensor
    p: float
    centre: Centred

    @property
    def count(self) -> int:
        """The number of inputs B."""
        return len(self.rows)

    def take(self, places: Tensor) -> _Balls:
        """Return some of the inputs."""
        return _around(self.site, self.rows[places], self.p)

    def bound(self, reach: Tensor) -> Tensor:
        """Return upper bounds [B] over balls of sizes ε [B]."""
        with torch.inference_mode():  # of small steps, a twentieth faster
            enclosed = self.centre.within(reach, self.p)
            return self.site.model.density.family.largest_kl(enclosed)


def _around(site: Site, rows: Tensor, p: float) -> _Balls:
    frame = site.frame.taken(rows)
    held = {name: values[rows] for name, values in site.held.items()}
    unit = frame.unit.double()
    return _Balls(
        site, rows, p, centred(site.model, site.x[rows], held, frame.free, unit)
    )


def _balls(divergence: Divergence, site: Site, p: float) -> Iterator[_Balls]:
    """Yield the inputs of a site, as many as may be enclosed at the same time."""
    if divergence.name != "kl":
        raise NoCertificate(
            f"no certificate: the divergence {divergence.name} has none",
            "Expected kl",
            "Read the witness instead, which needs no such thing",
        )
    size = max(1, min(_ROWS, _NUMBERS // site.x.shape[1]))
    everyone = torch.arange(len(site.x), device=site.x.device)
    for rows in torch.split(everyone, size):
        yield _around(site, rows, p)


def _largest(balls: _Balls, tau: float) -> Tensor:
    """Return the largest sizes found with a bound ≤ τ [B], 0 where none is.

    Inputs that are through are left out as soon as they are the most.
    """
    lengths = balls.site.lengths()[balls.rows]
    bracket = Bracket(lengths * _START, tau)
    left, at = balls, torch.arange(balls.count, device=lengths.device)
    bound = torch.full_like(lengths, torch.nan)
    while bool(bracket.open.any()):
        if 2 * int(bracket.open.sum()) < len(at):
            at = bracket.open.nonzero()[:, 0]
            left = balls.take(at)
        bracket.take(bound.index_put((at,), left.bound(bracket.size[at])))
    return bracket.good
