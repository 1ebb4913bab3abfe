"""The checks, in the order in which they are made and shown: a row for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from audit.verify.selftest import (
    charts,
    heads,
    limits,
    maps,
    members,
    precision,
    repeats,
    residuals,
    rows,
    scores,
)
from audit.verify.selftest.finding import Finding
from audit.verify.selftest.subject import Subject

GATES = "gates"
"""The name of the first check, which opening the model makes."""


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        run: makes it.
        title: what has to hold, in a few words.
        short: whether it is cheap enough for every scan.
    """

    run: Callable[[Subject], Finding]
    title: str
    short: bool = False


FILE = {
    repeats.NAME: Check(repeats.runs_twice, "equal calls, equal outputs", True),
    rows.NAME: Check(rows.rows_alone, "f(x)[i] = f(x[i])"),
    members.MEMBERS: Check(members.members, "outputs are parameters of the law", True),
    members.LOGITS: Check(
        members.probabilities_as_logits, "logits are no probabilities", True
    ),
}
"""What can be asked of a file whose gates are closed."""

CHECKS = FILE | {
    residuals.NAME: Check(residuals.residuals, "θ of the data fit the law as read"),
    precision.NAME: Check(
        precision.float32_against_float64, "float32 agrees with float64"
    ),
    charts.NAME: Check(
        charts.rotation_and_scaling, "turned and stretched x, the same eigenvalues"
    ),
    heads.NAME: Check(heads.other_parameterisation, "another head, the same F_x", True),
    scores.NAME: Check(scores.fisher_against_scores, "closed form = E[score scoreᵀ]"),
    maps.NAME: Check(
        maps.transport_against_quantiles, "transport tensor = that of quantiles"
    ),
    limits.NAME: Check(limits.exact_divergence, "D(x, x ± εv) / c ε² λ → 1", True),
}
