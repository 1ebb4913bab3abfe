"""The band between witness and certificate over ε, the prediction as a line in it."""

from __future__ import annotations

from audit.formats import sides
from audit.formats.html.figures import ACROSS, UPRIGHT
from audit.formats.html.svg import Axis, Drawing, Point, axis
from audit.reports.report import Report
from audit.reports.text import number


def band(report: Report, name: str) -> Drawing | None:
    """Draw what a perturbation of each size may do, in the median over the inputs."""
    divergence = report.divergences[name]
    below, above, predicted = ([*m.items()] for m in sides.medians(divergence))
    if len(below) < 2:
        return None
    drawing = Drawing(
        f"{name}: witness ≤ truth ≤ certificate",
        _description(below, above, predicted),
        divergence.unit,
    )
    every = [*below, *above, *predicted]
    x = axis([size for size, _ in every], *ACROSS, log=True)
    y = axis([value for _, value in every], *UPRIGHT, log=True)
    drawing.upright(y, f"{name} ({divergence.unit})")
    floor = _placed(below, x, y)
    if len(above) > 1:
        drawing.area([*floor[: len(above)], *reversed(_placed(above, x, y))])
    drawing.curve(floor, "thread")
    if len(predicted) > 1:
        drawing.curve(_placed(predicted, x, y), "mark")
    drawing.across(x, "norm of the perturbation, ε")
    return drawing


def _placed(points: list[Point], x: Axis, y: Axis) -> list[Point]:
    return [(x(size), y(value)) for size, value in points]


def _description(below: list[Point], above: list[Point], line: list[Point]) -> str:
    size, least = below[-1]
    said = f"Solid: the most that was found, {number(least)} at ε = {number(size)}"
    if line:
        said += f"; dashed: predicted, {number(line[-1][1])}"
    if above:
        said += f"; the band ends at the proven bound, {number(above[-1][1])} at ε = "
        said += number(above[-1][0])
    return said + ". Medians over the inputs"
