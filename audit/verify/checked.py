"""One divergence at one site: every prediction beside its exact values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from audit.attacks.balls import Ball
from audit.attacks.bases import Attack, DirectedAttack, RandomAttack
from audit.attacks.worst import Certified, WorstCase
from audit.geometry.divergence import Divergence
from audit.ground import stages
from audit.measure.columns import TWO_MOMENTS
from audit.reports.doubts import CRITICAL
from audit.reports.roles import REALISED, named
from audit.reports.values import Values
from audit.verify.attacks import realised
from audit.verify.columns import Compared, compared_attack, compared_radius
from audit.verify.critical import Critical, critical_radius
from audit.verify.effort import shares_of
from audit.verify.exact import Attained, Exact, exact_at
from audit.verify.keeping import Found
from audit.verify.ladder import Ladder
from audit.verify.local import LocalLaw, local_law
from audit.verify.long import is_long
from audit.verify.lowering import briefly_lowered, lowered
from audit.verify.portraits import Reached
from audit.verify.sites import Site
from audit.verify.validity import COLUMNS as RANGE
from audit.verify.validity import validity_columns
from audit.verify.worst_cases import WorstCases, worst_cases

NO_LAW = "this kind of attack is neither directed nor random: no δ can be taken of it"


@dataclass(frozen=True)
class Checked:
    """What is known of one divergence at the n inputs of a site.

    Args:
        columns: quantity -> [n].
        compared: the radius and each attack, prediction and exact value.
        worst: the worst cases.
        witnesses: what they were found by, to keep.
        reached: where the critical radii were found; None without exact values.
    """

    columns: Mapping[str, Values]
    compared: tuple[Compared, ...] = ()
    worst: WorstCases = field(default_factory=WorstCases)
    witnesses: tuple[Found, ...] = ()
    reached: Reached | None = None


def checked(divergence: Divergence, site: Site, ladder: Ladder) -> Checked:
    """Return what every prediction of a divergence is worth at a site.

    Args:
        divergence: one of those that were asked for.
        site: the inputs, and what was asked of them.
        ladder: the sizes that are searched for worst cases.
    """
    exact = exact_at(divergence, site)
    if exact is None:
        return _unknown(divergence, site)
    questions, local = site.questions, local_law(divergence, site)
    aimed = local
    if local.sampled and questions.draws != site.noise.draws:
        # a direction takes more draws than a value
        aimed = local_law(divergence, site.with_draws(questions.draws))
    shares = shares_of(questions, ladder)
    with stages.part(shares[0]):
        worst = worst_cases(divergence, exact, aimed, ladder)
    with stages.part(shares[1]):
        critical = _critical(divergence, exact, aimed, worst, ladder)
    with stages.part(shares[2]):
        validity = validity_columns(exact, aimed)
    radius = aimed.radius(questions.tau)
    found = [compared_radius(radius, critical, questions.tau)]
    columns = {**worst.columns, **validity}
    for label, attack in questions.attacks.items():
        if isinstance(attack, Certified):
            continue
        one = _attacked(label, attack, exact, local, worst, shares[3])
        if isinstance(one, Compared):
            found.append(one)
        else:
            columns[named(label, REALISED)] = one
    for compared in found:
        columns |= compared.columns
    kept = tuple(Found(divergence, exact, one) for one in worst.witnesses.values())
    reached = Reached(exact, critical, columns[CRITICAL])
    return Checked(columns, tuple(found), worst, kept, reached)


def _unknown(divergence: Divergence, site: Site) -> Checked:
    """Return the columns of a divergence without exact values, and why."""
    why = f"no exact value of {divergence.name} is known for this law"
    labels = [named(label, REALISED) for label in site.questions.attacks]
    names = (CRITICAL, *RANGE, *labels)
    return Checked({name: Values.unmeasured(len(site.x), why) for name in names})


def _attacked(
    label: str,
    attack: Attack,
    exact: Exact,
    local: LocalLaw,
    worst: WorstCases,
    share: float,
) -> Compared | Values:
    """Return what an attack costs beside what was predicted, or why nothing is known.

    The share is of the work, where the attack's own δ are taken one by one.
    """
    predicted, n = local.expected(attack), len(exact.site.x)
    if not isinstance(attack, DirectedAttack | RandomAttack | WorstCase):
        return Values.unmeasured(n, NO_LAW)
    if predicted is None:
        return Values.unmeasured(n, TWO_MOMENTS)
    if isinstance(attack, WorstCase):
        return compared_attack(label, predicted, worst.realised(attack))
    with stages.part(share):
        cost = realised(attack, predicted, exact, local)
    return compared_attack(label, predicted, cost)


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
        site = exact.site
        plain = ladder.asked or is_long(site.model, site.questions)
        return along if plain else briefly_lowered(along, exact, local, tau)
    return lowered(along, exact, local, tau, worst.witnesses.get(Ball()))
