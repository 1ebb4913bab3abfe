"""The plan of a report: how it was computed, each decision with its reason.

It is shown, and it can be given, to compute as it was computed: `--plan report.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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


def rows(plan: object) -> list[tuple[str, str, str]]:
    """Return (key, value, reason) of a plan as `run.plan` holds it; none where none is.

    A report may be of another version, or edited: keys that are not known here are
    left out.
    """
    if not isinstance(plan, Mapping):
        return []
    why: Any = plan.get("why")
    reasons: Mapping[str, Any] = why if isinstance(why, Mapping) else {}
    return [(n, str(plan[n]), str(reasons.get(n, ""))) for n in KEYS if n in plan]


def lines(plan: object) -> list[str]:
    """Return a plan as lines of text."""
    return [
        f"{name}={value}" + (f": {why}" if why else "")
        for name, value, why in rows(plan)
    ]
