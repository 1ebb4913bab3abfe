"""Limits on a change: `--baseline old.json --max-increase kl.gaussian.p95=5%`.

Once the old report is known, a limit on how much a number may grow or shrink is a limit
on the new number. So it becomes one, and the gate does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from audit.config import ScanConfig, Threshold
from audit.errors import ConfigError
from audit.reports.gate import find
from audit.reports.json import read_report
from audit.reports.keys import split_key
from audit.reports.report import Report
from audit.reports.text import number


def with_baseline(config: ScanConfig) -> ScanConfig:
    """Return `config` with its limits on a change made limits on a number.

    Raises:
        ConfigError: there is no baseline, it cannot be read, or has no such number.
    """
    if not (config.max_increase or config.max_decrease):
        return config
    if not config.baseline:
        raise ConfigError(
            "A change is limited and there is nothing to compare with",
            next_step="Add --baseline report.json",
        )
    limits = change_limits(config, read_report(config.baseline))
    return replace(config, thresholds=(*config.thresholds, *limits))


def change_limits(config: ScanConfig, old: Report) -> list[Threshold]:
    """Return the limits on the new report that those on a change amount to.

    Raises:
        ConfigError: `old` does not have one of the numbers.
    """
    return [
        *_limits(old, config, "max_increase"),
        *_limits(old, config, "max_decrease"),
    ]


def _limits(old: Report, config: ScanConfig, option: str) -> list[Threshold]:
    found = []
    steps: Mapping[str, str] = getattr(config, option)
    for key, step in steps.items():
        divergence, quantity, statistic = split_key(key)
        value = getattr(find(old, key, divergence, quantity), statistic)
        if value is None:
            raise ConfigError(f"The baseline did not measure '{key}'")
        share = step.endswith("%")
        size = float(step.rstrip("% ")) * (abs(value) / 100 if share else 1.0)
        grows = option == "max_increase"
        given = f"--{option.replace('_', '-')} {key}={step}"
        place = config.places.get(f"{option} {key}")
        source = f"{f'{place} {step}' if place else given} from {number(value)}"
        bound = value + size if grows else value - size
        found.append(Threshold(key, "<=" if grows else ">=", bound, source))
    return found
