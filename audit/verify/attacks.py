"""What an attack really costs, from exact divergences at some of its δ.

For an attack along the worst direction the exact divergence is taken at both signs,
+εv and −εv: to second order they are equal, to third they are not, and the attacker
takes the worse. Of means over draws other draws choose the worse: the larger of two
noisy means is too large. Where no direction is the worst, because the form is zero or
infinite, sampled directions are tried and the worst of them counts: what it costs at
least. A random attack is averaged by `random_attacks`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.attacks.bases import DirectedAttack, RandomAttack
from audit.linalg.intervals.means import Interval
from audit.linalg.spectrum import Estimate
from audit.verify.exact import Exact
from audit.verify.few_nodes import few_nodes
from audit.verify.local import LocalLaw, sampled_directions
from audit.verify.paired_values import Evaluate, Evaluated
from audit.verify.random_attacks import Beside, attack_mean
from audit.verify.rough import Values, rough

TOLERANCE = 0.1  # predicted and realised part where they differ by more


@dataclass(frozen=True)
class Realised:
    """Realised degradations of n inputs.

    Prediction and realised value come from the same draws of θ. What those are off by,
    both are off by, and only the rest can part them.

    Args:
        total: with every error. apart: with what can part the two.
        directed: where δ has a law or a worst direction [n]; elsewhere directions were
            sampled, and the value is a lower bound.
        carried: where one pair of perturbations carries the mean [n].
    """

    total: Interval
    apart: Interval
    directed: Tensor
    carried: Tensor

    @property
    def exact(self) -> bool:
        """Whether no value has an error."""
        return not bool((self.total.standard_error > 0).any())


def realised(
    attack: DirectedAttack | RandomAttack,
    predicted: Estimate,
    exact: Exact,
    local: LocalLaw,
) -> Realised:
    """Return what an attack costs at a site.

    Args:
        attack: the law of δ.
        predicted: its expected cost [n] by the local law.
        exact: the divergence.
        local: its local law.
    """
    if isinstance(attack, DirectedAttack):
        return _directed(attack, exact, local)
    return _random(attack, predicted, exact, local)


def _directed(attack: DirectedAttack, exact: Exact, local: LocalLaw) -> Realised:
    sizes, weights = attack.rule(local.worst)
    value, error = (torch.zeros_like(local.size) for _ in range(2))
    along, open_ = local.directed.nonzero()[:, 0], (~local.directed).nonzero()[:, 0]
    v = local.worst[along]
    for rows, directions in (
        (along, torch.stack([v, -v], dim=1)),
        (open_, sampled_directions(exact.site, open_) if len(open_) else None),
    ):
        if directions is not None and len(rows):
            value[rows], error[rows] = _worst_of(
                exact, rows, directions, sizes, weights
            )
    found = Interval(value, value, value, torch.zeros_like(value)).widened(error)
    nowhere = torch.zeros_like(local.directed)
    found = found.at_least_zero()
    return Realised(found, found, local.directed, nowhere)


def _worst_of(
    exact: Exact, rows: Tensor, directions: Tensor, sizes: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the expectation over ε along the worst of some directions, and its error.

    Shapes: rows [k], directions [k, K, m], sizes and weights [S] -> [k].
    """
    k, count, m = directions.shape
    u = (directions.unsqueeze(2) * sizes[:, None]).reshape(k, count * len(sizes), m)
    values, errors = exact(rows, u)
    shape = (k, count, len(sizes))
    means = weighted(values.reshape(shape), weights)
    noise = weighted(errors.reshape(shape), weights)
    chosen = means
    if exact.fresh is not exact:
        chosen = weighted(exact.fresh(rows, u)[0].reshape(shape), weights)
    worst = chosen.argmax(dim=1, keepdim=True)
    return means.gather(1, worst).squeeze(1), noise.gather(1, worst).squeeze(1)


def weighted(values: Tensor, weights: Tensor) -> Tensor:
    """Return sums over the last axis; ∞ where a value is, else NaN where one is."""
    infinite = torch.isinf(values)
    sums = torch.where(infinite, 0.0, values) @ weights
    return sums.masked_fill(infinite.any(dim=-1), torch.inf)


def _random(
    attack: RandomAttack, predicted: Estimate, exact: Exact, local: LocalLaw
) -> Realised:
    def evaluated_by(values_of: Values) -> Evaluate:
        def evaluate(rows: Tensor, u: Tensor) -> Evaluated:
            u = u.to(local.worst)
            values, errors = values_of(rows, u)
            forms = local.at_pairs(rows, u)
            return Evaluated(values, errors, forms, local.along_axes(rows, u))

        return evaluate

    def damped(rows: Tensor, rates: Tensor) -> Tensor | None:
        return local.damped(attack, rows, rates)

    def form(rows: Tensor, u: Tensor) -> Tensor:
        return local.at(rows, u.to(local.worst))

    site, few = exact.site, few_nodes(attack, exact)
    quick = rough(exact) if few is None else None
    values = evaluated_by(exact if few is None else few)
    given = site.noise, site.free, predicted, TOLERANCE, values
    probed = local.by_products  # then Q takes a pass of the network, as D does
    chosen = None if probed else form
    coarse = None if quick is None else evaluated_by(quick.values)
    beside = Beside(probed, damped, chosen, coarse, exact.finite)
    found = attack_mean(attack, *given, beside)
    everywhere = torch.ones_like(local.directed)
    whole = found.interval.at_least_zero()
    return Realised(whole, found.apart, everywhere, found.carried)
