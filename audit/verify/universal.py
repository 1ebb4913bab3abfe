"""What the universal direction really costs: one δ for every input, exact divergences.

An attacker who does not see the input takes ±ε v̄ with one sign for all of them, the
one that costs more on average. For a directed attack its sizes ε are those of
`attacks`; input i pays Σ_s w_s D(q_x ‖ q_{x ± ε_s v̄}).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from audit.attacks.bases import DirectedAttack
from audit.geometry.divergence import Divergence
from audit.measure.columns import NOT_RESOLVED, values_of
from audit.reports.roles import UNIVERSAL, named
from audit.reports.values import Floats, Values
from audit.verify.attacks import weighted
from audit.verify.columns import INFINITE
from audit.verify.exact import exact_at
from audit.verify.sites import Site

Costs = tuple[dict[str, Values], dict[str, int]]


def universal_costs(
    sites: Sequence[Site], directions: Mapping[str, Floats], weights: Tensor
) -> dict[str, Costs]:
    """Return, for each divergence, columns of the checked inputs [k] and signs.

    Args:
        sites: the checked inputs, in order.
        directions: divergence -> v̄ [m], a unit vector in the frame.
        weights: how many inputs each checked one stands for [k].

    Returns:
        Divergence -> (`LABEL_universal` -> [k], label -> the worse sign). Attacks
        without a direction, and divergences without exact values, have none.
    """
    found = {}
    for divergence in sites[0].questions.divergences:
        if divergence.name in directions:
            v = torch.from_numpy(directions[divergence.name])
            found[divergence.name] = _costs(divergence, sites, v, weights)
    return found


def _costs(
    divergence: Divergence, sites: Sequence[Site], v: Tensor, weights: Tensor
) -> Costs:
    columns: dict[str, Values] = {}
    signs: dict[str, int] = {}
    for label, attack in sites[0].questions.attacks.items():
        if not isinstance(attack, DirectedAttack):
            continue
        parts = [_both_signs(divergence, site, v, attack) for site in sites]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return {}, {}
        both = torch.cat(known).cpu()  # [k, 2]
        means = torch.nan_to_num(both, nan=0.0, posinf=torch.inf)
        worse = int((weights @ means).argmax())
        signs[label] = 1 - 2 * worse
        columns[named(label, UNIVERSAL)] = _column(both[:, worse])
    return columns, signs


def _column(values: Tensor) -> Values:
    everywhere = torch.ones_like(values, dtype=torch.bool)
    return values_of(values, None, {NOT_RESOLVED: values.isnan(), INFINITE: everywhere})


def _both_signs(
    divergence: Divergence, site: Site, v: Tensor, attack: DirectedAttack
) -> Tensor | None:
    """Return the cost of +v̄ and of −v̄ [n, 2]; None where it is not known."""
    exact = exact_at(divergence, site)
    if exact is None:
        return None
    v = v.to(site.point.phi)
    sizes, chances = attack.rule(v)
    steps = torch.stack([v, -v]).unsqueeze(1) * sizes[:, None]  # [2, S, m]
    rows = torch.arange(len(site.x), device=v.device)
    u = steps.flatten(0, 1).expand(len(rows), -1, -1)
    values, _ = exact(rows, u)
    return weighted(values.reshape(len(rows), 2, len(sizes)), chances).clamp_min(0.0)
