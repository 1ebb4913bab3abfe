"""What the checks of each divergence will take, for whoever watches the progress.

A few exact values are timed, and weighed by whether worst cases are searched. Nothing
that a report says depends on it, and without a listener nothing is timed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch

from audit.geometry.divergences import Divergence
from audit.ground import stages
from audit.measure import Questions
from audit.verify.ladder import Ladder
from audit.verify.sites import Site, exact_at

_SEARCH = 8.0  # times what a check without a search takes, by experience
_FEW = 4  # inputs that are tried
_LEAST = 1e-4  # seconds: what any check takes beside its exact values


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


def _seconds(divergence: Divergence, site: Site) -> float:
    """Return what exact values at a few inputs take; hardly anything if there are none.

    The first call of a network or a law may take longer, so the second is timed.
    """
    exact = exact_at(divergence, site)
    if exact is None:
        return _LEAST
    rows = torch.arange(min(_FEW, len(site.x)), device=site.x.device)
    size = 1e-3 * site.lengths()[rows] / site.free**0.5
    u = size[:, None, None] * torch.ones_like(site.x[:1, :1], dtype=torch.float64)
    u = u.expand(-1, 2, site.free)
    exact(rows, u)
    began = time.perf_counter()
    exact(rows, u)
    return _LEAST + time.perf_counter() - began
