"""HTML: one self-contained page, without scripts and without the network."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, Template
from markupsafe import Markup

from audit.config.options import OPTIONS, POSITIONAL, flag_names
from audit.formats import attacked, evidence, features, reading, trace_bounds, verdicts
from audit.formats.answers import LIMIT, answers
from audit.formats.html import directions, figures, spectrum, two_sided
from audit.formats.html.cards import cards
from audit.formats.html.svg import Drawing
from audit.formats.html.under_attack import curves
from audit.ground.printable import printable
from audit.reports.doubts import CRITICAL
from audit.reports.found import UnderAttack
from audit.reports.identity import asked
from audit.reports.judged import Check
from audit.reports.quantities import SHOWN, describe
from audit.reports.report import Report
from audit.reports.roles import is_detail
from audit.reports.text import NOTHING, count, interval, number

MOST_LINES = 50


def render(report: Report) -> str:
    """Return the report as one HTML page, below 500 KB for any number of inputs."""
    return (
        _template().render(
            report=report,
            plot=_plot,
            statistics=("p05", "median", "mean", "p95", "max"),
            model=report.model.files[0].path if report.model.files else "model",
            facts=_facts(report),
            verdict=verdicts.answer(report),
            headline=reading.headline(report),
            answers=[one for one in answers(report) if one[0] != LIMIT],
            warnings=[warning.message for warning in report.warnings[:MOST_LINES]],
            glance=[drawing for drawing in _glance(report) if drawing is not None],
            histograms=list(_histograms(report)),
            tables=[(name, list(_rows(report, name))) for name in report.ranked],
            cards=list(cards(report)) if report.ranked else [],
            plots=[drawing for drawing in _plots(report) if drawing is not None],
            why=[*_chains(report), *filter(None, [trace_bounds.comparison(report)])],
            notes=[(title, lines) for title, lines in _notes(report) if lines],
            command=command(report),
        )
        + "\n"
    )


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, trim_blocks=True)
    environment.finalize = lambda v: v if isinstance(v, Markup) else printable(v)
    environment.filters |= {"number": number, "interval": interval, "beyond": _beyond}
    environment.filters |= {"said": verdicts.check_line}
    environment.filters |= {"set_by": verdicts.set_by, "outcome": verdicts.outcome}
    page = files("audit.formats.html").joinpath("page.html.jinja")
    return environment.from_string(page.read_text(encoding="utf-8"))


def command(report: Report) -> str:
    """Return the command line that measures this again."""
    words = ["robaudit", "scan"]
    words += [str(report.config[name].value) for name in POSITIONAL]
    for name, value in asked(report).items():
        if name in POSITIONAL or OPTIONS[name].file_only:
            continue
        flag = flag_names(name)[-1]
        if isinstance(value, dict):
            for key, item in value.items():
                words += [flag, f"{key}={item}"]
        elif isinstance(value, bool):
            words += [flag] if value else []
        else:
            for item in value if isinstance(value, list) else [value]:
                words += [flag, str(item)]
    return shlex.join(words)


@dataclass(frozen=True)
class _Row:
    name: str
    values: list[float | None]
    unit: str
    reading: str


def _plot(drawing: Drawing) -> Markup:
    """Return a figure; the drawing has escaped its own text."""
    figure = Markup("<figure><b>{}</b>{}<figcaption>{}.</figcaption></figure>")
    return figure.format(
        printable(drawing.title),
        Markup(drawing.markup()),
        printable(drawing.caption or drawing.description),
    )


def _facts(report: Report) -> str:
    outputs = ", ".join(f"{n}={text}" for n, text in report.model.parameters.items())
    return (
        f"{report.model.law}({outputs}) on {report.data.source}: "
        f"{report.data.n_audited} of {count(report.data.n_total, 'input')} audited, "
        f"{report.data.n_skipped} skipped"
    )


def _line(found: UnderAttack, row: list[str]) -> str:
    """Return a row of the table under attack as words."""
    titles = attacked.header(found)[1:]
    told = (f"{title} {cell}" for title, cell in zip(titles, row[1:], strict=True))
    return f"{row[0]}: {', '.join(told)}"


def _beyond(check: Check) -> str:
    if not check.offenders:
        return NOTHING
    shown = ", ".join(map(str, check.offenders))
    return f"{check.n_offending}: {shown}" if check.n_offending else shown


def _glance(report: Report) -> Iterator[Drawing | None]:
    """Yield how far the inputs may be pushed, and what is known on the way."""
    name = report.ranked[0] if report.ranked else None
    if name is not None:
        summary = report.divergences[name].summary
        radius = CRITICAL if CRITICAL in summary else "radius"
        if radius in summary:
            yield figures.histogram(name, radius, summary[radius], report.checks)
        yield two_sided.band(report, name)


def _histograms(report: Report) -> Iterator[Drawing]:
    """Yield the other distributions: every divergence's, but for the first radius."""
    for name in report.ranked:
        summary = report.divergences[name].summary
        attack = next(iter(report.attacks), "")
        wanted = [CRITICAL, "radius", "eigenvalue", attack]
        shown = [quantity for quantity in wanted if quantity in summary]
        for quantity in shown[name == report.ranked[0] :]:
            found = figures.histogram(name, quantity, summary[quantity], report.checks)
            if found is not None:
                yield found


def _rows(report: Report, name: str) -> Iterator[_Row]:
    divergence, labels = report.divergences[name], report.attacks
    for quantity in reading.quantity_order(report, divergence):
        if not is_detail(quantity):
            summary, row = divergence.summary[quantity], describe(quantity, labels)
            values = [getattr(summary, statistic) for statistic in SHOWN]
            said = [f"{line}." for line in reading.counts(report, name, [quantity])]
            meaning = " ".join([*said, row.reading if row else ""])
            yield _Row(quantity, values, summary.unit, meaning)


def _plots(report: Report) -> Iterator[Drawing | None]:
    for name in report.ranked:
        yield figures.chain(report, name)
        for label in report.attacks:
            yield figures.validity(report, name, label)
        if name != report.ranked[0]:
            yield two_sided.band(report, name)
        yield spectrum.band(report, name)
        yield directions.share_of_features(report, name)
    yield from curves(report)
    if len(report.ranked) > 1:
        yield figures.against(report, *report.ranked[:2])


def _chains(report: Report) -> Iterator[str]:
    for name in report.ranked:
        chain = trace_bounds.decomposition(report, name)
        if chain:
            yield f"{name}: {chain}."
        moved = features.sentence(report, name)
        if moved:
            yield f"{moved}."


def _notes(report: Report) -> Iterator[tuple[str, list[Any]]]:
    yield "Predicted and realised", evidence.verification(report)
    yield "What moved", attacked.sentences(report)
    if report.under_attack is not None:
        found = report.under_attack
        said = [_line(found, row) for row in attacked.rows(found)]
        yield "Under attack", [*said, attacked.caption(found), *found.notes]
    yield "How it was estimated", evidence.estimation(report)
    skipped = [f"input {s.index}: {s.reason}" for s in report.skipped[:MOST_LINES]]
    if len(report.skipped) > MOST_LINES:
        skipped.append(f"and {len(report.skipped) - MOST_LINES} more")
    yield "Skipped", skipped
