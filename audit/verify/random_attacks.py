"""The mean of a divergence over a random attack, from as many δ as it needs.

A pilot says how many pairs of perturbations each input needs and what the form, or a
damped one, is worth as a control variate; fresh pairs then give the mean and its
interval (see `intervals.controlled`). The perturbations of an input come from
generators of its own, one chunk after the other, so that none depends on which inputs
are measured with it: chunks end at the same places whatever the inputs need (`pairs`).
Where D is ∞ so far out that pairs seldom meet it, the mean is ∞ all the same (`far`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import Tensor

from audit.attacks.bases import RandomAttack
from audit.ground import stages
from audit.linalg.intervals.controlled import (
    TAILS,
    Control,
    PairMeans,
    best_control,
    form_control,
)
from audit.linalg.intervals.means import Interval
from audit.linalg.intervals.pilots import FIRST, LEVELS, PILOT, SURE, pairs_needed
from audit.linalg.spectrum import Estimate
from audit.nodes.noise import Noise
from audit.verify.far import infinite_far
from audit.verify.paired_values import Evaluate, Walk
from audit.verify.pairs import Choice, Form, Pairs

CHUNK = 64  # pairs that are evaluated at a time
_PILOTS = 0.2  # of the time
_PILOT_STREAM, _STREAM, _FAR_STREAM = 1, 2, 3  # of the noise; stream 0 draws θ


@dataclass(frozen=True)
class _Means(PairMeans):
    """Means over pairs with w times D's own error; NaN where no more are needed."""

    errors: Tensor

    def take(self, rows: Tensor) -> _Means:
        """Return those of some inputs."""
        return _Means(*(getattr(self, one.name)[rows] for one in fields(self)))

    def joined(self, more: _Means) -> _Means:
        """Return these pairs, then more of the same inputs."""
        parts = ((getattr(one, f.name) for one in (self, more)) for f in fields(self))
        return _Means(*(torch.cat(list(part), dim=-1) for part in parts))

    def first(self, count: int) -> _Means:
        """Return the first pairs."""
        return _Means(*(getattr(self, one.name)[..., :count] for one in fields(self)))


Damped = Callable[[Tensor, Tensor], Tensor | None]
"""Rows [n], rates s [n, R] -> E[(1 − e^{−s Q})/s] [n, P, R], of Q and of its axes."""


@dataclass(frozen=True)
class Beside:
    """What is known beside the values of D.

    Args:
        probed: whether the error of the prediction is that of probes, which D knows
            nothing of: β of it is in the mean, by the control variate, and 1 − β parts
            the mean from the prediction.
        damped: the means of damped forms, where they are known.
        form: Q, where it costs far less than D, to choose perturbations by.
        rough: D in the file's own digits, where these are faster.
        finite: whether D is a number wherever pairs do not meet another.
    """

    probed: bool = False
    damped: Damped | None = None
    form: Form | None = None
    rough: Evaluate | None = None
    finite: bool = False


_NOTHING = Beside()


@dataclass(frozen=True)
class AttackMean:
    """E[D] at N inputs.

    Args:
        interval: the mean, with the error of sampling the attack and that of the exact
            values themselves.
        apart: the mean, with what can part it from the prediction. Where the prediction
            is sampled its draws of θ are those of the exact values: what they are off
            by, both are off by, and the error of sampling the attack is left.
        pairs: how many were averaged [N].
        carried: where one of the most pairs carries the mean [N].
    """

    interval: Interval
    apart: Interval
    pairs: Tensor
    carried: Tensor


def attack_mean(
    attack: RandomAttack,
    noise: Noise,
    size: int,
    predicted: Estimate,
    tolerance: float,
    evaluate: Evaluate,
    beside: Beside = _NOTHING,
) -> AttackMean:
    """Return E[D(δ)] with its interval.

    Args:
        attack: the law of δ.
        noise: of the N inputs.
        size: the number of free features, of δ.
        predicted: E[Q(δ)] [N] of the local law Q that is the control variate.
        tolerance: relative distance at which mean and prediction are said to part.
        evaluate: inputs [n] and their perturbations [n, K, size] -> what they do, K at
            most 2 `CHUNK`.
        beside: what is known beside that.
    """
    chosen = None if beside.form is None else Choice(beside.form, predicted.value)
    shared = predicted.standard_error is not None and not beside.probed
    enough = partial(pairs_needed, tolerance=tolerance, shared=shared)
    pairs = Pairs(attack, noise, size, _PILOT_STREAM, chosen)
    with stages.part(_PILOTS):
        plan = _planned(pairs, predicted.value, enough, evaluate, beside.damped)
    if not beside.finite:
        far = Pairs(attack, noise, size, _FAR_STREAM, chosen)
        plan = plan.with_infinite(infinite_far(far, evaluate, plan.finite), plan.finite)
    control, weight, needed = plan.control, plan.control.weight[:, 0], plan.needed
    with stages.part(1.0):
        fresh = Pairs(attack, noise, size, _STREAM, chosen)
        walk = Walk(evaluate, beside.rough, needed)
        found = _sample(fresh, needed, walk, LEVELS)
    alone, carried = _by_levels(found, needed, control)
    alone = walk.widened(alone).infinite_where(plan.infinite)
    carried = carried & torch.isfinite(alone.value)
    whole = alone.widened(found.errors.nanmean(dim=1))
    if beside.probed and predicted.standard_error is not None:
        error = predicted.standard_error
        apart = whole.widened((1 - weight) * error)
        return AttackMean(whole.widened(weight * error), apart, needed, carried)
    return AttackMean(whole, alone if shared else whole, needed, carried)


