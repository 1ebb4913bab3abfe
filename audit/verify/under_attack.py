"""The data's own θ against the model: clean, under noise, along ±v, at witnesses.

A divergence says how far the law moved, and nothing about θ: a model may move and stay
right, or be wrong and stay. Here the law at x + δ is held against the θ that belongs to
x (`calibration`), for sizes ε in units of the perturbation and

    noise       δ ~ N(0, ε²/m I), so that √E‖δ‖² = ε; one draw an input, the same for
                all sizes but for its length
    direction   δ = ±ε v, v the worst direction; of the two signs the one that moves the
                law more, by the exact divergence: this attacker does not know θ
    witness     the δ of the ball that moves the law most, as far as an ascent finds it
                (`witness`); only where the scan would search for worst cases

Where no direction is the worst (the form is zero or infinite), ±v has δ = 0. The loss
of likelihood is taken input by input, so its interval is that of paired differences. As
that of every mean over inputs it allows for a long tail (`ground.means`): θ that few
inputs lose by far carry the loss of an attack. A θ that the clean law excludes loses
nothing. Shares have Clopper and Pearson's interval (`ground.shares`), distances of PIT
Massart's (`linalg.intervals.distances`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.geometry.divergence import Divergence
from audit.ground.shares import share_interval
from audit.linalg.intervals.distances import uniform_distance
from audit.measure import Questions
from audit.models.opening import OpenModel
from audit.models.targets import check_support
from audit.reports.found import Attacked, Bounded, UnderAttack
from audit.reports.means import mean_interval
from audit.verify.calibration import Scores, joined_scores, scores
from audit.verify.exact import Exact, exact_at, outside
from audit.verify.ladder import DEAR, Ladder
from audit.verify.local import LocalLaw, local_law
from audit.verify.sites import Site, precise, rows_at_once, site_of
from audit.verify.witness import ascend

LEVELS = (0.5, 0.9, 0.95)
CLEAN, NOISE, DIRECTION, WITNESS = "clean", "noise", "direction", "witness"
NO_EXACT = (
    "±v and witnesses are left out: no exact value of {} says what moves the law more"
)
OTHER_NORM = "ε is the ℓ{:g} norm of a witness, and the ℓ2 norm of noise and ±v"
NO_WITNESS = "witnesses are left out: {}"
_STREAM = 12  # of the noise


@dataclass(frozen=True)
class Scored:
    """Scores of the data's θ at n inputs, clean and attacked.

    Args:
        index: of the inputs [n].
        draws: of θ, at each input and perturbation.
        divergence: whose direction is the attack's.
        clean: at x.
        attacked: (attack, size) -> at x + δ, by attack and then by size.
        notes: sentences for the reader.
    """

    index: NDArray[np.int64]
    draws: int
    divergence: str
    clean: Scores
    attacked: Mapping[tuple[str, float], Scores]
    notes: tuple[str, ...] = field(default=())

    def record(self, key: str) -> UnderAttack:
        """Return what a report says of it; `key` holds θ in the data."""
        return UnderAttack(
            key,
            len(self.index),
            self.draws,
            self.divergence,
            _attacked(CLEAN, 0.0, self.clean, self.clean),
            [
                _attacked(attack, size, found, self.clean)
                for (attack, size), found in self.attacked.items()
            ],
            list(self.notes),
        )


def under_attack(
    model: OpenModel,
    questions: Questions,
    index: NDArray[np.int64],
    theta: Tensor,
    ladder: Ladder,
) -> Scored:
    """Hold the data's θ against the laws at x and at x + δ.

    Args:
        model: the open model.
        questions: what is asked; its first divergence has the direction.
        index: the inputs [n].
        theta: [n, *event], finite.
        ladder: the sizes ε, and how worst cases are searched.

    Raises:
        InputError: no law of the family has such a θ.
        ConfigError: the family has no density, or no draws at x + δ.
    """
    model, _ = precise(model)
    size = max(1, rows_at_once(model))
    parts = [
        _at(model, questions, index[rows], theta[rows], ladder)
        for rows in np.split(np.arange(len(index)), range(size, len(index), size))
    ]
    first = parts[0]
    shared = [key for key in first.attacked if all(key in p.attacked for p in parts)]
    return replace(
        first,
        index=index,
        clean=joined_scores([part.clean for part in parts]),
        attacked={
            key: joined_scores([part.attacked[key] for part in parts]) for key in shared
        },
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _at(
    model: OpenModel,
    questions: Questions,
    index: NDArray[np.int64],
    theta: Tensor,
    ladder: Ladder,
) -> Scored:
    """Return what θ says at some inputs, all at once."""
    site = site_of(model, questions, index)
    phi, law = site.point.phi, site.point.family
    theta = theta.to(phi)
    check_support(model, phi, theta, index)
    divergence = questions.divergences[0]
    lengths = phi.new_tensor(list(ladder.sizes))
    aimed, note = _aimed(divergence, site, lengths, ladder)
    attacks = {NOISE: _noise(site, lengths), **aimed}
    nowhere = torch.zeros(len(phi), dtype=torch.bool, device=phi.device)
    clean = scores(law, phi, theta, site.noise, nowhere)
    attacked = {
        (name, size): _moved(site, theta, u[:, place])
        for name, u in attacks.items()
        for place, size in enumerate(ladder.sizes)
    }
    return Scored(index, site.noise.draws, divergence.name, clean, attacked, note)


def _moved(site: Site, theta: Tensor, u: Tensor) -> Scores:
    """Return what θ says at x + S u, for u [n, m]."""
    rows = torch.arange(len(u), device=u.device)
    others = site.moved(rows, u.unsqueeze(1))
    family, own = site.point.family, site.point.phi
    lost = outside(family, others)[:, 0]
    phi = torch.where(lost.unsqueeze(1), own, others[:, 0])
    return scores(family, phi, theta, site.noise, lost)


def _noise(site: Site, lengths: Tensor) -> Tensor:
    """Return normal noise u [n, S, m] with √E‖u‖² the lengths [S]."""
    z = site.noise.normals((site.free,), _STREAM).to(lengths) / math.sqrt(site.free)
    return z.unsqueeze(1) * lengths[:, None]


def _aimed(
    divergence: Divergence, site: Site, lengths: Tensor, ladder: Ladder
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return attack -> δ in the frame [n, S, m], and what is left out."""
    if not len(lengths):
        return {}, ()
    exact = exact_at(divergence, site)
    if exact is None:
        return {}, (NO_EXACT.format(divergence.name),)
    local = local_law(divergence, site)
    attacks = {DIRECTION: _worse_side(exact, local, lengths)}
    if not ladder.settled(divergence, site).sizes:
        return attacks, (NO_WITNESS.format(DEAR),)
    found = ascend(exact, local, lengths, ladder.ball.p, ladder.bounds)
    told = () if ladder.ball.p == 2 else (OTHER_NORM.format(ladder.ball.p),)
    return attacks | {WITNESS: found.u}, told


