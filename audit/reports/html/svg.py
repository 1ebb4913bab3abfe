"""Pictures: small SVG drawings, without scripts, fonts or anything from elsewhere.

Colours come from the page's style sheet by class, so that light, dark and print agree.
Every figure has a title and a text alternative.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from audit.reports.text import number, printable

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 12, 40
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
    if size <= 0 or not math.isfinite(size):
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
    width: int = WIDTH
    height: int = HEIGHT
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

    def dots(self, points: Iterable[Point], class_: str) -> None:
        """Add dots as one path: a few bytes each."""
        steps = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
        if steps:
            self.add("path", d=steps, class_=class_)

    def rule(self, x: float, text: str, class_: str, drop: float = 0) -> None:
        """Add a named vertical line; its name stands on the side that has room."""
        self.line((x, TOP), (x, self.height - BOTTOM), class_)
        right = x < 0.7 * self.width
        place = (x + 3 if right else x - 3, TOP + 9 + drop)
        self.label(place, text, "tick" if right else "tick end")

    def label(self, place: Point, text: str, class_: str = "tick") -> None:
        """Add text; its anchor is set by its class."""
        self.add("text", text, x=place[0], y=place[1], class_=class_)

    def across(self, scale: Axis, name: str) -> None:
        """Draw the horizontal axis, with ticks and its name."""
        base = self.height - BOTTOM
        self.line((scale.start, base), (scale.stop, base), "axis")
        for value in scale.ticks():
            self.line((scale(value), base), (scale(value), base + 4), "axis")
            self.label((scale(value), base + 16), number(value), "tick middle")
        middle = (scale.start + scale.stop) / 2
        self.label((middle, self.height - 5), name, "name middle")

    def upright(self, scale: Axis, name: str) -> None:
        """Draw the vertical axis, with ticks and its name."""
        for value in scale.ticks(4):
            y = scale(value)
            self.line((LEFT, y), (self.width - RIGHT, y), "grid")
            self.label((LEFT - 6, y + 4), number(value), "tick end")
        middle = (scale.start + scale.stop) / 2
        turn = f"rotate(-90 12 {middle:.1f})"
        self.add("text", name, x=12, y=middle, class_="name middle", transform=turn)

    def markup(self) -> str:
        """Return the SVG element."""
        root = ElementTree.Element(
            "svg",
            {
                "viewBox": f"0 0 {self.width} {self.height}",
                "class": "small" if self.width < WIDTH else "large",
                "role": "img",
                "aria-label": printable(f"{self.title}. {self.description}"),
            },
        )
        ElementTree.SubElement(root, "title").text = printable(self.title)
        ElementTree.SubElement(root, "desc").text = printable(self.description)
        root.extend(self.parts)
        return ElementTree.tostring(root, encoding="unicode")


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _text(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
