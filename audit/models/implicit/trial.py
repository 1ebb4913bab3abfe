"""A law tried on real rows: is the cut right, and what are the gates run on?"""

from __future__ import annotations

import shlex

import torch
from torch import Tensor

from audit.families.givers import Nodes
from audit.families.implicit import ImplicitFamily
from audit.families.tensors import Tensors
from audit.ground.errors import ConfigError, ModelError
from audit.models.density import DifferentiableMap
from audit.models.implicit.cut import WHOLE, CutLaw, cut
from audit.models.implicit.family import family_of
from audit.models.implicit.laws import ContextMap, FileLaw
from audit.models.implicit.plan import Plan
from audit.models.maps import IdentityMap
from audit.models.probing import Probe, finite_rows
from audit.nodes.noise import Noise
from audit.nodes.tails import bounded_space, tails_of

_PROBE_DRAWS = 16
_GRIDS, _POOL = 2, 256  # rows with a grid, and nodes of each
_DIVERGES = 0.5  # relative error of a quadrature
_TRIED, _RESOLVED = 4, 1e-3  # rows with a grid over noise, and its error
_SAME = {torch.float64: 1e-7}
_NEARLY_SAME = 1e-3  # of the largest score, in single precision


def cut_if_equal(plan: Plan, probe: Probe, plain: FileLaw) -> CutLaw | str:
    """Return the law behind a cut that gives the same scores, or why there is none."""
    if not plan.bottleneck:
        return f"{WHOLE}, as --bottleneck off asks"
    found = cut(plain, probe.event, probe.values, plan.draws_per_input)
    if isinstance(found, str):
        return found
    error = _difference(plan, probe, plain, found)
    if error <= _SAME.get(probe.network.dtype, _NEARLY_SAME):
        return found
    return f"{WHOLE}: behind a cut the scores differ by {error:.0e} of their size"


def _difference(plan: Plan, probe: Probe, plain: FileLaw, found: CutLaw) -> float:
    """Return how far derivatives by the two ways are apart, of the largest one."""
    x, held = first_rows(probe, 4)
    answers = []
    for law, inner in ((plain, IdentityMap()), (found.law, found.embedding)):
        family, parameters = family_of(plan, law, probe), ContextMap(inner, law)
        phi, jacobian = parameters.linearize(x, held)
        answers.append(jacobian.rmatmat(_derivatives(plan, probe, family, phi).mT))
    size = answers[0].abs().amax()
    return float(((answers[0] - answers[1]).abs().amax() / size).nan_to_num(nan=1.0))


def _derivatives(
    plan: Plan, probe: Probe, family: ImplicitFamily, phi: Tensor
) -> Tensor:
    """Return scores and transport Jacobians [N, R, p] at stand-in draws."""
    device, rows = probe.network.device, []
    generator = torch.Generator().manual_seed(0)
    for slot, derive in ((plan.target, family.scores), (plan.noise, family.jacobians)):
        if slot is None:
            continue
        drawn = torch.rand(2, len(phi), slot.size, generator=generator)
        found = derive(drawn.double().to(device) + 0.1, phi)
        rows.append(found.transpose(0, 1).reshape(len(phi), -1, family.size))
    return torch.nan_to_num(torch.cat(rows, dim=1))


def noise_trial(
    plan: Plan, probe: Probe, family: ImplicitFamily, parameters: DifferentiableMap
) -> str:
    """Return why noise is drawn, which is nothing where a grid resolves the map.

    On a plane of noise, kinks and thin bridges are curves that no grid of some thousand
    nodes resolves. It is tried on some rows once, in whatever precision comes first.
    """
    if not plan.noise_drawn:
        phi = parameters(*first_rows(probe, _TRIED))
        nothing = Noise(0, finite_rows(probe.inputs)[:_TRIED], _PROBE_DRAWS)
        root = family.root(Tensors.TRANSPORT, phi, nothing)
        coarse = int((~(root.checks["quadrature_error"] <= _RESOLVED)).sum())
        plan.noise_drawn.append(
            f"drawn: a grid does not resolve T(x, z) on {coarse} of {len(phi)} inputs"
            if coarse
            else ""
        )
    return plan.noise_drawn[0]


