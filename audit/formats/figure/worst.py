"""The figure of one of the worst inputs."""

from __future__ import annotations

from audit.formats import features
from audit.formats.figure.plot import Plot, Series
from audit.formats.figure.plots import first, lacks
from audit.formats.figure.portraits import MOST_BARS, portrait
from audit.ground.errors import ConfigError
from audit.reports.report import Report


def worst(report: Report, index: int | None = None) -> tuple[Plot, ...]:
    """Return one input, moved by its critical radius, and what is predicted of both.

    Where that is not known, the largest entries of its worst direction.
    """
    name, _ = first(report)
    listed = {one.index: one for one in report.worst}
    wanted = report.worst[0].index if index is None and report.worst else index
    if wanted not in listed:
        known = ", ".join(map(str, listed)) or "none"
        raise ConfigError(
            f"The worst direction of input {wanted} was asked for",
            f"The report lists those of the inputs {known}",
            "Choose one of them with --index, or scan with --index",
        )
    for one in report.portraits:
        if one.index == wanted and one.delta is not None:
            return portrait(report, one)
    found = listed[wanted].directions.get(name)
    if not found:
        raise lacks("worst", f"no worst direction of input {wanted}")
    entries = features.largest(report.data, found[0], MOST_BARS)
    places = [float(k) for k in range(len(entries))]
    values = [value for _, value in entries]
    labels = [label for label, _ in entries]
    bars = Series(f"input {wanted}", "bars", places, values, labels=labels)
    return (Plot("worst direction v", "", [bars]),)
