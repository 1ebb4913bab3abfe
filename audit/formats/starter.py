"""A first `robaudit.yaml`: every option with its meaning, and limits from a report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import yaml

from audit.config import ScanConfig
from audit.config.options import OPTIONS
from audit.ground.errors import ConfigError
from audit.reports.doubts import CRITICAL, contradiction, doubt
from audit.reports.identity import asked, settings
from audit.reports.report import Report
from audit.reports.roles import REALISED, named

_HEAD = """\
# Settings of robaudit. The command line and ROBAUDIT_* variables win over this file.
# `robaudit explain NAME` explains every quantity; `robaudit schema config` is the
# JSON Schema of this file. Several scans: what differs goes under `scans:`, by name.
"""


_NOT_KEPT = (
    "baseline",
    "max_increase",
    "max_decrease",
    "waivers",
    "exit_zero",
    "accept_unverified",
)


def starter(report: Report | None = None, margin: float = 0.25) -> str:
    """Return a commented configuration file.

    Args:
        report: the scan to repeat; its settings are set, and its numbers give limits.
        margin: how much worse than the report a number may be, as a share.
    """
    given = _given(report, margin) if report else {}
    return _HEAD + "\n".join(_lines(given)) + "\n"


def read_margin(text: str) -> float:
    """Read "25%" or "0.25" as a share.

    Raises:
        ConfigError: it is neither.
    """
    try:
        share = float(text.rstrip("% ")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share < 1:
        raise ConfigError(
            f"--margin is {text}",
            "Expected a share, 0% to 99%",
            "Write it as --margin 25%",
        )
    return share


def _given(report: Report, margin: float) -> dict[str, Any]:
    """Return the options a report sets, and limits on its numbers."""
    kept = {n: value for n, value in asked(report).items() if n not in _NOT_KEPT}
    return kept | {
        "model": report.config["model"].value,
        "data": report.config["data"].value,
        "max_skipped": report.data.n_skipped,
        "max": dict(_ceilings(report, margin)),
        "min": dict(_floors(report, margin)),
    }


def _ceilings(report: Report, margin: float) -> Iterator[tuple[str, float]]:
    """Yield limits on what each attack costs: as realised where the two part."""
    for name in report.ranked:
        for label in report.attacks:
            quantity, bound = label, _ceiling(report, name, label, margin)
            if bound is None or _disbelieved(report, name, label, bound):
                quantity = named(label, REALISED)
                bound = _ceiling(report, name, quantity, margin)
            if bound is not None:
                yield f"{name}.{quantity}.p95", bound


def _ceiling(report: Report, name: str, quantity: str, margin: float) -> float | None:
    value = _statistic(report, name, quantity, "p95")
    return None if value is None else _round_up(value * (1 + margin))


def _disbelieved(report: Report, name: str, label: str, bound: float) -> bool:
    """Tell whether a limit on what is predicted of an attack would decide nothing."""
    key = (name, label, "p95")
    return bool(
        doubt(report, name, label)
        or contradiction(report, key, lambda value: value <= bound)
    )


def _floors(report: Report, margin: float) -> Iterator[tuple[str, float]]:
    for name in report.ranked:
        value = _statistic(report, name, CRITICAL, "p05")
        if value is not None:
            yield f"{name}.{CRITICAL}.p05", -_round_up(-value * (1 - margin))


def _statistic(report: Report, name: str, quantity: str, at: str) -> float | None:
    """Return a finite number of a report; None where there is none to limit."""
    summary = report.divergences[name].summary.get(quantity)
    value = getattr(summary, at) if summary else None
    return value if value is not None and math.isfinite(value) else None


def _round_up(value: float) -> float:
    """Return the next number with three significant digits: 0.2341 -> 0.235."""
    if value == 0:
        return 0.0
    places = 2 - math.floor(math.log10(abs(value)))
    steps = math.ceil(round(value * 10.0**places, 6))
    return round(float(steps / 10.0**places), max(places, 0))


def _lines(given: dict[str, Any]) -> Iterator[str]:
    for panel in dict.fromkeys(option.panel for option in OPTIONS.values()):
        yield from ("", f"# {panel}", "")
        for name, option in OPTIONS.items():
            if option.panel == panel:
                yield f"# {option.meaning}"
                yield from _setting(name, given)


def _setting(name: str, given: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of one option; a default is a comment."""
    if name not in given:
        yield f"# {name}: {_flow(_default(name))}".rstrip()
    elif isinstance(given[name], dict) and given[name]:
        yield f"{name}:"
        yield from (f"  {_flow(key)}: {_flow(v)}" for key, v in given[name].items())
    else:
        yield f"{name}: {_flow(given[name])}"


def _default(name: str) -> object:
    config = ScanConfig()
    found = settings(config).get(name)
    part = config.model if hasattr(config.model, name) else config
    return found.value if found else getattr(part, name, None)


def _flow(value: object) -> str:
    """Return a value as YAML on one line; nothing for None."""
    if value is None:
        return ""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("...").removesuffix("\n")