def first_rows(probe: Probe, count: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the condition [n, d] and the held inputs of the first rows."""
    values = probe.take(finite_rows(probe.inputs)[:count])
    x = values.pop(probe.roles.condition)
    return x.reshape(len(x), -1), values


def draw_for_gates(
    plan: Plan, probe: Probe, family: ImplicitFamily, parameters: DifferentiableMap
) -> dict[str, Tensor]:
    """Return one θ and one z for each probed row."""
    index = finite_rows(probe.inputs)
    x, held = first_rows(probe, len(index))
    phi = parameters(x, held)
    noise, drawn = Noise(0, index, _PROBE_DRAWS), {}
    if plan.target is not None:
        theta = _stand_ins(plan, family, phi, noise)
        drawn[plan.target.name] = theta.reshape(len(index), *plan.target.shape)
    if plan.noise is not None:
        _, base = family.map()
        z = base.points(noise).values[0]
        drawn[plan.noise.name] = z.reshape(len(index), *plan.noise.shape)
    return drawn


def _refuse_foreign(
    plan: Plan, family: ImplicitFamily, phi: Tensor, nodes: Nodes
) -> None:
    """Refuse draws outside the stated space, and densities that no grid integrates.

    Raises:
        ConfigError: the target space does not hold the draws.
        ModelError: the integral of the density did not converge on any row.
    """
    outside = plan.space.outside(nodes.targets)
    if nodes.weights is None and outside:
        raise ConfigError(
            f"Draws of θ lie outside --target-space: {outside}",
            "The space has to hold every value that the law gives",
            "Correct --target-space, or the draws",
        )
    error = nodes.checks.get("quadrature_error")
    if error is not None and not bool((error < _DIVERGES).any()):
        raise _endless(plan, family, phi)


def _endless(plan: Plan, family: ImplicitFamily, phi: Tensor) -> ModelError:
    """Return the error of a density that no grid integrates, with the tail if seen."""
    tails = tails_of(family.density(), phi, plan.space)
    if not tails:
        return ModelError(
            "The density does not integrate over θ on any of the rows tried (its "
            "quadrature is off by more than 50 %)",
            "Expected ∫ q(θ|x) dθ to be finite, and the mass where a grid can find it",
            "State the support with --target-space, or give draws with --sampler or "
            "--draws",
        )
    where = " and ".join(tail.shown(plan.space) for tail in tails)
    ended = shlex.quote(str(bounded_space(plan.space, tails)))
    return ModelError(
        f"The density does not integrate over θ: log q(θ|x) {where}, on the rows tried",
        "Expected ∫ q(θ|x) dθ to be finite; a tail that stays flat, as likelihood "
        "networks have beyond their training data, holds infinite mass",
        f"State the range that the file was trained on, e.g. --target-space {ended}: "
        "θ is then confined to it, and the mass beyond is left out",
    )


def _stand_ins(plan: Plan, family: ImplicitFamily, phi: Tensor, noise: Noise) -> Tensor:
    """Return one θ [N, n] for each row: its first draw, or a likely node of a grid.

    A grid takes thousands of evaluations. So two rows have one, and every row takes
    the node, among the heaviest, that is a nat below the best by its own density.
    """
    assert family.source is not None
    if not family.source.weighted:
        nodes = family.nodes(phi, noise)
        _refuse_foreign(plan, family, phi, nodes)
        return nodes.targets[0].to(phi.device)
    few = noise.of(noise.index[:_GRIDS])
    nodes = family.nodes(phi[:_GRIDS], few)
    _refuse_foreign(plan, family, phi[:_GRIDS], nodes)
    pool = nodes.targets[:_POOL].flatten(0, 1).to(phi.device)  # heaviest first
    each = pool.unsqueeze(1).expand(-1, len(phi), -1)
    values = family.log_prob(each, phi).nan_to_num(nan=-torch.inf)
    below = (values - values.amax(dim=0) + 1).abs()  # at the top a score may be zero
    return pool[below.nan_to_num(nan=torch.inf).argmin(dim=0)]
