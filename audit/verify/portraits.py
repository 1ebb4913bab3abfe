"""The worst inputs, moved by their critical radius: what is to be looked at.

The perturbation is the one that the critical radius was found at: along ±v, or where an
ascent found a nearer one. Inputs that were not checked, or whose radius is infinite,
zero or hidden by noise, have none, and say why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from audit.reports.doubts import CRITICAL
from audit.reports.portrayed import PortraitInfo
from audit.reports.values import Values
from audit.verify.critical import Critical
from audit.verify.exact import Exact, outside
from audit.verify.predictions import LEVELS, side_by_side

UNCHECKED = "not among the checked inputs (see --verify)"
OUTSIDE = "no prediction is drawn: x + δ has parameters of no law of the family"


@dataclass(frozen=True)
class Reached:
    """Where the critical radii of a site were found.

    Args:
        exact: the divergence at the site.
        critical: the radii, and the perturbations.
        radius: the same as values, with the reasons of those that are not finite.
    """

    exact: Exact
    critical: Critical
    radius: Values


def portraits(
    divergence: str,
    reached: Sequence[Reached],
    wanted: Sequence[int],
    event: tuple[int, ...],
) -> list[PortraitInfo]:
    """Return portraits of some inputs, in their order.

    Args:
        divergence: the name of the one that has to reach τ.
        reached: of every site; none where exact values are not known.
        wanted: indices of the inputs.
        event: the shape of one of them.
    """
    places = {
        int(index): (one, row)
        for one in reached
        for row, index in enumerate(one.exact.site.noise.index)
    }
    return [
        _portrait(divergence, *places[index], event)
        if index in places
        else PortraitInfo(index, divergence, UNCHECKED)
        for index in wanted
    ]


def _portrait(
    divergence: str, reached: Reached, row: int, event: tuple[int, ...]
) -> PortraitInfo:
    """Return one input, x + δ and both laws."""
    site, u = reached.exact.site, reached.critical.u[row : row + 1]
    index = int(site.noise.index[row])
    x = site.x[row].double().cpu().numpy().reshape(event)
    info = PortraitInfo(index, divergence, x=x)
    radius = float(reached.radius.numbers[row])
    if not (0 < radius < np.inf):
        why = reached.radius.reason(row) or reached.radius.outcome(row).value
        why = "τ is reached at once" if radius == 0 else why
        return replace(info, reason=f"{CRITICAL} {_said(radius)}: {why}")
    rows = torch.tensor([row], device=u.device)
    others = site.moved(rows, u.unsqueeze(1))
    cost, _ = reached.exact.against(rows, others)
    frame = site.frame.taken(rows)
    delta = frame.push(u)[0].cpu().numpy().reshape(event)
    unit = frame.units(event).reshape(event)
    own_units = None if np.isin(unit, (0.0, 1.0)).all() else unit
    info = replace(info, delta=delta, unit=own_units, radius=radius)
    spent = float(cost[0, 0])
    info = replace(info, cost=None if math.isnan(spent) else spent)
    family, own = site.point.family, site.point.phi[row : row + 1]
    if bool(outside(family, others)):
        return replace(info, unpictured=OUTSIDE)
    both = site.noise.of(np.array([index, index]))
    pair = side_by_side(family, torch.cat([own, others[0]]), both)
    return replace(
        info,
        kind=pair.kind,
        levels=LEVELS,
        axes=pair.axes,
        how=pair.how,
        before=pair.before,
        after=pair.after,
        unpictured=pair.unpictured,
    )


def _said(radius: float) -> str:
    return "not known" if np.isnan(radius) else f"{radius:g}".replace("inf", "∞")
