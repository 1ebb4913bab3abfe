"""How a report was computed, or a scan would be: each decision with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.config.planned import KEYS


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
