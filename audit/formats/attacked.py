"""What the top direction moves, and how the model does under attack, in rows and words.

The terminal, Markdown and the page show the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator

from audit.formats import features
from audit.reports.found import Attacked, Bounded, UnderAttack
from audit.reports.report import Report
from audit.reports.roles import UNIVERSAL, named
from audit.reports.summaries import Divergence
from audit.reports.text import NOTHING, count, number

ROLES = ("location", "scale", "shape", "weights")
_EXACT = 1e-6  # of an overlap: below, the parts are orthogonal


def header(found: UnderAttack) -> list[str]:
    """Return the columns of the table: what each row gives."""
    levels = [f"in {100 * (float(level)):.0f} %" for level in found.clean.coverage]
    right = ["accuracy"] if found.clean.accuracy is not None else []
    pit = ["PIT off"] if found.clean.pit else []
    return ["attack", "ε", "NLL", "loss", "95 % of the loss", *levels, *pit, *right]


def rows(found: UnderAttack) -> list[list[str]]:
    """Return a row for the clean inputs, and for each attack of each size."""
    return [_row(one, found) for one in (found.clean, *found.attacked)]


def _row(one: Attacked, found: UnderAttack) -> list[str]:
    size = NOTHING if one is found.clean else number(one.size)
    cells = [one.attack, size, number(one.nll.value), number(one.nll_loss.value)]
    cells += [interval(one.nll_loss)]
    cells += [f"{100 * share.value:.0f} %" for share in one.coverage.values()]
    if found.clean.pit:
        worst = max((pit.value for pit in one.pit), default=None)
        cells.append(number(worst))
    if one.accuracy is not None:
        cells.append(f"{100 * one.accuracy.value:.1f} %")
    return cells


def interval(found: Bounded) -> str:
    """Return "0.1 to 0.2"; a dash where there is none."""
    if found.ci95 is None:
        return NOTHING
    return " to ".join(map(number, found.ci95))


def caption(found: UnderAttack) -> str:
    """Say what the rows are of, and why a loss has no interval where it has none."""
    said = [
        f"θ '{found.key}' of {count(found.n, 'input')}, {found.draws} draws each",
        f"direction is ±ε v on the side that moves the law more ({found.divergence})",
        "noise has the root mean square norm ε",
        "in 90 %: share of θ inside the highest-density region of 90 %",
    ]
    if found.clean.pit:
        said.append(
            "PIT off: largest Kolmogorov distance of a coordinate's PIT to uniform"
        )
    if any(one.nll_loss.ci95 is None for one in found.attacked):
        said.append("no interval: so few inputs, or so long a tail, do not tell")
    return "; ".join(said)


def sentences(report: Report) -> list[str]:
    """Say what the worst directions move, and which one is worst for all inputs."""
    found = []
    for name in report.ranked:
        divergence = report.divergences[name]
        found += [f"{name}: {said}" for said in _moved(report, divergence)]
    return found


def cost(divergence: Divergence) -> str:
    """Say what the worst direction's cost is made of; "" where nobody can say."""
    summary = divergence.summary
    shares = {
        role: summary[f"{role}_share"].mean
        for role in ROLES
        if f"{role}_share" in summary
    }
    told = [
        f"{100 * share:.0f} % {role}"
        for role, share in shares.items()
        if share is not None
    ]
    if not told:
        return ""
    overlap = summary["role_overlap"]
    ends = [abs(end) for end in (overlap.min, overlap.max) if end is not None]
    exact = max(ends, default=0.0) < _EXACT
    how = "exact" if exact else "by substitution, in this order"
    return f"the worst direction's cost is on average {', '.join(told)} ({how})"


def _moved(report: Report, divergence: Divergence) -> Iterator[str]:
    summary, made = divergence.summary, cost(divergence)
    if made:
        yield made
    if divergence.coordinates is not None and divergence.coordinates.mean:
        mean = divergence.coordinates.mean
        order = sorted(range(len(mean)), key=lambda i: -(mean[i] or 0.0))[:3]
        largest = ", ".join(f"θ[{i}] {100 * (mean[i] or 0.0):.0f} %" for i in order)
        yield f"of {len(mean)} coordinates of θ it costs most in {largest}"
    inside = summary.get("principal_share")
    if inside is not None and inside.p50 is not None:
        yield (
            f"{100 * inside.p50:.0f} % of the worst direction (median) lies in the "
            "data's own principal space"
        )
    yield from _universal(report, divergence)


def _universal(report: Report, divergence: Divergence) -> Iterator[str]:
    found = divergence.universal
    if found is None:
        return
    if found.universality is None:
        yield f"no universal direction: {found.reason}"
        return
    largest = features.largest(report.data, found.direction, 3)
    along = ", ".join(f"{label} {value:+.2f}" for label, value in largest)
    costs = [
        f"{label} costs {number(mean)} {divergence.unit} with it"
        for label in found.signs
        if (mean := divergence.summary[named(label, UNIVERSAL)].mean) is not None
    ]
    end = f"; {'; '.join(costs)} on average" if costs else ""
    yield (
        f"one direction for all inputs reaches {100 * found.universality:.0f} % of "
        f"what each input's own does ({along}){end}"
    )
