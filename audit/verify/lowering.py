"""The critical radius lowered by witnesses: an upper bound on r* over all directions.

r*(x) = inf{‖δ‖ : D(q_x ‖ q_{x+δ}) ≥ τ}. Any u with D ≥ τ says r* ≤ ‖u‖. A search that
starts with a radius at which D ≥ τ is known alternates two moves:

1.  Ascend at several sizes below the radius. The smallest size with a witness of at
    least τ is the new radius.
2.  Shrink along that witness's ray, to the first crossing of τ on it (`crossing`).

Witnesses that are there already begin the search: those of at least τ are shrunk first,
and all of them are directions to start along, which saves it the others. Where they end
far below the radius, as those of small `--sizes` do, ascents at sizes in between go on
from them: from .3 to a radius of 12 in one step, a start where the network is saturated
climbs nothing.

From witnesses one climb, whose sphere shrinks as it finds (`nearing`), takes the place
of ascents at several sizes. The rounds end where one lowers the radius by less than
half a percent. Then all starts climb beneath it, until they find nothing (`beneath`).
Nothing ever raises a radius. Where no radius is known (τ is not reached along ±v), or
one that is twice the local law's, a look around (`surveying`) comes first; where that
finds none either, the ladder of the first round goes up to the input's own norms, and
finds one or not. At the end D at u is τ up to a millionth, or above it where D jumps;
the radius is ‖u‖. It is a bound, found by somebody: smaller ones may exist.
"""

from __future__ import annotations

from torch import Tensor

from audit.ground import stages
from audit.verify.critical import Critical
from audit.verify.exact import Exact
from audit.verify.local import LocalLaw
from audit.verify.radius_moves import Lowering
from audit.verify.surveying import ROUNDS
from audit.verify.witness import Witness

_ROUNDS = 3


def lowered(
    critical: Critical, exact: Exact, local: LocalLaw, tau: float, known: Witness | None
) -> Critical:
    """Return critical radii with those that witnesses of all directions reach τ at.

    Values that are means over draws stay as they are: an ascent would climb their
    noise. A valid range of the inputs does not count, as it does not along ±v.

    Args:
        critical: the radii along ±v.
        exact: the divergence.
        local: its local law.
        tau: what has to be reached.
        known: witnesses of all inputs in the ℓ₂ norm, if there are any.
    """
    if critical.sampled:
        return critical
    found = lowered_radius(exact, local, tau, critical.value, known, critical.u)
    return critical.lowered_to(*found)


def briefly_lowered(
    critical: Critical, exact: Exact, local: LocalLaw, tau: float
) -> Critical:
    """Return critical radii lowered where worst cases are not searched.

    By a look around (`surveying`), and by one round of ascent where a gradient takes
    about as much as a value; by a first one, along all starts, where no ray reached τ.
    Values that are means over draws stay as they are.
    """
    if critical.sampled:
        return critical
    state = Lowering(exact, local, tau, critical.value, None, critical.u)
    state.look_everywhere()
    state.look()
    for turn in range(ROUNDS):
        state.look_beside(turn)
    if state.gradients_are_cheap():
        state.start_anywhere()
        state.round(1)
        state.confirm()
    return critical.lowered_to(state.radius, state.u)


def lowered_radius(
    exact: Exact,
    local: LocalLaw,
    tau: float,
    start: Tensor,
    known: Witness | None = None,
    where: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return radii [n] that no start is below, and the perturbations u [n, m].

    Args:
        exact: the divergence.
        local: its local law.
        tau: what has to be reached, positive.
        start: radii at which D ≥ τ is known along ±v [n]; ∞ or NaN where none is, 0
            where it is reached at once.
        known: witnesses of all inputs.
        where: the perturbations of `start` [n, m]; None: they are not known.

    Returns:
        ∞, and zeros, where τ was not reached anywhere; u is that of the start where
        nothing lowered the radius.
    """
    state = Lowering(exact, local, tau, start, known, where)
    state.look_everywhere()
    for turn in range(_ROUNDS):
        with stages.part(1 / (_ROUNDS + 1)):
            lower = state.round(turn)
        if not lower:
            break
    state.confirm()
    return state.radius, state.u
