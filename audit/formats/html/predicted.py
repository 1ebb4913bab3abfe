"""What a model says before and after: a curve, bars, a fan, or contours.

Dashed or hollow is the prediction at x, solid or filled the one at x + δ. Grids,
densities and quantiles are the report's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from audit.formats import classes
from audit.formats.html.svg import Axis, Drawing, axis
from audit.reports.portraits import Portrait, Prediction
from audit.reports.record import Number
from audit.reports.text import number, percent, shorten

WIDTH, HEIGHT = 300, 200
LEFT, RIGHT, TOP = 44, 10, 8
BASE = HEIGHT - 40
"""Where the horizontal axis is."""
NARROW = 16
"""More bars than that have no room for the name of each."""
ROWS = 8
"""More coordinates than that are a fan, not rows."""
BESIDE, MASS = 108, 44
"""Room for the names of classes, and for their masses."""
NAMED, MOST_NAMED, NAME_WIDTH = 24, 6, 14
"""Height of a class with a name, how many are drawn, and characters of a name."""
FAINT = 1e-3
"""Of the peak: what is lower at both ends of a curve is not drawn."""


def drawn(found: Portrait, names: Sequence[str] | None = None) -> Drawing | None:
    """Draw both predictions; None when the report does not have them.

    Args:
        found: with both.
        names: of the classes, where they are named.
    """
    if found.kind is None or found.before is None or found.after is None:
        return None
    if names and classes.of_classes(names, found):
        return _named(found, names)
    return _KINDS[found.kind](found, found.before, found.after)


def _drawing(found: Portrait, said: str, unit: str, height: int = HEIGHT) -> Drawing:
    return Drawing(
        "Prediction, before and after",
        f"Of input {found.index} (dashed or hollow) and moved (solid or filled). "
        f"{said}",
        unit,
        caption=said,
        width=WIDTH,
        height=height,
    )


def _finite(values: Sequence[Number]) -> list[float]:
    return [v for v in values if v is not None and math.isfinite(v)]


def _across(drawing: Drawing, x: Axis, name: str, base: float) -> None:
    """Draw a horizontal axis with two or three ticks and its name."""
    drawing.line((x.start, base), (x.stop, base), "axis")
    last = -math.inf
    for tick in x.ticks(4):
        if x(tick) - last >= 50 and x(tick) <= x.stop - 12:
            last = x(tick)
            drawing.line((last, base), (last, base + 4), "axis")
            drawing.label((last, base + 17), number(tick), "tick middle")
    drawing.label(((x.start + x.stop) / 2, base + 34), name, "name middle")


def _upright(drawing: Drawing, y: Axis, name: str) -> None:
    """Draw the top of an upright axis, and its name."""
    drawing.label((LEFT - 5, y(y.high) + 10), number(y.high, 2), "tick end")
    middle = (y.start + y.stop) / 2
    turn = f"rotate(-90 12 {middle:.1f})"
    drawing.add("text", name, x=12, y=middle, class_="name middle", transform=turn)


def _density(found: Portrait, before: Prediction, after: Prediction) -> Drawing:
    """Draw two curves, with the middle 90 %, the quartiles and the median below."""
    drawing = _drawing(found, _moves(found, before, after, 0), "density", HEIGHT + 26)
    grid = _finite(found.axes[0])
    curves = [[v or 0.0 for v in one.density or ()] for one in (before, after)]
    top = max(max(_finite(curve), default=1.0) for curve in curves) or 1.0
    shown = [k for k in range(len(grid)) if max(c[k] for c in curves) > FAINT * top]
    x = axis([grid[k] for k in shown] or grid, LEFT, WIDTH - RIGHT)
    y = Axis(0, top, BASE, TOP)
    _upright(drawing, y, "density")
    for curve, class_ in zip(curves, ("before", "after"), strict=True):
        points = [(x(grid[k]), y(curve[k])) for k in shown]
        if class_ == "after" and points:
            feet = [(points[0][0], y(0)), *points, (points[-1][0], y(0))]
            drawing.area(feet)
        drawing.curve(points, class_)
    _boxes(drawing, x, (before, after), 0, BASE + 8)
    _across(drawing, x, "θ", BASE + 26)
    return drawing


def _boxes(
    drawing: Drawing,
    x: Axis,
    laws: Sequence[Prediction],
    coordinate: int,
    top: float,
) -> None:
    """Draw the middle 90 % and 50 % of both laws, and a dot at the median."""
    for k, (law, kind) in enumerate(zip(laws, ("before", "after"), strict=True)):
        if law.quantiles is None:
            continue
        row = [values[coordinate] for values in law.quantiles]
        low, start, middle, stop, high = (x(v if v is not None else x.low) for v in row)
        y = top + 9 * k
        drawing.line((low, y), (high, y), kind)
        drawing.line((start, y), (stop, y), f"thick {kind}")
        drawing.dots([(middle, y)], "dot solid" if k else "dot soft")


def _moves(
    found: Portrait, before: Prediction, after: Prediction, coordinate: int
) -> str:
    """Say how the median and the outer quantiles of a coordinate move."""
    if before.quantiles is None or after.quantiles is None:
        return ""
    rows = [[q[coordinate] for q in law.quantiles or ()] for law in (before, after)]
    middle, (low, high) = len(found.levels) // 2, (found.levels[0], found.levels[-1])
    medians = " → ".join(number(row[middle]) for row in rows)
    ends = " → ".join(f"[{number(row[0])}, {number(row[-1])}]" for row in rows)
    return f"Median {medians}; {percent(low)} to {percent(high)}: {ends}"


def _masses(found: Portrait, before: Prediction, after: Prediction) -> Drawing:
    """Draw a hollow and a filled bar for each class or count."""
    names = [f"{value:g}" for value in _finite(found.axes[0])]
    masses = [[v or 0.0 for v in law.density or ()] for law in (before, after)]
    moves = [b - a for a, b in zip(*masses, strict=True)]
    order = sorted(range(len(names)), key=lambda k: -abs(moves[k]))[:3]
    what = "count" if found.how else "class"
    said = "; ".join(
        f"{what} {names[k]}: {percent(masses[0][k])} → {percent(masses[1][k])}"
        for k in order
    )
    drawing = _drawing(found, said, "probability")
    y = Axis(0, max(max(mass) for mass in masses) or 1.0, BASE, TOP)
    _upright(drawing, y, "probability")
    step = (WIDTH - RIGHT - LEFT) / len(names)
    every = 1 if len(names) <= NARROW else -(-len(names) // 6)
    for k, name in enumerate(names):
        left = LEFT + step * k
        for mass, class_, shift in zip(
            masses, ("hollow", "bar"), (0.08, 0.5), strict=True
        ):
            corner = (left + shift * step, y(mass[k]))
            drawing.rect(corner, 0.4 * step, y(0) - y(mass[k]), class_)
        if k % every == 0:
            drawing.label((left + step / 2, BASE + 17), name, "tick middle")
    drawing.line((LEFT, BASE), (WIDTH - RIGHT, BASE), "axis")
    drawing.label(((LEFT + WIDTH - RIGHT) / 2, BASE + 34), what, "name middle")
    return drawing


def _named(found: Portrait, names: Sequence[str]) -> Drawing:
    """Draw two lying bars for each class that moves most, beside its name."""
    rows = classes.moves(names, found)
    said = "; ".join(
        f"{name}: {percent(before)} → {percent(after)}"
        for name, before, after in rows[:3]
    )
    shown = rows[:MOST_NAMED]
    drawing = _drawing(found, said, "probability", 30 + NAMED * len(shown))
    x = Axis(0, max(max(row[1:]) for row in rows) or 1.0, BESIDE, WIDTH - MASS)
    for k, (name, *masses) in enumerate(shown):
        y = 6 + NAMED * k
        drawing.label((BESIDE - 6, y + 14), shorten(name, NAME_WIDTH), "tick end")
        for mass, class_, top in zip(masses, ("hollow", "bar"), (0, 9), strict=True):
            drawing.rect((x.start, y + top), x(mass) - x.start, 8, class_)
        drawing.label((WIDTH - MASS + 6, y + 14), percent(masses[1]), "tick")
    drawing.line((x.start, 2), (x.start, 4 + NAMED * len(shown)), "axis")
    middle = (x.start + x.stop) / 2
    drawing.label((middle, 22 + NAMED * len(shown)), "probability", "name middle")
    return drawing


def _quantiles(found: Portrait, before: Prediction, after: Prediction) -> Drawing:
    """Draw a pair of intervals for each coordinate, or a fan over many."""
    count = len((before.quantiles or [[]])[0])
    largest = max(range(count), key=lambda k: _shift(before, after, k))
    name = f"θ[{largest}]: " if count > 1 else ""
    said = name + _moves(found, before, after, largest)
    if count > ROWS:
        return _fan(found, before, after, said)
    drawing = _drawing(found, said, "values of θ", 56 + 28 * count)
    every = [v for law in (before, after) for q in law.quantiles or () for v in q]
    x = axis(_finite(every), LEFT, WIDTH - RIGHT)
    for k in range(count):
        top = 14 + 28 * k
        drawing.label((LEFT - 8, top + 8), f"θ[{k}]" if count > 1 else "θ", "tick end")
        _boxes(drawing, x, (before, after), k, top)
    _across(drawing, x, "values of θ", 14 + 28 * count)
    return drawing


def _shift(before: Prediction, after: Prediction, k: int) -> float:
    """Return the largest move of a quantile of a coordinate."""
    pairs = zip(before.quantiles or (), after.quantiles or (), strict=True)
    moves = [_finite((a[k], b[k])) for a, b in pairs]
    return max((abs(m[1] - m[0]) for m in moves if len(m) == 2), default=0.0)


def _fan(found: Portrait, before: Prediction, after: Prediction, said: str) -> Drawing:
    """Draw the outer quantiles as a band over the coordinates, the median in it."""
    drawing = _drawing(found, said, "values of θ")
    laws = [
        [[v if v is not None else 0.0 for v in q] for q in law.quantiles or ()]
        for law in (before, after)
    ]
    count = len(laws[0][0])
    x = Axis(0, count - 1, LEFT, WIDTH - RIGHT)
    y = axis(_finite([v for law in laws for q in law for v in q]), BASE, TOP)
    _upright(drawing, y, "values of θ")
    drawing.label((LEFT - 5, BASE + 4), number(y.low, 2), "tick end")
    for law, class_ in zip(laws, ("before", "after"), strict=True):
        low, middle, high = (
            [(x(k), y(v)) for k, v in enumerate(law[row])]
            for row in (0, len(law) // 2, -1)
        )
        if class_ == "after":
            drawing.area([*high, *reversed(low)])
        else:
            drawing.curve(low, class_)
            drawing.curve(high, class_)
        drawing.curve(middle, class_)
    _across(drawing, x, "coordinate of θ", BASE)
    return drawing


def _contour(found: Portrait, before: Prediction, after: Prediction) -> Drawing:
    """Draw the edges of the highest-density regions of both laws in the plane."""
    shares = " and ".join(percent(float(level)) for level in sorted(before.regions))
    said = f"Highest-density regions of {shares}. θ[0]: "
    said += _moves(found, before, after, 0)
    drawing = _drawing(found, said, "θ[0] and θ[1]")
    points = [
        point
        for law in (before, after)
        for lines in law.regions.values()
        for line in lines
        for point in line
    ]
    x = axis([a for a, _ in points] or [0.0], LEFT + 10, WIDTH - RIGHT - 4)
    y = axis([b for _, b in points] or [0.0], BASE - 4, TOP + 4)
    for value, shift in ((y.low, 0), (y.high, 10)):
        drawing.label((LEFT + 2, y(value) + shift), number(value), "tick end")
    middle = (BASE + TOP) / 2
    turn = f"rotate(-90 12 {middle:.1f})"
    drawing.add("text", "θ[1]", x=12, y=middle, class_="name middle", transform=turn)
    corner = (LEFT + 6, TOP)
    drawing.rect(corner, WIDTH - RIGHT - corner[0], BASE - TOP, "frame")
    for law, class_ in ((before, "before"), (after, "after")):
        for line in (line for lines in law.regions.values() for line in lines):
            drawing.curve([(x(a), y(b)) for a, b in line], class_)
    _across(drawing, x, "θ[0]", BASE)
    return drawing


_KINDS: dict[str, Callable[[Portrait, Prediction, Prediction], Drawing]] = {
    "density": _density,
    "masses": _masses,
    "quantiles": _quantiles,
    "contour": _contour,
}
