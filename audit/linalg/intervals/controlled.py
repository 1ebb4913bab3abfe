"""The mean of an exact divergence over an attack, from few of its perturbations.

D(δ) is held against the form Q(δ) = c |A δ|², whose mean E[Q] is known,

    E[D(δ)] ≈ mean_m [D_m − β (Q_m − E[Q])],

where D_m and Q_m are means over a pair, δ_m and its mirror image about the law's mean.
The third order of D is odd and leaves a pair; what is left is of fourth order, with a
long upper tail. Pairs are the sampling unit, and `mean_interval` corrects for the tail.

A coefficient β that is fitted to the pairs it is used on spoils the coverage. So a
pilot of pairs that enter no mean (`pilots`) tells it: β = Cov(D, Q) / Var(Q), kept in
[0, 1]. A β above one would follow D where it grows faster than the form: it removes
variance from the middle and none from the tail, and such intervals cover less.

Few pairs seldom show the tail that they have, and the less of it, the narrower they say
the mean is known. What is left of D is of fourth order: along one axis, where it is
wildest, it goes as z⁴ for a normal z, and as z² where pairs were chosen by the form
(`random_attacks`). The kurtosis of z² is 15, so that of what is left is taken to be
`TAILS` where the pairs show less. The pilot knows nothing of that: fewer pairs than a
hundred end wider than it said, up to half as wide again.

Where the form is exact, D_m − Q_m is constant, and the interval has no width.

Many divergences saturate: beyond some size they hardly grow, and the form, which goes
on, is worth little. The damped form (1 − e^{−s Q})/s is Q where Q is small and never
above 1/s. Where its mean is known (`damped`), the pilot tells the rate s too, of a few
over E[Q]: the one that leaves the least variance, if that is at most `WORTH` of what
the form itself leaves. A damped form of a pair is that of its Q: both ends of a pair
have the same Q, as the law's mean is zero.

One rate for all of Q is a compromise where axes differ much: damped for the steepest,
the others count as nothing, and undamped the steepest drowns them. With Q = Σ q_k along
its principal axes, Σ β_k (1 − e^{−s q_k})/s of the leading ones saturates axis by axis.
The pilot chooses between the two; several β are fitted with their degrees of freedom,
and are taken where they leave at most `WORTH` of what one β does.

Where D grows like exp(|δ|²) or faster, its mean may be ∞, or lie in a tail that no
sample meets: a pair that then moves the mean of the most pairs by more than `HEAVY`
of it says that the others have missed its like (`Control.carried`). χ² between normal
laws, exp(|z|²) − 1, has no mean from Var z = 1/2 on.

Source: Lavenberg & Welch, A perspective on the use of control variables, Management
Science 27 (1981), for β.

Shapes: N inputs, M pairs, P forms: Q and its leading axes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.linalg.intervals.means import Interval, mean_interval

HEAVY = 0.1  # of the mean, that one of the most pairs may move it by
TAILS = 15.0  # the kurtosis, at least, of what the control leaves
RATES = (0.03, 0.1, 0.3, 1.0, 3.0)  # of damping, over the form's mean
WORTH = 0.5  # of the variance that the form leaves: what a damped one may leave

Means = Callable[[Tensor], Tensor | None]
"""Rates s [N, R] -> E[(1 − e^{−s Q})/s] [N, P, R] of Q and its leading axes."""


@dataclass(frozen=True)
class PairMeans:
    """What M pairs of perturbations of N inputs do, in the mean of each pair.

    Args:
        values: w D, with the weights [N, M].
        forms: Q and its leading axes, without them [N, P, M].
        weights: w [N, M]; None for 1.
    """

    values: Tensor
    forms: Tensor
    weights: Tensor | None

    def damped(self, rate: Tensor) -> Tensor:
        """Return w times the forms [N, P, M], damped at a rate of each input [N]."""
        return weighted(damped(self.forms, rate[:, None, None]), self.weights)


@dataclass(frozen=True)
class Control:
    """What D is held against, for N inputs and P forms: Q, and its leading axes.

    Args:
        rate: s, and 0 where the forms are not damped [N].
        weight: β of each form [N, P]; that of Q, or those of its axes.
        expected: E[Q] and 0, or the means of the damped forms [N, P].
    """

    rate: Tensor
    weight: Tensor
    expected: Tensor

    @property
    def bound(self) -> Tensor:
        """Where Q itself is damped, by one β [N]."""
        return (self.rate > 0) & (self.weight[:, 0] > 0)

    def mean(self, rows: Tensor, pairs: PairMeans, kurtosis: float = 1.0) -> Interval:
        """Return E[D] [n] of some inputs, at `rows` [n], from pairs of them.

        `kurtosis` is that of what is left, at least.
        """
        forms = pairs.damped(self.rate[rows])
        given = pairs.values, forms, self.expected[rows], self.weight[rows]
        return controlled_mean(*given, kurtosis)

    def carried(self, rows: Tensor, pairs: PairMeans) -> Tensor:
        """Tell where one pair alone moves the mean by more than `HEAVY` of it [n]."""
        forms = pairs.damped(self.rate[rows])
        left = _remaining(pairs.values, forms, self.expected[rows], self.weight[rows])
        mean = left.mean(dim=1)
        farthest = (left - mean.unsqueeze(1)).abs().amax(dim=1)
        return farthest > HEAVY * left.shape[1] * mean.abs()

    def updated(self, rows: Tensor, other: Control) -> Control:
        """Return what holds with another control for some of the inputs."""
        return Control(
            self.rate.index_copy(0, rows, other.rate),
            self.weight.index_copy(0, rows, other.weight),
            self.expected.index_copy(0, rows, other.expected),
        )


def damped(forms: Tensor, rate: Tensor) -> Tensor:
    """Return (1 − e^{−s Q})/s, and Q where s is zero."""
    some = rate > 0
    rate = torch.where(some, rate, 1.0)
    return torch.where(some, -torch.expm1(-rate * forms) / rate, forms)


def weighted(forms: Tensor, weights: Tensor | None) -> Tensor:
    """Return w times forms [N, ..., M], for weights w [N, M]; None for 1."""
    if weights is None:
        return forms
    n, pairs = weights.shape
    return forms * weights.reshape(n, *[1] * (forms.dim() - 2), pairs)


def form_control(pilot: PairMeans, expected: Tensor) -> Control:
    """Return Q itself with its β from a pilot's pairs, for E[Q] [N]."""
    weight = control_weight(pilot.values, weighted(pilot.forms[:, 0], pilot.weights))
    wide = weight.new_zeros(pilot.forms.shape[:2])
    first = torch.tensor([0], device=wide.device)
    weights, means = (
        wide.index_copy(1, first, one.to(wide).unsqueeze(1))
        for one in (weight, expected)
    )
    return Control(torch.zeros_like(weight), weights, means)


