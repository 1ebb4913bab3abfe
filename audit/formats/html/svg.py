"""Pictures: small SVG drawings, without scripts, fonts or anything from elsewhere.

Colours come from the page's style sheet by class, so that light, dark and print agree.
Every figure has a title and a text alternative.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from audit.ground.printable import printable
from audit.reports.text import number

WIDTH, HEIGHT = 480, 230
LEFT, RIGHT, TOP, BOTTOM = 84, 34, 10, 46
ROW = 18
"""The height of a line of text above a plot."""
APART_ACROSS, APART_UPRIGHT = 62, 20
"""Pixels that the names of two ticks need, on a phone too."""
Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """From values to pixels, on a linear or log scale."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value, inside the axis."""
        low, high = self._spread(self.low), self._spread(self.high)
        share = (self._spread(value) - low) / ((high - low) or 1.0)
        return self.start + min(max(share, 0.0), 1.0) * (self.stop - self.start)

    def ticks(self, wanted: int = 5) -> list[float]:
        """Return round values along the axis."""
        if self.log:
            return _log_ticks(self.low, self.high, wanted)
        step = _round_step((self.high - self.low) / wanted)
        count = math.floor((self.high - self.low) / step + 1e-9)
        first_tick = math.ceil(self.low / step - 1e-9) * step
        found = [first_tick + k * step for k in range(count + 1)]
        return [value for value in found if value <= self.high + 1e-9 * step]

    def _spread(self, value: float) -> float:
        return math.log(max(value, 1e-300)) if self.log else value


def _log_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Return powers of ten, fewer or with steps between them, three at the least."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for every in range(max(1, math.ceil((last - first) / wanted)), 0, -1):
        tens = [10.0**power for power in range(first, last + 1) if power % every == 0]
        found = [ten for ten in tens if low <= ten <= high]
        if len(found) >= 3:
            return found
    for factors in ((1, 3), (1, 2, 5), range(1, 10)):
        found = [f * ten for ten in tens for f in factors if low <= f * ten <= high]
        if len(found) >= 3:
            return found
    return [low, high]


def _round_step(size: float) -> float:
    if size <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(size))
    return power * next(f for f in (1.0, 2.0, 5.0, 10.0) if f * power >= 0.999 * size)


def axis(values: Iterable[float], start: float, stop: float, log: bool = False) -> Axis:
    """Return an axis that holds all values; a single value gets some room."""
    found = list(values)
    low, high = min(found), max(found)
    if low == high:
        room = abs(low) / 2 or 1.0
        low, high = (low / 2, high * 2) if log else (low - room, high + room)
    return Axis(low, high, start, stop, log)


@dataclass
class Drawing:
    """An SVG picture under construction."""

    title: str
    description: str
    unit: str = ""
    """What the numbers in it are counted in."""
    width: int = WIDTH
    height: int = HEIGHT
    caption: str = ""
    """What stands below it, where that is not the whole description."""
    parts: list[ElementTree.Element] = field(default_factory=list)

    def add(self, tag: str, text: str = "", **attributes: object) -> None:
        """Add an element; `class_` is the attribute class, `_` stands for `-`."""
        names = {
            name.rstrip("_").replace("_", "-"): _text(value)
            for name, value in attributes.items()
        }
        element = ElementTree.Element(tag, names)
        element.text = printable(text) or None
        self.parts.append(element)

    def line(self, start: Point, stop: Point, class_: str) -> None:
        """Add a straight line."""
        self.add("path", d=_path([start, stop]), class_=class_)

    def curve(self, points: Sequence[Point], class_: str) -> None:
        """Add a line through points."""
        self.add("path", d=_path(points), class_=class_)

    def area(self, points: Sequence[Point]) -> None:
        """Fill the polygon through points."""
        self.add("path", d=f"{_path(points)}Z", class_="band")

    def rect(self, corner: Point, width: float, height: float, class_: str) -> None:
        """Add a rectangle by its upper left corner."""
        x, y = corner
        self.add("rect", x=x, y=y, width=width, height=height, class_=class_)

    def dots(self, points: Iterable[Point], class_: str) -> None:
        """Add dots as one path: a few bytes each."""
        steps = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
        if steps:
            self.add("path", d=steps, class_=class_)

    def rule(self, x: float, text: str, class_: str, row: int, right: bool) -> None:
        """Add a vertical line whose name stands above the plot, on one side of it."""
        top = TOP + ROW * row
        self.line((x, top), (x, self.height - BOTTOM), class_)
        place = (x + 4 if right else x - 4, top + 11)
        self.label(place, text, "rule" if right else "rule end")

    def label(self, place: Point, text: str, class_: str = "tick") -> None:
        """Add text; its anchor is set by its class."""
        self.add("text", text, x=place[0], y=place[1], class_=class_)

    def across(self, scale: Axis, name: str, whole: bool = False) -> None:
        """Draw the horizontal axis, with ticks (at whole numbers) and its name."""
        base = self.height - BOTTOM
        self.line((scale.start, base), (scale.stop, base), "axis")
        ticks = [tick for tick in scale.ticks() if not whole or tick == round(tick)]
        for x, value in _apart(scale, ticks, APART_ACROSS):
            self.line((x, base), (x, base + 4), "axis")
            self.label((x, base + 19), _short(value), "tick middle")
        middle = (scale.start + scale.stop) / 2
        self.label((middle, self.height - 6), name, "name middle")

    def upright(self, scale: Axis, name: str) -> None:
        """Draw the vertical axis, with ticks and its name."""
        for y, value in _apart(scale, scale.ticks(4), APART_UPRIGHT):
            self.line((LEFT, y), (self.width - RIGHT, y), "grid")
            self.label((LEFT - 6, y + 4), _short(value), "tick end")
        middle = (scale.start + scale.stop) / 2
        turn = f"rotate(-90 13 {middle:.1f})"
        self.add("text", name, x=13, y=middle, class_="name middle", transform=turn)

    def markup(self) -> str:
        """Return the SVG element."""
        root = ElementTree.Element(
            "svg",
            {
                "viewBox": f"0 0 {self.width} {self.height}",
                "class": "small" if self.width < WIDTH else "large",
                "role": "img",
                "data-unit": printable(self.unit),
                "aria-label": printable(
                    f"{self.title}, in {self.unit}. {self.description}"
                ),
            },
        )
        ElementTree.SubElement(root, "title").text = printable(self.title)
        ElementTree.SubElement(root, "desc").text = printable(self.description)
        root.extend(self.parts)
        return ElementTree.tostring(root, encoding="unicode")


def _short(value: float) -> str:
    """Return the name of a tick: 150k and 5.8e-4 have room, 150 000 has none."""
    if 0 < abs(value) < 1e-3:
        digits, _, power = f"{value:.1e}".partition("e")
        return f"{digits.removesuffix('.0')}e{int(power)}"
    return f"{value / 1000:g}k" if 1e4 <= abs(value) < 1e6 else number(value)


def _apart(
    scale: Axis, values: Iterable[float], gap: float
) -> Iterator[tuple[float, float]]:
    """Return (pixel, value) of ticks whose names do not touch."""
    last = -math.inf
    for place, value in ((scale(value), value) for value in values):
        if abs(place - last) >= gap:
            yield place, value
            last = place


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _text(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
