"""The sizes at which a prediction is put between a witness and a certificate.

By default five of them, a factor of about three apart, about the largest norm that an
attack of the scan has; and only for the first divergence, where its exact values cost
no more than a formula, since an ascent takes hundreds of them for each input. Sizes
that were asked for are always climbed, for every divergence.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from audit.attacks.balls import Ball, read_norm
from audit.attacks.worst import Certified, WorstCase
from audit.geometry.divergences import Divergence
from audit.measure import Questions
from audit.measure.linear_law import LinearLaw
from audit.verify.bounds import Bounds, read_bounds
from audit.verify.local import LocalLaw
from audit.verify.sites import Exact

_STEPS = (0.1, 0.3, 1.0, 3.0, 10.0)  # of the reference size
_REFERENCE = 0.1  # where no attack has a size
DEAR = (
    "not searched by default where exact values are no closed form: ask for sizes with "
    "--sizes"
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

    def rungs(
        self, divergence: Divergence, exact: Exact, local: LocalLaw
    ) -> tuple[float, ...]:
        """Return the sizes that are worth their cost for a divergence."""
        if self.asked:
            return self.sizes
        if divergence.name != exact.site.questions.divergences[0].name:
            return ()
        if isinstance(local.law, LinearLaw):
            return () if exact.laws.sampled else self.sizes
        point, draws = exact.site.point, exact.site.noise.draws
        how = divergence.estimation(point.family, point.phi[:1], draws)
        cheap = how.kind == "closed_form" and not exact.laws.sampled
        return self.sizes if cheap else ()

    def searched(
        self, questions: Questions, rungs: tuple[float, ...], certified: bool
    ) -> dict[Ball, tuple[float, ...]]:
        """Return the sizes of each norm that is to be searched, or certified.

        Args:
            questions: with their attacks.
            rungs: the ladder's own sizes.
            certified: whether certificates are asked for, or witnesses.
        """
        found: dict[Ball, set[float]] = {self.ball: set(rungs)} if rungs else {}
        for attack in questions.attacks.values():
            if isinstance(attack, Certified) is certified and isinstance(
                attack, WorstCase
            ):
                found.setdefault(attack.ball, set()).add(attack.norm)
        return {ball: tuple(sorted(sizes)) for ball, sizes in found.items()}


def ladder_of(
    questions: Questions,
    sizes: tuple[float, ...] | None,
    norm: str,
    bounds: str | None,
    event: tuple[int, ...],
) -> Ladder:
    """Return what is searched.

    Args:
        questions: with the attacks that sizes are taken from.
        sizes: as asked for; None: five about the attacks' own.
        norm: 2, inf or 1.
        bounds: as written; None: every input is valid.
        event: the shape of one input.

    Raises:
        ConfigError: the norm is another one, or the bounds are none.
    """
    ball = read_norm(norm)
    limits = None if bounds is None else read_bounds(bounds, event)
    if sizes is not None:
        return Ladder(sizes, ball, True, limits)
    reached = [attack.reach() for attack in questions.attacks.values()]
    largest = max([size for size in reached if size], default=_REFERENCE)
    steps = tuple(float(f"{largest * step:.6g}") for step in _STEPS)
    return Ladder(steps, ball, False, limits)
