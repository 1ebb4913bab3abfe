"""Where the search for a witness starts: what the local law knows, and chance.

    p = 2     ±v₁, ±v₂, ±v₃, the form's leading eigenvectors
    p = ∞     ± the corner of the cube where the form is largest, as far as found (among
              few features: for certain), and the signs of v₁ and v₂
    p = 1     ± the three features of the largest |A e_j|, the corners of the ball
    always    random points of the sphere (p = ∞: corners), keyed by the input

A direction that the form does not have (a rank below three, an input at rest, a form
that is infinite) is left to chance as well.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.attacks.balls import Ball
from audit.linalg.decompose import decompose
from audit.measure.linear_law import LinearLaw
from audit.verify.local import LocalLaw
from audit.verify.sites import Site

LEADING = 3  # directions of the form
RANDOM = 10
EARLY = 2 * LEADING + 2  # of the starts; the others climb where these disagree
_STREAM = 11  # of the noise
_CHANCE = "random"
_NAMES = {
    2.0: ("v1", "v2", "v3"),
    math.inf: ("worst corner", "sign v1", "sign v2"),
    1.0: ("feature 1", "feature 2", "feature 3"),
}


def names_of(p: float) -> tuple[str, ...]:
    """Return what the starts are called, in the order of `starts`."""
    along = [f"{sign}{name}" for sign in "+-" for name in _NAMES[p]]
    return (*along, *(f"{_CHANCE} {k + 1}" for k in range(RANDOM)))


def starts(site: Site, local: LocalLaw, p: float) -> Tensor:
    """Return directions [n, K, m] to start along, none of them zero."""
    leading = _leading(site, local, p)  # [n, LEADING, m]
    drawn = _drawn(site, 2 * LEADING + RANDOM)
    drawn = drawn.sign() if p == math.inf else drawn
    found = torch.cat([leading, -leading, drawn[:, 2 * LEADING :]], dim=1)
    missing = (found.abs().amax(dim=2) == 0).unsqueeze(2)
    found = torch.where(missing, drawn, found)
    if site.free == 1:  # both ways, at rest too
        found[:, LEADING] = -found[:, 0]
    return found


def _leading(site: Site, local: LocalLaw, p: float) -> Tensor:
    """Return the local law's directions [n, LEADING, m], zero where it has none."""
    found = dearest(site, local, LEADING) if p == 1 else _eigenvectors(site, local)
    if p == math.inf:
        corner = local.worst_of(Ball(p)).unsqueeze(1)
        found = torch.cat([corner, found[:, : LEADING - 1].sign()], dim=1)
    found = torch.where(torch.isfinite(found).all(dim=2, keepdim=True), found, 0.0)
    return torch.nn.functional.pad(found, (0, 0, 0, LEADING - found.shape[1]))


def _eigenvectors(site: Site, local: LocalLaw) -> Tensor:
    """Return the form's leading directions [n, k, m], the worst one first."""
    if isinstance(local.law, LinearLaw):
        rest = local.law.rows.norm(dim=2).argsort(dim=1, descending=True)
        rest = rest[:, : LEADING - 1, None].expand(-1, -1, site.free)
        return torch.cat([local.worst.unsqueeze(1), local.law.rows.gather(1, rest)], 1)
    assert local.spectrum is not None  # a form has one
    found = local.spectrum.directions
    top = min(LEADING, *local.law.root.shape[1:])
    if found.shape[2] < top:
        found = decompose(local.law, top, site.point.rounding).directions
    return torch.cat([local.worst.unsqueeze(1), found.mT[:, 1:top]], dim=1)


def dearest(site: Site, local: LocalLaw, count: int) -> Tensor:
    """Return the features [n, ≤ count, m] that the local law costs most, each alone.

    Zero for those that it does not cost anything.
    """
    rows = (
        local.law.rows
        if isinstance(local.law, LinearLaw)
        else local.law.root.dense().nan_to_num()
    )
    price = rows.norm(dim=1)  # [n, m]
    best = price.topk(min(count, site.free), dim=1)
    found = torch.zeros(len(price), best.indices.shape[1], site.free).to(price)
    return found.scatter_(
        2, best.indices.unsqueeze(2), (best.values > 0).to(price)[..., None]
    )


def _drawn(site: Site, count: int) -> Tensor:
    """Return normal numbers [n, count, m], keyed by the inputs."""
    return site.noise.normals((count, site.free), _STREAM).to(site.x.device)