def best_control(pilot: PairMeans, expected: Tensor, means: Means | None) -> Control:
    """Return the form, or damped ones that leave clearly less variance.

    Args:
        pilot: its pairs.
        expected: E[Q] [N].
        means: of damped forms; None where none is known.
    """
    own = form_control(pilot, expected)
    rates = torch.tensor(RATES).to(expected) / expected.unsqueeze(1)
    known = None if means is None else means(rates)
    if known is None:
        return own
    values, forms, weights = pilot.values, pilot.forms, pilot.weights
    usable = (torch.isfinite(rates) & torch.isfinite(known).all(dim=1)).all(dim=1)
    usable &= torch.isfinite(values).all(dim=1)
    usable &= torch.isfinite(forms).flatten(1).all(dim=1)
    bent = damped(forms.unsqueeze(1), rates[:, :, None, None])  # [N, R, P, M]
    found, left = _candidates(values.unsqueeze(1), weighted(bent, weights))
    least = left.argmin(dim=1)
    at = torch.arange(len(least), device=least.device)
    form = weighted(forms[:, 0], weights)
    enough = left[at, least] <= WORTH * _left(values, form, own.weight[:, 0])
    rows = (usable & enough).nonzero()[:, 0]
    rate = least % len(RATES)
    best = (rates[at, rate], found[at, least], known[at, :, rate])
    return own.updated(rows, Control(*(part[rows] for part in best)))


