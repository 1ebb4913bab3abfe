"""What each kind of figure shows, read from a report."""

from __future__ import annotations

import math

from audit.formats import sides
from audit.formats.figure.plot import Mark, Plot, Series
from audit.ground.errors import ConfigError
from audit.reports.doubts import CRITICAL
from audit.reports.report import Report
from audit.reports.summaries import Divergence

LEAST = 1e-12  # of the largest eigenvalue: rounding


def radius(report: Report, _: int | None = None) -> Plot:
    """Return how far each input can be pushed, p05 and the limits marked."""
    name, divergence = first(report)
    summary = divergence.summary
    quantity = CRITICAL if CRITICAL in summary else "radius"
    if quantity not in summary or summary[quantity].histogram is None:
        raise lacks("radius", f"no spread of the radius of {name}")
    found = summary[quantity]
    bins = found.histogram
    assert bins is not None
    marks = [("p05", found.p05), ("median", found.p50)]
    marks += [
        (f"limit {check.op} {check.limit:g}", check.limit)
        for check in report.checks
        if check.key.startswith(f"{name}.{quantity}.")
    ]
    counts = [float(count) for count in bins.counts]
    return Plot(
        f"{quantity.replace('_', ' ')} ({found.unit})",
        "inputs",
        [Series("", "steps", bins.edges, counts)],
        [Mark(word, x) for word, x in marks if x is not None and math.isfinite(x)],
        "x" if bins.scale == "log" else "",
    )


def band(report: Report, _: int | None = None) -> Plot:
    """Return witness, prediction and certificate over ε, medians over the inputs."""
    name, divergence = first(report)
    below, above, predicted = sides.medians(divergence)
    if len(below) < 2:
        raise lacks("band", "no witnesses at two sizes or more (see --sizes)")
    shared = [size for size in below if size in above]
    series = [Series("witness", "line", [*below], [*below.values()])]
    if len(shared) > 1:
        ends = [below[size] for size in shared], [above[size] for size in shared]
        series.insert(0, Series("to certificate", "band", shared, *ends))
    if len(predicted) > 1:
        series.append(
            Series("second order", "dashed", [*predicted], [*predicted.values()])
        )
    return Plot("norm ε", f"{name} ({divergence.unit})", series, logs="xy")


def spectrum(report: Report, _: int | None = None) -> Plot:
    """Return the leading eigenvalues: the median in the band of the middle 90 %."""
    name, divergence = first(report)
    found = divergence.spectrum
    if found is None:
        raise lacks("spectrum", f"no eigenvalues of {name}")
    rows = zip(found.p05, found.p50, found.p95, strict=True)
    kept = []
    for low, middle, high in rows:
        ends = [end or 0.0 for end in (low, middle, high)]
        if not (ends[1] > 0 and ends[2] < math.inf):
            break
        kept.append(ends)
    if len(kept) < 2:
        raise lacks("spectrum", f"fewer than two positive eigenvalues of {name}")
    floor = LEAST * max(high for _, _, high in kept)
    ranks = [float(k) for k in range(1, len(kept) + 1)]
    lows = [max(low, floor) for low, _, _ in kept]
    highs = [max(high, floor) for _, _, high in kept]
    middles = [max(middle, floor) for _, middle, _ in kept]
    return Plot(
        "rank of the direction",
        f"eigenvalue ({divergence.unit}/δ²)",
        [
            Series("p05 to p95", "band", ranks, lows, highs),
            Series("median", "line", ranks, middles),
        ],
        logs="y",
        ranks=True,
    )


def compare(report: Report, _: int | None = None) -> Plot:
    """Return the top eigenvalues of two divergences against each other."""
    if len(report.ranked) < 2 or report.inputs is None:
        raise lacks("compare", "no second divergence input by input")
    names = report.ranked[:2]
    columns = [report.inputs.columns[name].get("eigenvalue", []) for name in names]
    pairs = [
        (a, b)
        for a, b in zip(*columns, strict=True)
        if a and b and min(a, b) > 0 and max(a, b) < math.inf
    ]
    if not pairs:
        raise lacks("compare", "no input with both eigenvalues")
    x, y = (f"{n} ({report.divergences[n].unit}/δ²)" for n in names)
    dots = Series("", "dots", [a for a, _ in pairs], [b for _, b in pairs])
    return Plot(x, y, [dots], logs="xy")


def first(report: Report) -> tuple[str, Divergence]:
    """Return the divergence that a figure is of.

    Raises:
        ConfigError: none was measured.
    """
    if not report.ranked:
        raise lacks("radius", "no divergence was measured")
    return report.ranked[0], report.divergences[report.ranked[0]]


def lacks(kind: str, what: str) -> ConfigError:
    """Return the error of a figure that a report does not hold."""
    return ConfigError(
        f"The figure '{kind}' was asked for, and the report has {what}",
        "Expected a report that holds what is drawn",
        "Choose another with --figure: radius, band, worst, spectrum or compare",
    )
