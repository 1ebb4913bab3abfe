"""Cells cut in two where they do not integrate, until the whole integral stands.

A cell whose share of the error is too large is halved along its worse axis, up to
`WAVE` cells of a law at a time. A relative error that the noise of log q explains
(float32: 1e-6) is left alone. Every law is treated by itself: its cells depend on no
other law, and only the number of empty cells at the end on how long the others take.

Shapes: M laws, P cells, K cells of each law at a time.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from audit.nodes.cells import Cells, Density, evaluate, log_sum
from audit.nodes.charts import picked, places
from audit.nodes.kinks import ENOUGH, IN_VAIN

WAVE = 12  # cells of a law that are halved at a time
SHARES = 64  # cells among which the error is divided


def refine(
    density: Density,
    cells: Cells,
    noise: Tensor,
    tolerance: float,
    rounds: int,
    active: Tensor | None = None,
    kinks: bool = True,
) -> Cells:
    """Halve cells until the errors of each law add up to its tolerance × integral.

    Args:
        density: the laws'.
        cells: to start with.
        noise: of log q [M]; a difference between two rules that it explains is none.
        tolerance: relative.
        rounds: at most.
        active: the laws that are refined [M]; by default all.
        kinks: whether rough cells have their own errors, and may be enough (`kinks`).
    """
    if not kinks:
        cells = replace(cells, log_told=cells.log_error)
    for _ in range(rounds):
        total = log_sum(cells.log_mass).unsqueeze(-1) + math.log(tolerance)
        wanted = cells.log_told > total - math.log(SHARES)
        wanted &= cells.log_told > cells.log_mass + _in_vain(cells, noise)
        wanted &= ~_stands(cells, total, tolerance)
        if active is not None:
            wanted &= active.unsqueeze(-1)
        if not wanted.any():
            break
        cells = _halve(density, cells, wanted)
        if not kinks:
            rough = torch.zeros_like(cells.rough)
            cells = replace(cells, log_told=cells.log_error, rough=rough)
    return cells


def _stands(cells: Cells, total: Tensor, tolerance: float) -> Tensor:
    """Return which cells are cut no more for their law's sake [M, P].

    Those of a law whose errors add up to no more than they may [M, 1]. Where kinks make
    that too much to ask, `ENOUGH` is for the rough ones, and for the others that their
    errors are no more than those.
    """
    whole = log_sum(cells.log_told).unsqueeze(-1)
    vain = cells.rough >= IN_VAIN
    rough = log_sum(cells.log_told.masked_fill(~vain, -torch.inf)).unsqueeze(-1)
    rest = log_sum(cells.log_told.masked_fill(vain, -torch.inf)).unsqueeze(-1)
    enough = whole <= total + math.log(max(1.0, ENOUGH / tolerance))
    return (whole <= total) | (enough & (vain | (rest <= rough)))


def _in_vain(cells: Cells, noise: Tensor) -> Tensor:
    """Return the log relative error [M, P] that is noise; it grows with |log q|."""
    top = cells.values.amax(-1)
    below = (top.amax(-1, keepdim=True) - top).clamp_max(50).nan_to_num(0.0)
    gap = noise.unsqueeze(-1) * (1 + below)
    return (3 * (200 * gap).pow(1.5)).clamp_max(0.3).log()


def _halve(density: Density, cells: Cells, wanted: Tensor) -> Cells:
    """Halve the worst of the wanted cells of each law."""
    urgency = cells.log_told.masked_fill(~wanted, -torch.inf)
    at = urgency.argsort(dim=-1, descending=True, stable=True)[:, :WAVE]
    used = wanted.gather(1, at)
    parent = take(cells, at)
    left, right = _halves(density, parent, used)
    return _join(put(cells, at, choose(used, left, parent)), right)


def _halves(density: Density, parent: Cells, used: Tensor) -> tuple[Cells, Cells]:
    cut = torch.nn.functional.one_hot(parent.axis, parent.low.shape[-1]).bool()
    middle = (parent.low + parent.high) / 2
    low = torch.cat([parent.low, torch.where(cut, middle, parent.low)], dim=1)
    high = torch.cat([torch.where(cut, middle, parent.high), parent.high], dim=1)
    used, ceiling = (torch.cat([p, p], dim=1) for p in (used, parent.ceiling))
    both = evaluate(density, low, high, used, ceiling, parent).parts()
    halves = zip(*(part.chunk(2, dim=1) for part in both), strict=True)
    left, right = (Cells(*parts) for parts in halves)
    return left, right


def take(cells: Cells, at: Tensor) -> Cells:
    """Return some cells of each law; `at` [M, K] tells which."""
    return Cells(*(picked(part, at) for part in cells.parts()))


def put(cells: Cells, at: Tensor, new: Cells) -> Cells:
    """Return the cells with new ones in the places `at` [M, K]."""
    pairs = zip(cells.parts(), new.parts(), strict=True)
    return Cells(*(old.scatter(1, places(at, old), part) for old, part in pairs))


def choose(where: Tensor, new: Cells, old: Cells) -> Cells:
    """Return the new cells where `where` [M, K], and the old ones elsewhere."""
    pairs = zip(new.parts(), old.parts(), strict=True)
    return Cells(
        *(
            torch.where(where.unsqueeze(-1) if a.dim() > 2 else where, a, b)
            for a, b in pairs
        )
    )


def _join(left: Cells, right: Cells) -> Cells:
    pairs = zip(left.parts(), right.parts(), strict=True)
    return Cells(*(torch.cat(pair, dim=1) for pair in pairs))
