"""Worst cases of balls: predicted, along the worst direction, found, and bounded.

The columns of the two-sided table, and of the attacks `worst_case` and `certified`. A
witness is a lower bound on the maximum over the ball, a certificate an upper one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from audit.attacks.balls import Ball
from audit.attacks.worst import Certified, WorstCase
from audit.geometry.divergence import Divergence
from audit.ground import stages
from audit.linalg.intervals.means import Interval
from audit.measure.columns import NO_DIRECTION, NOT_RESOLVED, values_of
from audit.reports.roles import ERROR, at_size, certificate_name, named
from audit.reports.values import Values
from audit.verify.attacks import Realised
from audit.verify.columns import INFINITE
from audit.verify.exact import Exact
from audit.verify.ladder import Ladder
from audit.verify.local import LocalLaw
from audit.verify.witness import Witness, ascend

if TYPE_CHECKING:
    from audit.verify.certificate import Certified as Proven

NOT_ASKED = "not certified by default: ask for sizes with --sizes, or certified:norm=…"
NOT_PROVEN = "no finite bound is proven at this size"


@dataclass(frozen=True)
class WorstCases:
    """What is known of the worst of some balls at n inputs.

    Args:
        columns: quantity -> [n].
        witnesses: by their norm, for every size that was searched.
        stuck: by their norm, where a search gained nothing on low starts [n].
    """

    columns: Mapping[str, Values] = field(default_factory=dict)
    witnesses: Mapping[Ball, Witness] = field(default_factory=dict)
    stuck: Mapping[Ball, Tensor] = field(default_factory=dict)

    def realised(self, attack: WorstCase) -> Realised:
        """Return what was found at an attack's size."""
        found = self.witnesses[attack.ball]
        place = int((found.size[0] == attack.norm).nonzero()[0])
        value, error = found.value[:, place], found.error[:, place]
        interval = Interval(value, value, value, torch.zeros_like(value))
        interval = interval.widened(error).at_least_zero()
        everywhere = torch.ones_like(value, dtype=torch.bool)
        return Realised(interval, interval, everywhere, ~everywhere)


def worst_cases(
    divergence: Divergence, exact: Exact, local: LocalLaw, ladder: Ladder
) -> WorstCases:
    """Return what is known of the worst of the balls that were asked for.

    Args:
        divergence: whose.
        exact: its values at a site.
        local: its local law there.
        ladder: the sizes that are worth their cost, beside those of the attacks.
    """
    questions, rungs = exact.site.questions, ladder.sizes
    witnesses = {}
    searched = ladder.searched(questions, certified=False)
    certified = bool(ladder.searched(questions, certified=True))
    for ball, sizes in searched.items():
        lengths = local.worst.new_tensor(sizes)
        with stages.part((0.5 if certified else 0.95) / len(searched)):
            witnesses[ball] = ascend(exact, local, lengths, ball.p, ladder.bounds)
    columns: dict[str, Values] = {}
    for size, known in zip(rungs, _predicted(exact, local, ladder), strict=True):
        columns |= known
        place = int((witnesses[ladder.ball].size[0] == size).nonzero()[0])
        found = witnesses[ladder.ball]
        value, error = found.value[:, place], found.error[:, place]
        columns |= _with_error(at_size("witness", size), value, error)
    with stages.part(1.0, stages.CERTIFICATE if certified else ""):
        columns |= _certificates(divergence, exact, ladder)
    stuck = {
        ball: found.stuck(_foreseen(exact, local, ladder, ball, found.size[0]))
        for ball, found in witnesses.items()
    }
    return WorstCases(columns, witnesses, stuck)


