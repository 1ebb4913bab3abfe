"""Witnesses: perturbations that move the prediction as far as any that was found.

D(q_x ‖ q_{x+Su}) at a u with ‖u‖_p ≤ ε is a lower bound on the maximum over the ball,
whoever found u. It is found by ascent (`climbing`), by random search where no gradient
exists (`wandering`), from several starts (`starts`), for several sizes at once:

1.  Starts climb a few steps, at each size; the later ones only where the first do not
    agree with the local law, or with each other (`waves`).
2.  The best of them, for each input and size, climb on; but for ℓ₂, other corners of
    the ball are looked at beside the best one (`corners`).
3.  The best of these climb to their ends, beside the best one of the next smaller and
    of the next larger size, brought to this size: sizes share what they found.

Balls are nested: where a smaller size's witness is worth more, it is the larger one's
as well. So a value is never below that of any of its starts, nor of a smaller size. It
is taken anew at the end by the same exact evaluation as every value of the report.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.ground import stages
from audit.measure.bounds import Bounds
from audit.verify.attacks import TOLERANCE
from audit.verify.candidates import SHARED, Candidates, Climbers
from audit.verify.corners import at_corners
from audit.verify.exact import Exact
from audit.verify.local import LocalLaw
from audit.verify.strides import gains, lowered
from audit.verify.waves import from_starts


@dataclass(frozen=True)
class Effort:
    """Steps of the three rounds, and how many candidates are kept after two of them.

    Inner: how many are kept at most at sizes that are not the largest. Hills are most
    at that one, and it has no larger neighbour to share with.
    """

    first: int = 10
    kept: int = 8
    second: int = 12
    last: int = 20
    ended: int = 3
    inner: int = 3


EFFORT = Effort()
SLOWER = Effort(second=20, last=40)  # on other balls than ℓ₂, and without a gradient
_FIRST, _SECOND, _LAST = 0.4, 0.3, 0.3  # of the time of a search, by experience
THRIFTY = Effort(1, 1, 2, 3, 1)  # where each value is a mean over draws


@dataclass(frozen=True)
class Witness:
    """What was found at n inputs, for S sizes.

    Args:
        u: perturbations [n, S, m], in the frame. size: ε [n, S]. p: of the norm.
        value: D there [n, S]; ∞ where x + δ has no law of the family any more, NaN
            where no value on the way was a number. error: its standard error [n, S].
        origin: which of `origins` the best candidate started from [n, S].
        improved: whether the search gained on the best of its starts [n, S].
        origins: names of starts.
        by: "ascent", or "random search" where there is no gradient.
    """

    u: Tensor
    size: Tensor
    p: float
    value: Tensor
    error: Tensor
    origin: Tensor
    improved: Tensor
    origins: tuple[str, ...]
    by: str

    def stuck(self, foreseen: Tensor) -> Tensor:
        """Tell where the search gained nothing on starts that are clearly too low [n].

        Where the divergence is a form, the start ±v is the best there is, and not low.
        Infinite values are at their maximum where they start.

        Args:
            foreseen: what the local law says of the best of ±v [n, S].
        """
        low = self.value < (1 - TOLERANCE) * foreseen
        known = torch.isfinite(self.value) & torch.isfinite(foreseen)
        return (low & known & ~self.improved).any(dim=1)


def ascend(
    exact: Exact,
    local: LocalLaw,
    sizes: Tensor,
    p: float = 2.0,
    bounds: Bounds | None = None,
    effort: Effort | None = None,
    given: Tensor | None = None,
    rows: Tensor | None = None,
    alone: bool = False,
) -> Witness:
    """Return witnesses at n inputs of a site.

    Args:
        exact: the divergence.
        local: its local law, with directions to start along.
        sizes: ε, ascending and positive, [S] or for each input [n, S].
        p: of the norm, 1, 2 or ∞.
        bounds: the valid range of the inputs; None: everything.
        effort: None: by whether values are exact or means over draws.
        given: further directions to start along [n, K, m].
        rows: the site's inputs that are asked about [n]; None: all.
        alone: whether to start along the given directions only.

    Raises:
        ConfigError: an input is out of bounds.
    """
    climbers = Climbers(exact.guide, local, sizes, p, bounds, rows)
    first = (effort or _usual(climbers)).first
    with stages.part(_FIRST):
        found = from_starts(climbers, given, alone, first)
    effort = effort or _usual(climbers)
    inner = None if climbers.blind else effort.inner
    with stages.part(_SECOND):
        found = climbers.on(found.best(effort.kept, inner), effort.second)
        if p != 2 and not exact.laws.sampled:
            found = at_corners(climbers, found)
    shared = climbers.shared(found.best(effort.ended, inner))
    with stages.part(_LAST):
        found = climbers.polished(climbers.on(shared, effort.last))
    return _taken_anew(climbers, exact, found.best(1))


def _usual(climbers: Climbers) -> Effort:
    """Return what a search is worth where nobody says, as far as is known of it."""
    if climbers.exact.laws.sampled:
        return THRIFTY
    return SLOWER if climbers.blind or climbers.p != 2 else EFFORT


def _taken_anew(search: Climbers, exact: Exact, one: Candidates) -> Witness:
    """Return the best candidates, their values taken anew, sizes nested."""
    u, origin = one.u[:, :, 0], one.origin[:, :, 0]
    value, error = exact(search.asked, u)
    best = lowered(value)
    held = torch.arange(value.shape[1], device=value.device).expand_as(value)
    held = torch.where(best >= best.cummax(dim=1).values, held, -1)
    held = held.cummax(dim=1).values
    carried = held != torch.arange(value.shape[1], device=value.device)
    origin = torch.where(carried, search.origins.index(SHARED), origin.gather(1, held))
    value, error = value.gather(1, held), error.gather(1, held)
    u = u.gather(1, held.unsqueeze(2).expand_as(u))
    climbed = lowered(value)
    if exact is not search.exact:  # by what it climbed on: the other has another error
        climbed = one.value[:, :, 0].gather(1, held)
    improved = gains(climbed, one.start * (1 + search.blur))
    sizes = search.sizes.contiguous()
    names, by = search.origins, search.by
    return Witness(u, sizes, search.p, value, error, origin, improved, names, by)
