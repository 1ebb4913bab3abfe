"""The two-sided table: at each size ε, what is below the truth and what is above it.

At the checked inputs, for each ε of `--sizes`: the second-order prediction, the exact
divergence on the worse of ±v, the witness (the most that an ascent found, below the
truth) and the certificate (a proven bound, above it). Of each the median, and the share
of inputs where it reaches τ; an input that stands for others weighs as many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from audit.reports.roles import at_size, sized
from audit.reports.sampling import Sample
from audit.reports.series import Series, Table
from audit.reports.summaries import Rung, Side
from audit.reports.values import Values

SIDES = ("predicted", "along", "witness", "certificate")
"""From the least to the most that a perturbation of norm ε may do, if all is well."""


@dataclass(frozen=True)
class Asked:
    """What the table is of: a norm (2, inf or 1), and τ."""

    norm: str
    tau: float


def two_sided(
    columns: Table,
    medians: Mapping[str, float | None],
    sample: Sample,
    asked: Asked,
) -> list[Rung]:
    """Return a rung for each size among some columns, ascending.

    Args:
        columns: quantity -> [N].
        medians: quantity -> its median over all inputs.
        sample: the inputs that were checked.
        asked: the norm, and the τ that shares are of.
    """
    sizes = {found[1] for found in map(sized, columns) if found and found[0] in SIDES}
    return [
        Rung.model_validate(
            {"size": size, "norm": asked.norm}
            | {
                side: _side(columns[name], medians[name], sample, asked.tau)
                for side in SIDES
                if (name := at_size(side, size)) in columns
            }
        )
        for size in sorted(sizes)
    ]


def _side(column: Series, median: float | None, sample: Sample, tau: float) -> Side:
    checked = column.take(sample.places)
    known, reason = ~checked.missing, "; ".join(_reasons(checked)) or None
    weights = sample.weights[known]
    if not known.any():
        return Side(n=0, reason=reason)
    reached = checked.numbers[known] >= tau
    return Side(
        n=int(known.sum()),
        p50=median,
        reaching=float(np.round(weights @ reached / weights.sum(), 12)),
        reason=reason,
    )


def _reasons(checked: Values) -> list[str]:
    """Return why some of the checked inputs have no value."""
    found = checked.explained().items()
    return [why for why, rows in found if (rows & checked.missing).any()]
