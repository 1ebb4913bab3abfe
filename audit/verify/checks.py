"""May the local numbers be believed? Predictions held against exact values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from audit.attacks.balls import Ball
from audit.attacks.laws import DirectedAttack, RandomAttack
from audit.attacks.worst import Certified, WorstCase
from audit.geometry.divergences import Divergence
from audit.ground import stages
from audit.measure import Questions
from audit.measure.columns import values_of
from audit.models.opening import OpenModel
from audit.reports.measured import VerificationInfo
from audit.reports.roles import ERROR, REALISED, named
from audit.reports.values import Values, join
from audit.verify.attacks import TOLERANCE, realised
from audit.verify.columns import Compared, compared_attack, compared_radius, in_numbers
from audit.verify.critical import NAME as CRITICAL
from audit.verify.critical import Critical, critical_radius
from audit.verify.effort import efforts, shares_of, tasks
from audit.verify.keeping import Found
from audit.verify.ladder import Ladder
from audit.verify.local import LocalLaw, local_law
from audit.verify.lowering import briefly_lowered, lowered
from audit.verify.portraits import Reached
from audit.verify.sites import (
    Attained,
    Exact,
    Notes,
    Site,
    exact_at,
    precise,
    rows_at_once,
    site_of,
)
from audit.verify.stuck import stuck_notes
from audit.verify.validity import COLUMNS as RANGE
from audit.verify.validity import validity_columns
from audit.verify.worst_cases import WorstCases, worst_cases

NO_LAW = "this kind of attack is neither directed nor random: no δ can be taken of it"
TWO_MOMENTS = "two moments of δ do not give the mean of |aᵀδ|"
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
    summary: Mapping[str, Mapping[str, VerificationInfo]] = field(default_factory=dict)
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
    columns, summary = {}, {}
    witnesses: list[Found] = []
    stuck: Notes = ()
    reached: dict[str, tuple[Reached, ...]] = {}
    for divergence in questions.divergences:
        parts, name = [], divergence.name
        for site in sites:
            with stages.part(weights[name] * len(site.x) / len(index)):
                parts.append(_checked(divergence, site, ladders[name]))
        columns[name] = {
            quantity: join([part[quantity] for part, *_ in parts])
            for quantity in parts[0][0]
        }
        witnesses += [one for _, _, kept, *_ in parts for one in kept]
        stuck = (*stuck, *stuck_notes(name, [part[3] for part in parts]))
        reached[name] = tuple(part[4] for part in parts if part[4] is not None)
        compared = zip(*(found for _, found, *_ in parts), strict=True)
        summary[name] = {one[0].label: in_numbers(list(one)) for one in compared}
        if divergence.is_fisher:
            columns[name] |= _mass(sites)
    notes = (*notes, *_unreachable(questions), *_partings(summary), *stuck)
    first = reached[questions.divergences[0].name]
    kept = tuple(witnesses)
    return Verified(index, columns, summary, notes, kept, tuple(sites), first)


def _checked(
    divergence: Divergence, site: Site, ladder: Ladder
) -> tuple[dict[str, Values], list[Compared], list[Found], WorstCases, Reached | None]:
    """Return the columns of one divergence at a site, what they compare, witnesses."""
    questions, n = site.questions, len(site.x)
    exact, local = exact_at(divergence, site), local_law(divergence, site)
    labels = [named(label, REALISED) for label in questions.attacks]
    if exact is None:
        why = f"no exact value of {divergence.name} is known for this law"
        names = ("critical_radius", *RANGE, *labels)
        unknown = {name: Values.unmeasured(n, why) for name in names}
        return unknown, [], [], WorstCases(), None
    aimed = local
    fewer = questions.draws != site.noise.draws
    if fewer and local.sampled:  # a direction takes more than a value
        aimed = local_law(divergence, site.with_draws(questions.draws))
    shares = shares_of(questions, ladder)
    with stages.part(shares[0]):
        worst = worst_cases(divergence, exact, aimed, ladder)
    with stages.part(shares[1]):
        critical = _critical(divergence, exact, aimed, worst, ladder)
    radius = aimed.radius(questions.tau)
    found = [compared_radius(radius, critical, questions.tau)]
    with stages.part(shares[2]):
        columns = {**worst.columns, **validity_columns(exact, aimed)}
    for label, attack in questions.attacks.items():
        predicted = local.expected(attack)
        if isinstance(attack, Certified):
            continue
        if not isinstance(attack, DirectedAttack | RandomAttack | WorstCase):
            columns[named(label, REALISED)] = Values.unmeasured(n, NO_LAW)
            continue
        if predicted is None:
            columns[named(label, REALISED)] = Values.unmeasured(n, TWO_MOMENTS)
            continue
        if isinstance(attack, WorstCase):
            cost = worst.realised(attack)
        else:
            with stages.part(shares[3]):
                cost = realised(attack, predicted, exact, local)
        found.append(compared_attack(label, predicted, cost))
    for one in found:
        columns |= one.columns
    kept = [Found(divergence, exact, one) for one in worst.witnesses.values()]
    return columns, found, kept, worst, Reached(exact, critical, columns[CRITICAL])


def _critical(
    divergence: Divergence,
    exact: Exact,
    local: LocalLaw,
    worst: WorstCases,
    ladder: Ladder,
) -> Critical:
    """Return the critical radii, in all directions where that is affordable.

    The ascent's own witnesses begin the search; without any it is brief. Along ±v alone
    they stay where each value takes a long pass, and where no sizes were asked for in
    words.
    """
    tau, bound = exact.site.questions.tau, divergence.supremum
    if tau >= bound:
        return critical_radius(Attained(exact.site, exact.laws, bound, tau), local, tau)
    along = critical_radius(exact, local, tau)
    if not worst.witnesses:
        plain = ladder.asked or exact.site.questions.matrix_free
        return along if plain else briefly_lowered(along, exact, local, tau)
    return lowered(along, exact, local, tau, worst.witnesses.get(Ball()))


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


def _partings(summary: Mapping[str, Mapping[str, VerificationInfo]]) -> Notes:
    """Warn where most predictions are off, or all of them together."""
    notes = []
    for name, found in summary.items():
        for label, one in found.items():
            message = _parting(f"{name} {label}", label, one)
            if message:
                notes.append((f"parted_{name}", message))
    return tuple(notes)


def _parting(subject: str, label: str, found: VerificationInfo) -> str:
    """Return in which way a prediction and its exact values are apart; "" if not."""
    if label == "radius":
        ratio = found.ratio_p50
        if ratio is None or abs(ratio - 1) <= TOLERANCE:
            return ""
        if ratio == math.inf:
            return (
                f"{subject}: τ is not reached on half of the checked inputs, where the "
                "second-order radius says it is: read critical_radius"
            )
        return (
            f"{subject}: the exact radius is {ratio:.3g} times the second-order one in "
            "the median; they are apart: read critical_radius"
        )
    why = "(the attack is too large for a local number, or the model jumps)"
    if 2 * found.parted > found.n:
        return (
            f"{subject}: on {found.parted} of {found.n} checked inputs the realised "
            f"value is more than 10 % from the predicted one: read "
            f"{named(label, REALISED)} "
            f"{why}"
        )
    if found.pooled is not None and abs(found.pooled - 1) > TOLERANCE:
        return (
            f"{subject}: over all {found.n} checked inputs the realised value is "
            f"{found.pooled:.3g} times the predicted one; they are apart, though noise "
            f"hides it on most of them: read "
            f"{named(label, REALISED)} {why}"
        )
    return ""


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