@dataclass(frozen=True)
class _Plan:
    """What a pilot tells of N inputs: the control, the pairs needed, where D is ∞."""

    control: Control
    needed: Tensor
    infinite: Tensor

    @property
    def finite(self) -> Tensor:
        """The inputs where no D was ∞ [n]."""
        return (~self.infinite).nonzero()[:, 0]

    def with_infinite(self, there: Tensor, rows: Tensor) -> _Plan:
        """Return the plan where D is ∞ at some more inputs [n], as `there` [n] says.

        Pairs tell nothing of a mean that is ∞: the fewest do.
        """
        infinite = self.infinite.index_copy(0, rows, there)
        needed = self.needed.masked_fill(infinite, LEVELS[0])
        return _Plan(self.control, needed, infinite)


def _planned(
    pairs: Pairs,
    expected: Tensor,
    enough: Callable[..., Tensor],
    evaluate: Evaluate,
    damped: Damped | None,
) -> _Plan:
    """Return what the first pairs tell, and more of them where they tell too little.

    `enough` is `pairs_needed` with the tolerance.
    """
    ask = torch.full(expected.shape, FIRST)
    pilot = _sample(pairs, ask, Walk(evaluate), (FIRST,), share=FIRST / PILOT)
    control = form_control(pilot, expected)
    first = control.mean(torch.arange(len(expected), device=expected.device), pilot)
    own = pilot.errors.mean(dim=1)
    needed = enough(first, expected, own=own)
    infinite = torch.isinf(first.value)
    rows = (needed > LEVELS[0]).nonzero()[:, 0]
    if not len(rows):
        return _Plan(control, needed, infinite)
    ask[rows.cpu()] = PILOT
    more = _sample(pairs, ask, Walk(evaluate), (PILOT,), FIRST, 1 - FIRST / PILOT)
    pilot = pilot.take(rows).joined(more.take(rows))
    means = None if damped is None else partial(damped, rows)
    control = control.updated(rows, best_control(pilot, expected[rows], means))
    first = control.mean(rows, pilot)
    found = enough(first, expected[rows], own=pilot.errors.mean(dim=1))
    found = torch.where(control.bound[rows], found, found.clamp_min(SURE))
    infinite = infinite.index_copy(0, rows, torch.isinf(first.value))
    return _Plan(control, needed.index_copy(0, rows, found), infinite)


def _sample(
    pairs: Pairs,
    needed: Tensor,
    walk: Walk,
    stops: Sequence[int],
    first: int = 0,
    share: float = 1.0,
) -> _Means:
    """Return means over pairs.

    Args:
        pairs: where they are drawn.
        needed: how many [N], with those that were drawn before; each one of `stops`.
        walk: what they do.
        stops: where chunks end, whatever is needed: what a law draws may depend on it.
        first: how many were drawn before.
        share: of the work, for whoever watches the progress.
    """
    tables: list[Tensor] = []
    total = float((needed - first).clamp_min(0).sum()) / share
    for start, end in _chunks(first, stops, int(needed.max())):
        rows, count = (needed > start).nonzero()[:, 0], end - start
        drawn, weights = pairs.draw(rows.cpu(), count)
        means = walk(rows, drawn, weights, start)
        table = means.new_full((len(means), len(needed), count), torch.nan)
        table[:, rows] = means
        tables.append(table)
        stages.step(len(rows) * count / total)
    values, errors, weights, *forms = torch.cat(tables, dim=2)
    return _Means(values, torch.stack(forms, dim=1), weights, errors)


def _chunks(first: int, stops: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Return from where to where pairs are drawn together, `CHUNK` at most."""
    found = []
    for stop in stops:
        while first < stop <= most:
            end = min(first + CHUNK, stop)
            found.append((first, end))
            first = end
    return found


def _by_levels(
    found: _Means, needed: Tensor, control: Control
) -> tuple[Interval, Tensor]:
    """Return each input's interval from its own number of pairs, and where one carries.

    The latter is asked of the most pairs: of fewer one may carry much by chance.
    """
    parts = control.rate.new_empty(4, len(needed))
    carried = torch.zeros_like(needed, dtype=torch.bool)
    for level in LEVELS:
        rows = (needed == level).nonzero()[:, 0]
        if len(rows):
            own = found.take(rows).first(level)
            one = control.mean(rows, own, TAILS)
            parts[:, rows] = torch.stack(
                [one.value, one.lower, one.upper, one.standard_error]
            )
            if level == LEVELS[-1]:
                carried[rows] = control.carried(rows, own)
    return Interval(*parts), carried
