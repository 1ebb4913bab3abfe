"""Integrals that are probed, and mended where a probe sees more than they do.

Each turn looks at the cells with points of its own (`probe`). Where q stands above the
cells' polynomials, the modes uphill are found, the cells cut down to them and refined
again. Only laws in which the last turn saw something go on, so that none depends on
the others. What the last turn of a law does not explain is in its doubt: the mass that
it may be wrong by. On a plane the way up a ridge is followed from the highest node at
last (`ridges`): where it leads above all nodes, the mode is elsewhere and unresolved.

Shapes: M laws, P cells, J modes, c ∈ {1, 2} axes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.nodes.cells import Cells, Density, evaluate, log_sum
from audit.nodes.charts import picked
from audit.nodes.halving import choose, put, refine, take
from audit.nodes.peaks import Peaks, Seen, spans
from audit.nodes.probe import GRAVE, STANDS_OUT, look_again
from audit.nodes.ridges import follow
from audit.nodes.search import add
from audit.nodes.seeds import Boxes, divide

TURNS = 4
UPHILL = 40  # steps: to rise above all nodes, not to arrive
FEW = 2  # points: a mode that no more have hit may have companions
SPAN = 1.6  # standard deviations in a span: between 1.2 and 2.4
WITHIN = 6.0  # spans of a mode in which points hit it


def assure(
    density: Density, cells: Cells, noise: Tensor, tolerance: float, rounds: int
) -> tuple[Cells, Tensor]:
    """Return cells that explain what probes see, and the doubt that is left.

    Args:
        density: the laws'.
        cells: that integrate them.
        noise: of log q [M].
        tolerance: relative, of the integrals.
        rounds: of halving, at most, in each turn.

    Returns:
        The cells and the logarithm of the mass in doubt [M].
    """
    active = torch.ones_like(noise, dtype=torch.bool)
    missed = late = torch.full_like(noise, -torch.inf)
    stands_out = ~active
    for turn in range(TURNS):
        found = look_again(density, cells, noise, 3 * turn)
        missed = torch.where(active, found.log_mass, missed)
        stands_out = torch.where(active, found.stands_out.any(-1), stands_out)
        height = found.seen.height.masked_fill(~active.unsqueeze(-1), -torch.inf)
        active = height.isfinite().any(-1)
        if turn == TURNS - 1 or not active.any():
            break
        seen = found.seen._replace(height=height)
        peaks = add(density, _none(seen), seen)
        late = torch.maximum(late, _rare(peaks, seen, found.stands_out))
        cells = mend(density, cells, peaks)
        cells = refine(density, cells, noise, tolerance, rounds, active)
    whole = log_sum(cells.log_mass).masked_fill(~stands_out, -torch.inf)
    beyond = _uphill(density, cells)
    return cells, log_sum(torch.stack([missed, late, whole, beyond], -1))


def _uphill(density: Density, cells: Cells) -> Tensor:
    """Return the log mass [M] that is in doubt where a ridge leads above all nodes.

    It is the whole, or the mass of the higher peak if that is more; -inf elsewhere, and
    where the peak is too thin to matter.
    """
    nothing = torch.full_like(cells.log_mass[:, 0], -torch.inf)
    if cells.low.shape[-1] != 2:
        return nothing
    top, best = cells.values.flatten(1).max(-1)
    at = cells.points.gather(1, best[:, None, None].expand(-1, 1, 2))
    at, height = follow(density, at, spans(density, at), UPHILL)
    mass = Peaks(at, height, spans(density, at)).log_mass.squeeze(1)
    whole = log_sum(cells.log_mass)
    higher = (height.squeeze(1) > top + STANDS_OUT) & (mass > whole + math.log(GRAVE))
    return torch.where(higher, torch.maximum(mass, whole), nothing)


def mend(density: Density, cells: Cells, peaks: Peaks) -> Cells:
    """Return the cells, those at a peak cut down to its span and integrated."""
    boxes = Boxes(cells.low, cells.high, torch.zeros_like(cells.log_mass).bool())
    low, high, fresh = divide(boxes, peaks)
    count = int(fresh.sum(-1).max())
    if count == 0:
        return cells
    cells = cells.padded(low.shape[1])
    at = fresh.to(torch.int8).argsort(dim=-1, descending=True, stable=True)[:, :count]
    used = fresh.gather(1, at)
    ceiling = cells.ceiling.gather(1, at)
    new = evaluate(density, picked(low, at), picked(high, at), used, ceiling)
    return put(cells, at, choose(used, new, take(cells, at)))


def _none(seen: Seen) -> Peaks:
    return Peaks(seen.at[:, :0], seen.height[:, :0], seen.at[:, :0])


def _rare(peaks: Peaks, seen: Seen, stands_out: Tensor) -> Tensor:
    """Return the log mass [M] of thin peaks that a few points alone have hit."""
    far = (peaks.at.unsqueeze(2) - seen.at.unsqueeze(1)).abs()  # [M, J, K, c]
    hit = (far <= WITHIN * peaks.span.unsqueeze(2)).all(-1)
    hit &= (peaks.span.unsqueeze(2) <= 2 * seen.gap.unsqueeze(1)).all(-1)
    hit &= (seen.height.isfinite() & stands_out).unsqueeze(1)
    hits = hit.sum(-1)
    axes = peaks.at.shape[-1]
    mass = peaks.log_mass + axes * math.log(math.sqrt(2 * math.pi) / SPAN)
    rare = (hits >= 1) & (hits <= FEW)
    mass = mass.masked_fill(~rare, -torch.inf)
    return log_sum(torch.nn.functional.pad(mass, (0, 1), value=-torch.inf))
