"""The plan of a saved report, to compute as it was computed: `--plan report.json`."""

from __future__ import annotations

from dataclasses import replace

from audit.config import ScanConfig
from audit.config.planned import KEYS, REPORT, checked
from audit.ground.errors import ConfigError
from audit.reports.json import believed, read_report

_MACHINES = ("threads",)
"""What a plan says of its machine alone, and shows in no number."""


def with_plan(config: ScanConfig) -> ScanConfig:
    """Return `config` with the plan of the report that it names, if it names one.

    Raises:
        ConfigError: the report cannot be read, or holds no plan.
    """
    path = config.plan.get(REPORT)
    if path is None:
        return config
    with believed(path):
        found = read_report(path).run.get("plan")
    if not isinstance(found, dict):
        raise ConfigError(
            f"--plan names '{path}', which does not say how it was computed",
            "Expected a report of a robaudit that records its plan, under run.plan",
            "Scan again with this robaudit, or write --plan KEY=VALUE,...",
        )
    kept = {n: found[n] for n in KEYS if n in found and n not in _MACHINES}
    try:
        return replace(config, plan=checked(kept))
    except ValueError as error:
        raise ConfigError(f"The plan of '{path}' is none", *error.args) from None
