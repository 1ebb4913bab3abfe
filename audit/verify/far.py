"""Where the mean over a normal attack is infinite, though pairs of it are not.

D may be ∞ between two laws that have the same support: χ² and Rényi's divergence of
order 2 between normal laws are, once the variance of q' is half that of q or less; the
quantile distance to a Student's t is, whose ν has come down to 2. Where that takes a
step of five σ, one in a million perturbations makes it. Then the mean is ∞, and no
affordable sample meets one: their mean looks like a number, and narrow.

A normal law has a density wherever it goes. So D is taken at perturbations a few times
as far from the law's mean as those that it draws: where D is ∞ there, it is around
there, with a probability above zero. `PROBES` pairs, mirrored at the mean, `FARTHER`
times as far see that there may be such a place; where one does, `SECOND` pairs
`NEARER` times as far have to see it too. Of half-spaces of D = ∞ that begin at 5 σ both
see 96 of 100, at 6 σ 83, at 8 σ 24 and at 11 σ none, by Φ: what is so far has no chance
to be met by anybody (10⁻²⁸ at 11 σ), and counts as nothing.

A D that is too large for a number is ∞ too, and its mean need not be: χ² of d means
that move by δ each is e^{|δ|²} − 1, whose mean (1 − 2σ²)^{−d/2} − 1 exists. On its way
there it passes all numbers that there are. So D is followed along the ray, and counts
as ∞ where it is from below `VAST` on, between one step and the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from audit.verify.pairs import Pairs

FARTHER, NEARER = 6.0, 3.0  # times as far as a perturbation of the law
PROBES, SECOND = 8, 48  # pairs
VAST = 1e60  # of D
_STEPS = 48  # along a ray


class Found(Protocol):
    """What perturbations do."""

    @property
    def values(self) -> Tensor:
        """D [n, K]."""


Evaluate = Callable[[Tensor, Tensor], Found]


def infinite_far(pairs: Pairs, evaluate: Evaluate, rows: Tensor) -> Tensor:
    """Tell where D is ∞ farther out, for some inputs [n].

    Args:
        pairs: of the attack; nowhere, if it is not normal: others may not reach so far.
        evaluate: rows [n] and perturbations [n, K, size] -> what they do.
        rows: of the inputs.
    """
    there = torch.zeros_like(rows, dtype=torch.bool)
    if not (pairs.attack.normal and len(rows)):
        return there
    mean = torch.from_numpy(pairs.attack.center(pairs.size))
    apart = FARTHER * (pairs.draw(rows.cpu(), PROBES)[0] - mean)
    infinite = torch.isinf(evaluate(rows, mean + apart).values)
    some = infinite.any(dim=1).nonzero()[:, 0]
    if not len(some):
        return there
    first = infinite[some].to(torch.int8).argmax(dim=1)
    ray = apart[some.cpu(), first.cpu()].unsqueeze(1)
    steps = torch.linspace(0, 1, _STEPS + 1)[1:].to(ray).unsqueeze(1)
    some = some[_sudden(evaluate(rows[some], mean + steps * ray).values)]
    if len(some):
        near = NEARER * (pairs.draw(rows[some].cpu(), SECOND)[0] - mean)
        found = evaluate(rows[some], mean + near).values
        there[some] = torch.isinf(found).any(dim=1)
    return there


def _sudden(values: Tensor) -> Tensor:
    """Tell where D [n, K] along a ray is ∞ from one step on, and not vast before."""
    infinite = torch.isinf(values)
    before = infinite.cumsum(dim=1) == 0
    largest = torch.where(before, values, 0.0).nan_to_num(0.0).amax(dim=1)
    return infinite.any(dim=1) & (largest < VAST)
