"""The curves under attack: likelihood lost, and coverage, over the size of δ."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from audit.formats.html.figures import ACROSS, UPRIGHT
from audit.formats.html.svg import Drawing, axis
from audit.reports.found import Attacked, Bounded, UnderAttack
from audit.reports.report import Report
from audit.reports.text import count

LEVEL = "0.9"
Pick = Callable[[Attacked], Bounded]


def curves(report: Report) -> Iterator[Drawing]:
    """Yield the figures of the data's θ under attack, if it was asked for."""
    found = report.under_attack
    if found is None or len({one.size for one in found.attacked}) < 2:
        return
    loss = Drawing(
        "Likelihood lost under attack",
        f"Mean of ln q(θ|x) − ln q(θ|x + δ) over {count(found.n, 'input')} with its "
        f"95 % interval, for {_names(found)}",
        "nats",
    )
    yield from _drawn(loss, found, lambda one: one.nll_loss, "loss (nats)", [0.0])
    inside = Drawing(
        "Coverage under attack",
        f"Share of {count(found.n, 'input')} whose θ is in the highest-density region "
        f"of 90 % (dashed), with Clopper and Pearson's 95 % interval, for "
        f"{_names(found)}",
        "share of inputs",
    )
    marks = [0.0, 1.0]
    yield from _drawn(inside, found, lambda one: one.coverage[LEVEL], "inside", marks)


def _names(found: UnderAttack) -> str:
    return ", ".join(dict.fromkeys(one.attack for one in found.attacked))


def _drawn(
    drawing: Drawing, found: UnderAttack, pick: Pick, name: str, marks: list[float]
) -> Iterator[Drawing]:
    """Yield the drawing with a line and a band for each attack; none if all is ∞."""
    shown = [one for one in found.attacked if math.isfinite(pick(one).value)]
    if len({one.size for one in shown}) < 2:
        return
    ends = [end for one in shown for end in (pick(one).value, *(pick(one).ci95 or ()))]
    x = axis([one.size for one in shown], *ACROSS, log=True)
    y = axis([*ends, *marks], *UPRIGHT)
    drawing.upright(y, name)
    if len(marks) > 1:
        level = y(float(LEVEL))
        drawing.line((x(x.low), level), (x(x.high), level), "mark")
    for attack in dict.fromkeys(one.attack for one in shown):
        own = sorted((o for o in shown if o.attack == attack), key=lambda o: o.size)
        banded = [(x(one.size), ci) for one in own if (ci := pick(one).ci95)]
        top = [(place, y(ci[1])) for place, ci in banded]
        low = [(place, y(ci[0])) for place, ci in reversed(banded)]
        if len(banded) > 1:
            drawing.area([*top, *low])
        line = [(x(one.size), y(pick(one).value)) for one in own]
        drawing.curve(line, "thread")
        drawing.label((line[-1][0] - 4, line[-1][1] - 4), attack, "tick end")
    drawing.across(x, "size of δ")
    yield drawing
