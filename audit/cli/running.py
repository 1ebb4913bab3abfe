"""One scan, or several in turn: from settings to what was printed and written."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from audit.cli.output import Destinations
from audit.cli.terminal import emit, progress, style
from audit.config import ScanConfig, with_waivers
from audit.errors import ConfigError
from audit.reports.baseline import with_baseline
from audit.reports.checks import worst_code
from audit.reports.keys import check_config
from audit.reports.report import Report
from audit.reports.several import render


def ready(settings: ScanConfig) -> ScanConfig:
    """Return settings with their limits complete, found good before anything runs.

    Raises:
        ConfigError: something is missing or cannot mean anything.
    """
    settings = with_waivers(with_baseline(settings))
    require(settings, "model", "data")
    check_config(settings)
    return settings


def require(config: ScanConfig, *names: str) -> None:
    """Refuse settings without a model or without data.

    Raises:
        ConfigError: one of `names` is missing.
    """
    given = {"model": config.model.path, "data": config.data}
    for name in names:
        if not given[name]:
            raise ConfigError(
                f"No {name} is given",
                f"Expected {name.upper()} on the command line or '{name}:' in "
                "robaudit.yaml",
                "See robaudit scan --help",
            )


def run(settings: ScanConfig, destinations: Destinations, show: bool) -> Report:
    """Run one scan, write its files and print it."""
    with ExitStack() as stack:
        rows = destinations.open_rows(stack)
        tick = stack.enter_context(progress(show))
        from audit.scan import scan

        report = scan(settings, progress=tick, rows=rows)
    destinations.deliver(report)
    return report


def summarise(reports: Mapping[str, Report], quiet: bool) -> int:
    """Print several reports side by side and return the exit code of all."""
    if len(reports) > 1 and not quiet:
        emit(render(reports, style()))
    return worst_code(report.exit_code for report in reports.values())