def _candidates(values: Tensor, bent: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights [N, K, P] and the variance [N, K] that each leaves.

    K candidates are Q at each rate, then the axes of Q at each rate. What the axes
    leave counts 1/`WORTH` times: the fewer β are kept unless they lose clearly.

    Args:
        values: D [N, 1, M].
        bent: damped forms [N, R, P, M].
    """
    n, count, forms, pairs = bent.shape
    again = values.expand(-1, count, -1)
    whole = control_weight(again.flatten(0, 1), bent[:, :, 0].flatten(0, 1))
    whole = whole.reshape(n, count)
    left = _left(again, bent[:, :, 0], whole)
    weights = torch.cat([whole.unsqueeze(2), bent.new_zeros(n, count, forms - 1)], 2)
    if forms == 1:
        return weights, left
    axes = axis_weights(again, bent[:, :, 1:])
    rest = again - (axes.unsqueeze(3) * bent[:, :, 1:]).sum(dim=2)
    fitted = rest.var(dim=2) * (pairs - 1) / (pairs - forms)
    axes = torch.cat([torch.zeros_like(whole).unsqueeze(2), axes], dim=2)
    return torch.cat([weights, axes], dim=1), torch.cat([left, fitted / WORTH], dim=1)


def axis_weights(values: Tensor, forms: Tensor) -> Tensor:
    """Return β [..., A] of several forms from a pilot's pairs, each in [0, 1].

    The forms are put in units of their deviations, and a ridge as heavy as one pair
    keeps what few pairs tell from being followed too far.

    Args:
        values: D [..., M].
        forms: [..., A, M].
    """
    centred = forms - forms.mean(dim=-1, keepdim=True)
    deviation = centred.square().mean(dim=-1, keepdim=True).sqrt()
    some = deviation > 0
    unit = torch.where(some, centred / torch.where(some, deviation, 1.0), 0.0)
    square = unit @ unit.mT + torch.eye(forms.shape[-2]).to(unit)
    found = torch.linalg.solve(square, unit @ values.unsqueeze(-1))
    weight = torch.where(some, found / torch.where(some, deviation, 1.0), 0.0)
    return weight.squeeze(-1).clamp(0, 1)


def _left(values: Tensor, forms: Tensor, weight: Tensor) -> Tensor:
    """Return the variance [...] of D − β Q."""
    return (values - weight.unsqueeze(-1) * forms).var(dim=-1)


def control_weight(values: Tensor, forms: Tensor) -> Tensor:
    """Return β [N] from a pilot's pairs, D and Q [N, M].

    It is 1 where Q does not vary at all, since D − Q is then as good as D, and 0 where
    one of the two is infinite.
    """
    centred = forms - forms.mean(dim=1, keepdim=True)
    variance = centred.square().sum(dim=1)
    weight = (centred * values).sum(dim=1) / variance
    weight = torch.where(variance > 0, weight, 1.0).clamp(0, 1)
    finite = torch.isfinite(values).all(dim=1) & torch.isfinite(forms).all(dim=1)
    return torch.where(finite, weight, 0.0)


def controlled_mean(
    values: Tensor,
    forms: Tensor,
    expected: Tensor,
    weight: Tensor,
    kurtosis: float = 1.0,
) -> Interval:
    """Return E[D] [N] with its 95 % interval.

    One infinite D says that D is infinite with a probability above zero: then so is
    the mean, and nothing about it is uncertain.

    Args:
        values: D, means over pairs [N, M].
        forms: P of them, means over the same pairs [N, P, M].
        expected: their means [N, P].
        weight: β [N, P], not fitted to these pairs.
        kurtosis: of the law of what is left, at least.
    """
    left = _remaining(values, forms, expected, weight)
    found = mean_interval(left, kurtosis=kurtosis).at_least_zero()
    return found.infinite_where(torch.isinf(values).any(dim=1))


def _remaining(
    values: Tensor, forms: Tensor, expected: Tensor, weight: Tensor
) -> Tensor:
    """Return D less what the control says of it, of each pair [N, M]."""
    control = weight.unsqueeze(2) * (forms - expected.unsqueeze(2))
    return values - torch.where((weight > 0).unsqueeze(2), control, 0.0).sum(dim=1)
