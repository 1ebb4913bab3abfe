"""Configuration files held against everything that can be known without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os.path import exists, samefile
from shlex import quote

from audit.config import ScanConfig, read_config, read_scans, with_waivers
from audit.ground.errors import ConfigError
from audit.ground.printable import printable
from audit.reports.baseline import with_baseline
from audit.reports.keys import check_config
from audit.reports.report import Report
from audit.reports.text import count

SUFFIXES = (".yaml", ".yml", ".toml")


def sort_out(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the reports and the configuration files among `paths`."""
    settings = [path for path in paths if path.lower().endswith(SUFFIXES)]
    return [path for path in paths if path not in settings], settings


def refuse_unapplied(
    settings: Sequence[str], applied: str | None, judged: Mapping[str, Report]
) -> None:
    """Refuse reports that nothing was held against, beside limits that were not.

    Args:
        settings: configuration files that were given among reports, and validated.
        applied: the one whose limits the reports are held against, if there is any.
        judged: path -> report.

    Raises:
        ConfigError: a report has no limit, and one of the files was not applied.
    """
    free = next((path for path, report in judged.items() if not report.checks), None)
    for path in settings:
        if applied and exists(path) and exists(applied) and samefile(path, applied):
            continue
        if free is not None:
            raise ConfigError(
                f"No limit was held against '{free}': '{path}' was only validated",
                "Expected the configuration whose limits count as --config",
                f"Pass it as --config {quote(path)}",
            )


def validate(path: str) -> str:
    """Return a line about a configuration file that could be used as it is.

    Raises:
        ConfigError: it could not; names file and line.
    """
    scans = read_scans(path) or {"": read_config(path)}
    limits = sum(len(_complete(scan).thresholds) for scan in scans.values())
    return f"{printable(path)}: {count(len(scans), 'scan')}, {count(limits, 'limit')}"


def _complete(scan: ScanConfig) -> ScanConfig:
    """Return settings with all their limits, every key of which means something."""
    scan = with_waivers(with_baseline(scan))
    check_config(scan)
    return scan
