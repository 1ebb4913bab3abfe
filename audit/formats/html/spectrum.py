"""The leading eigenvalues over all inputs, as a band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile

from audit.formats.html.figures import ACROSS, UPRIGHT
from audit.formats.html.svg import Axis, Drawing, axis
from audit.reports.report import Report
from audit.reports.summaries import Divergence
from audit.reports.text import count


def band(report: Report, name: str) -> Drawing | None:
    """Draw the band of the leading eigenvalues over all inputs: p05, median, p95."""
    found = report.divergences[name].spectrum
    if found is None:
        return None
    low, middle, high = map(_positive, (found.p05, found.p50, found.p95))
    if len(high) < 2:
        return None
    drawing = _empty(report.divergences[name], name, len(high), found.n)
    x = Axis(1, len(high), *ACROSS)
    y = axis(_decades([*low, *middle, *high]), *UPRIGHT, log=True)
    top, line = ([(x(k + 1), y(v)) for k, v in enumerate(e)] for e in (high, middle))
    floor = [*low, *[y.low] * (len(high) - len(low))]
    below = [(x(k + 1), y(v)) for k, v in enumerate(floor)]
    drawing.area([*top, *reversed(below)])
    drawing.upright(y, f"eigenvalue ({drawing.unit})")
    drawing.curve(line, "thread")
    drawing.across(x, "rank of the direction", whole=True)
    return drawing


def _empty(divergence: Divergence, name: str, leading: int, n: int) -> Drawing:
    is_sampled = divergence.estimator == "monte_carlo"
    bias = ", of a sampled G and so biased apart" if is_sampled else ""
    return Drawing(
        f"{name} spectrum",
        f"Leading {leading} eigenvalues of {count(n, 'input')}{bias}: the median in "
        "the band of the middle 90 %. A steep line is one direction that carries the "
        "damage",
        f"{divergence.unit}/δ²",
    )


def _positive(values: Sequence[float | None]) -> list[float]:
    """Return the leading values that are positive: a log scale has no other place.

    Nor has it one for ∞, which is left out with all after it.
    """
    return list(takewhile(lambda v: 0 < v < math.inf, (v or 0.0 for v in values)))


def _decades(values: list[float]) -> list[float]:
    """Drop what lies more than twelve decades below the largest: rounding."""
    return [v for v in values if v >= 1e-12 * max(values)]
