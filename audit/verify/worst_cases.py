"""Worst cases of balls: predicted, along the worst direction, found, and bounded.

The columns of the two-sided table, and of the attacks `worst_case` and `certified`. A
witness is a lower bound on the maximum over the ball, a certificate an upper one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from audit.attacks.balls import Ball
from audit.attacks.worst import WorstCase
from audit.geometry.divergences import Divergence
from audit.linalg.intervals.means import Interval
from audit.measure.columns import NO_DIRECTION, NOT_RESOLVED, values_of
from audit.reports.roles import at_size
from audit.reports.values import Values
from audit.verify.attacks import Realised
from audit.verify.columns import INFINITE
from audit.verify.ladder import Ladder
from audit.verify.local import LocalLaw
from audit.verify.sites import Exact
from audit.verify.witness import Witness, ascend

_OWN = "certified"  # the label whose certificate needs no name


@dataclass(frozen=True)
class WorstCases:
    """What is known of the worst of some balls at n inputs.

    Args:
        columns: quantity -> [n].
        witnesses: by their norm, for every size that was searched.
    """

    columns: Mapping[str, Values] = field(default_factory=dict)
    witnesses: Mapping[Ball, Witness] = field(default_factory=dict)

    def realised(self, attack: WorstCase) -> Realised:
        """Return what was found at an attack's size."""
        found = self.witnesses[attack.ball]
        place = int((found.size[0] == attack.norm).nonzero()[0])
        value, error = found.value[:, place], found.error[:, place]
        interval = Interval(value, value, value, torch.zeros_like(value))
        interval = interval.widened(error).at_least_zero()
        return Realised(interval, interval, torch.ones_like(value, dtype=torch.bool))


def worst_cases(
    divergence: Divergence, exact: Exact, local: LocalLaw, ladder: Ladder
) -> WorstCases:
    """Return what is known of the worst of the balls that were asked for.

    Args:
        divergence: whose.
        exact: its values at a site.
        local: its local law there.
        ladder: the sizes, beside those of the attacks.
    """
    questions = exact.site.questions
    rungs = ladder.rungs(divergence, exact, local)
    witnesses = {
        ball: ascend(exact, local, local.worst.new_tensor(sizes), ball.p, ladder.bounds)
        for ball, sizes in ladder.searched(questions, rungs, certified=False).items()
    }
    columns: dict[str, Values] = {}
    for size in rungs:
        columns |= _predicted(exact, local, ladder.ball, size)
        place = int((witnesses[ladder.ball].size[0] == size).nonzero()[0])
        found = witnesses[ladder.ball].value[:, place]
        columns[at_size("witness", size)] = _plain(found)
    return WorstCases(columns, witnesses)


def _predicted(
    exact: Exact, local: LocalLaw, ball: Ball, size: float
) -> dict[str, Values]:
    """Return the prediction at a size, and what is true along its direction."""
    predicted = local.expected(WorstCase(size, ball))
    assert predicted is not None  # a ball has one for every local law
    direction = local.worst_of(ball)
    rows = torch.arange(len(direction), device=direction.device)
    u = torch.stack([direction, -direction], dim=1) * size
    along = exact(rows, u)[0].amax(dim=1)
    nowhere = direction.abs().sum(dim=1) == 0
    along = along.masked_fill(nowhere, torch.nan)
    return {
        at_size("predicted", size): _plain(predicted.value),
        at_size("along", size): _plain(along, {NO_DIRECTION: nowhere}),
    }


def _plain(values: Tensor, reasons: Mapping[str, Tensor] | None = None) -> Values:
    said = {**(reasons or {}), NOT_RESOLVED: values.isnan()}
    return values_of(values, None, {**said, INFINITE: values.isinf()})
