"""Numbers and names as a person reads them."""

from __future__ import annotations

import math

from audit.reports.record import Interval
from audit.reports.summaries import Bins

NOTHING, INFINITE = "–", "∞"
_BLOCKS = "▁▂▃▄▅▆▇█"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a few significant digits, a dash for None.

    0.0225, 4.5, 1 230, 12 300, 1.23e+06 and ∞ are how six of them look.
    """
    if value is None:
        return NOTHING
    if math.isinf(value):
        return INFINITE if value > 0 else f"−{INFINITE}"
    if 10**digits <= abs(value) < 1e6:
        scale = 10 ** (len(str(int(abs(value)))) - digits)
        return f"{round(value / scale) * scale:,}".replace(",", " ")
    return f"{value:.{digits}g}"


def percent(share: float | None) -> str:
    """Return a share as a percentage."""
    return NOTHING if share is None else f"{100 * share:.0f} %"


def interval(ends: Interval) -> str:
    """Return "[low, high]", or nothing when there is no interval."""
    return f"[{number(ends[0])}, {number(ends[1])}]" if ends else ""


def count(n: int, noun: str) -> str:
    """Return "1 input" or "3 inputs"."""
    return f"{n:,}".replace(",", " ") + f" {noun}{'' if n == 1 else 's'}"


def shorten(text: str, width: int) -> str:
    """Return text cut in its middle to at most `width` characters."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return text[: width - 1 - tail] + "…" + text[len(text) - tail :]


def sparkline(bins: Bins | None, width: int = 12) -> str:
    """Draw a histogram in `width` characters; an empty bin is a blank."""
    if bins is None:
        return ""
    if len(bins.counts) == 1:
        return "█"
    size = len(bins.counts) // width
    sums = [sum(bins.counts[i * size : (i + 1) * size]) for i in range(width)]
    top = max(sums)
    return "".join(
        _BLOCKS[round((len(_BLOCKS) - 1) * total / top)] if total else " "
        for total in sums
    )