def _worse_side(exact: Exact, local: LocalLaw, lengths: Tensor) -> Tensor:
    """Return ±ε v [n, S, m] with the sign that moves each law more."""
    u = local.worst.unsqueeze(1) * lengths[:, None]
    forth, back = _costs(exact, u), _costs(exact, -u)
    return torch.where((forth >= back).unsqueeze(2), u, -u)


def _costs(exact: Exact, u: Tensor) -> Tensor:
    """Return the divergence at u [n, S, m], what is not resolved as the least."""
    rows = torch.arange(len(u), device=u.device)
    return torch.nan_to_num(exact(rows, u)[0], nan=-torch.inf, posinf=torch.inf)


def _attacked(attack: str, size: float, found: Scores, clean: Scores) -> Attacked:
    """Return what a report says of one attack of one size."""
    depth = found.depth
    loss = found.nll - clean.nll
    loss = torch.where(torch.isinf(clean.nll), 0.0, loss)  # it was excluded already
    pit = [] if bool(found.lost.any()) else list(found.pit.mT)
    return Attacked(
        attack,
        size,
        _mean(found.nll),
        _mean(loss),
        {f"{level:g}": _share(depth < level) for level in LEVELS},
        [Bounded(*uniform_distance(one)) for one in pit],
        None if found.right is None else _share(found.right == 1),
        int(torch.isinf(found.nll).sum()),
        int(found.lost.sum()),
    )


def _share(marked: Tensor) -> Bounded:
    """Return the share of inputs that are marked [n], with its interval."""
    count, n = int(marked.sum()), len(marked)
    return Bounded(count / n, share_interval(count, n))


def _mean(values: Tensor) -> Bounded:
    """Return a mean of inputs [n] with its interval; none where they know of none."""
    ordered = np.sort(values.cpu().double().numpy())
    return Bounded(float(values.mean()), mean_interval(ordered, signed=True))
