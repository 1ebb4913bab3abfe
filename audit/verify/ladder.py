"""The sizes at which a prediction is put between a witness and a certificate.

By default five of them, a factor of about three apart, about the largest norm that an
attack of the scan has; and only for the first divergence, where its exact values cost
no more than a formula or a sum, since an ascent takes hundreds of them for each input:
not where they are means over draws, nor where a quadrature resolves each law (which is
seen by doing one), nor where each takes a long pass of the network (`long`). Sizes that
were asked for are always climbed, for every divergence.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from audit.attacks.balls import Ball, read_norm
from audit.attacks.worst import Certified, WorstCase
from audit.geometry.divergence import Divergence
from audit.measure import Questions
from audit.measure.bounds import Bounds
from audit.measure.columns import linear_law
from audit.nodes.lines import watched
from audit.verify.exact import exact_at
from audit.verify.long import is_long
from audit.verify.sites import Site

_STEPS = (0.1, 0.3, 1.0, 3.0, 10.0)  # of the reference size
_REFERENCE = 0.1  # where no attack has a size
DEAR = (
    "not searched by default where exact values are no closed form, or each takes a "
    "long pass of the network: ask for sizes with --sizes"
)


@dataclass(frozen=True)
class Ladder:
    """What is searched for worst cases.

    Args:
        sizes: ε, ascending. ball: of their norm.
        asked: whether somebody asked for these sizes.
        bounds: the valid range of the inputs; None: everything.
    """

    sizes: tuple[float, ...] = ()
    ball: Ball = field(default_factory=Ball)
    asked: bool = False
    bounds: Bounds | None = None

    def settled(self, divergence: Divergence, site: Site) -> Ladder:
        """Return the ladder with the sizes that are worth their cost for a divergence.

        Args:
            divergence: of the laws.
            site: some inputs; the first is tried.
        """
        if self.asked or _cheap(divergence, site):
            return self
        return replace(self, sizes=())

    def searched(
        self, questions: Questions, certified: bool
    ) -> dict[Ball, tuple[float, ...]]:
        """Return the sizes of each norm that is to be searched, or certified.

        Args:
            questions: with their attacks.
            certified: whether certificates are asked for, or witnesses.
        """
        own = self.sizes if self.asked or not certified else ()
        found: dict[Ball, set[float]] = {self.ball: set(own)} if own else {}
        for attack in questions.attacks.values():
            if isinstance(attack, Certified) is certified and isinstance(
                attack, WorstCase
            ):
                found.setdefault(attack.ball, set()).add(attack.norm)
        return {ball: tuple(sorted(sizes)) for ball, sizes in found.items()}


def _cheap(divergence: Divergence, site: Site) -> bool:
    """Tell whether exact values at a site are a formula or a sum."""
    questions = site.questions
    if divergence.name != questions.divergences[0].name:
        return False
    if is_long(site.model, questions):
        return False
    point, draws = site.point, site.noise.draws
    if linear_law(divergence, point) is None:
        how = divergence.estimation(point.family, point.phi[:1], draws)
        if how.kind != "closed_form":
            return False
    exact = exact_at(divergence, site)
    if exact is None or exact.laws.sampled:
        return False
    step = point.phi.new_full((1, 1, site.free), 1e-3)
    resolved: list[object] = []
    with watched(resolved):
        exact(torch.zeros(1, dtype=torch.long, device=step.device), step)
    return not resolved


def ladder_of(
    questions: Questions,
    sizes: tuple[float, ...] | None,
    norm: str,
) -> Ladder:
    """Return what is searched.

    Args:
        questions: with the attacks that sizes are taken from, and the valid range.
        sizes: as asked for; None: five about the attacks' own.
        norm: 2, inf or 1.

    Raises:
        ConfigError: the norm is another one.
    """
    ball = read_norm(norm)
    limits = questions.bounds
    if sizes is not None:
        return Ladder(sizes, ball, True, limits)
    reached = [attack.reach() for attack in questions.attacks.values()]
    largest = max([size for size in reached if size], default=_REFERENCE)
    steps = tuple(float(f"{largest * step:.6g}") for step in _STEPS)
    return Ladder(steps, ball, False, limits)
