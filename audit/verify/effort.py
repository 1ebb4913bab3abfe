"""What the checks of each divergence will take, for whoever watches the progress.

A few exact values are timed, and weighed by whether worst cases are searched. Nothing
that a report says depends on it, and without a listener nothing is timed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch

from audit.attacks.bases import DirectedAttack, RandomAttack
from audit.geometry.divergence import Divergence
from audit.ground import stages
from audit.ground.forecast import Task
from audit.measure import Questions
from audit.verify.exact import exact_at
from audit.verify.ladder import Ladder
from audit.verify.sites import Site

_SEARCH = 8.0  # times what a check without a search takes, by experience
_FEW = 4  # inputs that are tried
_LEAST = 1e-4  # seconds: what any check takes beside its exact values
_SEARCHED, _UNSEARCHED = (0.58, 0.18, 0.04), (0.0, 0.3, 0.15)
"""Of the time of a check, by experience: worst cases, critical radii, validity."""
_APART = {"search": 1.0, "radius": 2.0, "validity": 3.0, "attack": 3.0}
"""By which factor these may take more or less."""
_CERTIFICATE = 40.0
_ANOTHER = 2.0  # of another divergence, whose values were timed


def worth(questions: Questions, ladder: Ladder) -> bool:
    """Tell whether worst cases are searched, or certified."""
    return bool(
        ladder.searched(questions, certified=False)
        or ladder.searched(questions, certified=True)
    )


def efforts(
    divergences: Sequence[Divergence], site: Site, ladders: Mapping[str, Ladder]
) -> dict[str, float]:
    """Return each divergence's share of the work, summing to one."""
    found = {one.name: 1.0 for one in divergences}
    if stages.heard() and len(found) > 1:
        for one in divergences:
            searched = worth(site.questions, ladders[one.name])
            found[one.name] = _seconds(one, site) * (_SEARCH if searched else 1.0)
    total = sum(found.values())
    return {name: effort / total for name, effort in found.items()}


def shares_of(
    questions: Questions, ladder: Ladder
) -> tuple[float, float, float, float]:
    """Return what a check is made of: worst cases, radii, validity, each attack."""
    found = _SEARCHED if worth(questions, ladder) else _UNSEARCHED
    attacks = len(_realised(questions))
    return (*found, (1 - sum(found)) / attacks if attacks else 0.0)


def _realised(questions: Questions) -> list[str]:
    """Return the attacks whose δ are taken one by one."""
    return [
        label
        for label, attack in questions.attacks.items()
        if isinstance(attack, DirectedAttack | RandomAttack)
    ]


def tasks(
    questions: Questions,
    sites: Sequence[Site],
    ladders: Mapping[str, Ladder],
    weights: Mapping[str, float],
) -> list[Task]:
    """Return all checks in their order, with shares of the work for sizes."""
    total, first = sum(len(site.x) for site in sites), questions.divergences[0].name
    found = []
    for name, weight in weights.items():
        apart = 1.0 if name == first else _ANOTHER
        parts = _parts(questions, ladders[name])
        for site in sites:
            share = weight * len(site.x) / total
            found += [
                Task(f"{name} {kind}", share * size, spread * apart)
                for kind, size, spread in parts
            ]
    return found


def _parts(questions: Questions, ladder: Ladder) -> list[tuple[str, float, float]]:
    """Return (kind, share, spread) of what a check of one divergence is made of."""
    search, radius, validity, attack = shares_of(questions, ladder)
    certified = search / 2 if ladder.searched(questions, certified=True) else 0.0
    return [
        ("search", search - certified, _APART["search"]),
        ("certificate", certified, _CERTIFICATE),
        ("radius", radius, _APART["radius"]),
        ("validity", validity, _APART["validity"]),
        *((label, attack, _APART["attack"]) for label in _realised(questions)),
    ]


def _seconds(divergence: Divergence, site: Site) -> float:
    """Return what exact values at a few inputs take; hardly anything if there are none.

    The first call of a network or a law may take longer, so the second is timed.
    """
    exact = exact_at(divergence, site)
    if exact is None:
        return _LEAST
    rows = torch.arange(min(_FEW, len(site.x)), device=site.x.device)
    size = 1e-3 * site.lengths()[rows] / site.free**0.5
    u = size.double()[:, None, None].expand(-1, 2, site.free)
    exact(rows, u)
    began = time.perf_counter()
    exact(rows, u)
    return _LEAST + time.perf_counter() - began
