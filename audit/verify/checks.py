"""May the local numbers be believed? Predictions held against exact values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from audit.ground import stages
from audit.measure import Questions
from audit.measure.columns import values_of
from audit.models.opening import OpenModel
from audit.reports.found import Verification
from audit.reports.roles import ERROR, named, parsed
from audit.reports.values import Values, join
from audit.verify.checked import Checked, checked
from audit.verify.columns import in_numbers
from audit.verify.effort import efforts, tasks
from audit.verify.keeping import Found
from audit.verify.ladder import Ladder
from audit.verify.parted import carried_notes, parted_notes, stuck_notes
from audit.verify.portraits import Reached
from audit.verify.sites import (
    Notes,
    Site,
    precise,
    rows_at_once,
    site_of,
)

FEW_POINTS = "too few points carry the weight of importance sampling"


@dataclass(frozen=True)
class Verified:
    """Exact values at some inputs.

    Args:
        index: of the inputs [k], ascending.
        columns: divergence -> quantity -> [k].
        summary: divergence -> attack label, or "radius" -> exact over predicted.
        notes: (code, message) for the reader.
        witnesses: what was found, to keep.
        sites: the inputs, ready to be moved again.
    """

    index: NDArray[np.int64]
    columns: Mapping[str, Mapping[str, Values]] = field(default_factory=dict)
    summary: Mapping[str, Mapping[str, Verification]] = field(default_factory=dict)
    notes: Notes = ()
    witnesses: tuple[Found, ...] = ()
    sites: tuple[Site, ...] = ()
    reached: tuple[Reached, ...] = ()
    """Where the critical radii of the first divergence were found, by site."""


def verify(
    model: OpenModel, questions: Questions, index: NDArray[np.int64], ladder: Ladder
) -> Verified:
    """Return what every prediction is worth at the inputs `index`.

    Args:
        model: the open model.
        questions: what was asked of it.
        index: of the inputs.
        ladder: the sizes that are searched for worst cases.
    """
    if not len(index):
        return Verified(index)
    own, (model, notes) = model, precise(model)
    coarse = None if own is model else own
    size = rows_at_once(model)
    sites = [
        site_of(model, questions, part, coarse)
        for part in np.split(index, range(size, len(index), size))
    ]
    ladders = {d.name: ladder.settled(d, sites[0]) for d in questions.divergences}
    stages.stage(stages.VERIFY, len(index) * len(ladders), "checks")
    weights = efforts(questions.divergences, sites[0], ladders)
    stages.expect(tasks(questions, sites, ladders, weights))
    found: dict[str, list[Checked]] = {}
    for divergence in questions.divergences:
        parts = found[divergence.name] = []
        for site in sites:
            with stages.part(weights[divergence.name] * len(site.x) / len(index)):
                parts.append(checked(divergence, site, ladders[divergence.name]))
    columns = {name: _joined(parts) for name, parts in found.items()}
    for divergence in questions.divergences:
        if divergence.is_fisher:
            columns[divergence.name] |= _mass(sites)
    summary = {name: _summary(parts) for name, parts in found.items()}
    notes = (*notes, *_unreachable(questions), *parted_notes(summary))
    for name, parts in found.items():
        notes += carried_notes(name, [one for part in parts for one in part.compared])
        notes += stuck_notes(name, [part.worst for part in parts])
    witnesses = tuple(
        one for parts in found.values() for part in parts for one in part.witnesses
    )
    first = (part.reached for part in found[questions.divergences[0].name])
    reached = tuple(one for one in first if one is not None)
    return Verified(index, columns, summary, notes, witnesses, tuple(sites), reached)


def _joined(parts: Sequence[Checked]) -> dict[str, Values]:
    """Return the columns of all sites; those of sure values have no errors."""
    quantities = dict.fromkeys(name for part in parts for name in part.columns)
    return {name: join([_of(part, name) for part in parts]) for name in quantities}


def _of(part: Checked, quantity: str) -> Values:
    """Return a column of a site; where it has none, that of values without an error."""
    found = part.columns.get(quantity)
    if found is not None:
        return found
    base, roles = parsed(quantity)
    values = part.columns[named(base, *roles[:-1])]
    if roles[-1] is not ERROR:
        return values  # an end of the interval
    return replace(values, numbers=np.where(values.missing, np.nan, 0.0))


def _summary(parts: Sequence[Checked]) -> dict[str, Verification]:
    """Return exact over predicted of all sites, by the label of what is compared."""
    compared = zip(*(part.compared for part in parts), strict=True)
    return {one[0].label: in_numbers(list(one)) for one in compared}


def _unreachable(questions: Questions) -> Notes:
    """Say which divergences cannot be τ: radii are then infinite."""
    return tuple(
        (
            f"unreachable_{divergence.name}",
            f"{divergence.name} is below {divergence.supremum:.3g} for any two laws "
            f"with common support, so τ = {questions.tau:g} is not reached: pass a "
            "smaller --tau",
        )
        for divergence in questions.divergences
        if questions.tau >= divergence.supremum
    )


def _mass(sites: list[Site]) -> dict[str, Values]:
    """Return Z of a density that is only a function, where no grid has measured it."""
    laws = ((site.point.family, site) for site in sites)
    asked = (law.total(site.point.phi, site.noise) for law, site in laws)
    found = [mass for mass in asked if mass is not None]
    if not found:
        return {}
    value = torch.cat([z.value for z in found])
    error = torch.cat([z.standard_error for z in found if z.standard_error is not None])
    reasons = {FEW_POINTS: torch.ones_like(value, dtype=torch.bool)}
    return {
        "normalisation": values_of(value, None, reasons),
        named("normalisation", ERROR): values_of(error, None, reasons),
    }