def _certificates(
    divergence: Divergence, exact: Exact, ladder: Ladder
) -> dict[str, Values]:
    """Return the certificates that were asked for, or why there are none.

    They are of the ladder's sizes where these were asked for, and of the attacks
    `certified`, at a rung of their size too; then the certified radius stands beside
    them.
    """
    site, n = exact.site, len(exact.site.x)
    questions = site.questions
    asked = ladder.searched(questions, certified=True)
    columns: dict[str, Values] = {}
    if asked:
        from audit.verify.certificate import certified_radius, certify  # many modules
    for ball, sizes in asked.items():
        found = certify(
            divergence, site, torch.tensor(sizes, dtype=torch.float64), ball.p
        )
        bounds = dict(zip(sizes, _bounds(found, n, len(sizes)), strict=True))
        if ball == ladder.ball:
            rungs = [size for size in ladder.sizes if size in bounds]
            columns |= {at_size("certificate", size): bounds[size] for size in rungs}
        columns |= {
            certificate_name(label): bounds[attack.norm]
            for label, attack in questions.attacks.items()
            if isinstance(attack, Certified) and attack.ball == ball
        }
    if asked:
        ball = next(iter(asked))
        radius = certified_radius(divergence, site, questions.tau, ball.p)
        columns["certified_radius"] = _bounds(radius, n, 1)[0]
    unasked = Values.unmeasured(n, NOT_ASKED)
    names = (at_size("certificate", size) for size in ladder.sizes)
    return columns | {name: unasked for name in names if name not in columns}


def _bounds(found: Proven, n: int, count: int) -> list[Values]:
    """Return bounds as columns, one for each size."""
    if found.bound is None:
        return [Values.unmeasured(n, found.why)] * count
    every = torch.ones(n, dtype=torch.bool, device=found.bound.device)
    columns = found.bound.reshape(n, count).unbind(dim=1)
    return [values_of(column, None, {NOT_PROVEN: every}) for column in columns]


def _predicted(
    exact: Exact, local: LocalLaw, ladder: Ladder
) -> list[dict[str, Values]]:
    """Return each size's prediction, and what is true along its direction."""
    if not ladder.sizes:
        return []
    ball = ladder.ball
    direction = local.worst_of(ball)
    rows = torch.arange(len(direction), device=direction.device)
    steps = [_both_ways(exact, ladder, direction, size) for size in ladder.sizes]
    u = torch.cat(steps, dim=1)
    values, errors = (part.reshape(len(rows), -1, 2) for part in exact(rows, u))
    chosen = values
    if exact.fresh is not exact:
        chosen = exact.fresh(rows, u)[0].reshape(values.shape)
    worse = chosen.argmax(dim=2, keepdim=True)
    values, errors = (v.gather(2, worse).squeeze(2) for v in (values, errors))
    nowhere = direction.abs().sum(dim=1) == 0
    values = values.masked_fill(nowhere.unsqueeze(1), torch.nan)
    found = []
    for place, size in enumerate(ladder.sizes):
        predicted = local.expected(WorstCase(size, ball))
        assert predicted is not None  # a ball has one for every local law
        known = {at_size("predicted", size): _plain(predicted.value)}
        along, error = values[:, place], errors[:, place]
        why = {NO_DIRECTION: nowhere}
        known |= _with_error(at_size("along", size), along, error, why)
        found.append(known)
    return found


def _both_ways(exact: Exact, ladder: Ladder, direction: Tensor, size: float) -> Tensor:
    """Return steps of a size along ±v [n, 2, m], cut off where the valid range ends."""
    u = torch.stack([direction, -direction], dim=1) * size
    if ladder.bounds is None:
        return u
    low, high = (end.unsqueeze(1) for end in ladder.bounds.box(exact.site))
    return torch.maximum(torch.minimum(u, high), low)


def _foreseen(
    exact: Exact, local: LocalLaw, ladder: Ladder, ball: Ball, sizes: Tensor
) -> Tensor:
    """Return what the local law says of the better of ±v [n, S], within the range."""
    direction = local.worst_of(ball)
    rows = torch.arange(len(direction), device=direction.device)
    steps = [_both_ways(exact, ladder, direction, size) for size in sizes.tolist()]
    return torch.stack([local.at(rows, u).amax(dim=1) for u in steps], dim=1)


def _with_error(
    name: str,
    values: Tensor,
    errors: Tensor,
    reasons: Mapping[str, Tensor] | None = None,
) -> dict[str, Values]:
    """Return a column, and that of its standard errors where they are means."""
    found = {name: _plain(values, reasons)}
    if bool((errors > 0).any()):
        found[named(name, ERROR)] = _plain(errors, reasons)
    return found


def _plain(values: Tensor, reasons: Mapping[str, Tensor] | None = None) -> Values:
    said = {**(reasons or {}), NOT_RESOLVED: values.isnan()}
    return values_of(values, None, {**said, INFINITE: values.isinf()})
