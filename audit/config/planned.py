"""A plan as it is written: KEY=VALUE,… says how a scan computes, not what.

`measure.planner` makes one from shapes and says why; a plan that is written down fixes
some of it, or, by the name of a report, all of what that report was computed by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

REPORT = "report"
"""The key of a plan that is to be read from a report, whose path is its value."""
_KEY = re.compile(r"\s*(\w+)\s*=")
_NUMBER = re.compile(r"[1-9]\d{0,8}")


@dataclass(frozen=True)
class PlanKey:
    """One decision of a plan.

    Args:
        meaning: in a few words.
        values: what it may be; none: a whole number above zero.
    """

    meaning: str
    values: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """What a value may be, in words."""
        return " or ".join(self.values) if self.values else "a whole number from 1"

    def takes(self, value: str) -> bool:
        """Tell whether a text is one of the values."""
        known = value in self.values if self.values else _NUMBER.fullmatch(value)
        return bool(known)


KEYS: dict[str, PlanKey] = {
    "rows": PlanKey(
        "how the Jacobian J is taken",
        (
            *("sweep", "autograd", "forward", "pulled", "krylov"),
            *("identity", "differences"),
        ),
    ),
    "side": PlanKey(
        "which Gram matrix of the root A is decomposed",
        ("smaller", "rows", "features"),
    ),
    "cut": PlanKey("whether what depends on x alone runs once", ("on", "off")),
    "slopes": PlanKey("how a sampler is differentiated", ("sweep", "autograd")),
    "chunk": PlanKey("inputs that are computed together"),
    "pull": PlanKey("inputs that a sweep pulls back together"),
    "threads": PlanKey("chunks at the same time in a process"),
}


def read_plan(text: str) -> dict[str, str]:
    """Read KEY=VALUE,… or the path of a report.

    Raises:
        ValueError: a clause with what was expected, and a step.
    """
    if not _KEY.match(text):
        if "," in text or not text.strip():
            raise ValueError("expected KEY=VALUE,... or the path of a report", _STEP)
        return {REPORT: text.strip()}
    parts = [part.partition("=") for part in text.split(",")]
    names = [name.strip() for name, _, _ in parts]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"expected '{name}' once", _STEP)
    return checked({name.strip(): value.strip() for name, _, value in parts})


def checked(plan: Mapping[str, object]) -> dict[str, str]:
    """Return a plan whose keys and values exist.

    Raises:
        ValueError: a clause with what was expected, and a step.
    """
    found = {str(name): str(value) for name, value in plan.items()}
    if set(found) == {REPORT}:
        return found
    for name, value in found.items():
        if name not in KEYS:
            known = ", ".join(KEYS)
            raise ValueError(f"expected keys among {known}, not '{name}'", _STEP)
        key = KEYS[name]
        if not key.takes(value):
            raise ValueError(
                f"expected {name}= {key.expected} ({key.meaning}), not '{value}'",
                _STEP,
            )
    return found


_STEP = "Correct it; robaudit explain plan says what each key means"
