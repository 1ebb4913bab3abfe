"""What a check says: one of four statuses, a sentence, numbers, and what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Status(Enum):
    """How a check ended; the values are what a reader sees."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        check: its name.
        status: how it ended.
        said: what was found, or why there is nothing to find: a sentence.
        numbers: what was measured, by name; every one is finite.
        todo: what to do about a failure; "" else.

    Raises:
        ValueError: a number is NaN or infinite; words have to say that.
    """

    check: str
    status: Status
    said: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    todo: str = ""

    def __post_init__(self) -> None:
        broken = [name for name, v in self.numbers.items() if not math.isfinite(v)]
        if broken:
            raise ValueError(f"{self.check}: {', '.join(broken)} is not finite")

    @property
    def failed(self) -> bool:
        """Whether the check failed."""
        return self.status is Status.FAILED

    @property
    def message(self) -> str:
        """What was found and what to do, as one text."""
        return f"{self.said}; {self.todo}" if self.todo else self.said


def passed(check: str, said: str, **numbers: float) -> Finding:
    """Return the finding of a check that found nothing wrong."""
    return Finding(check, Status.PASSED, said, numbers)


def failed(check: str, said: str, todo: str, **numbers: float) -> Finding:
    """Return the finding of a check that failed; what is not finite is left to `said`.

    A failure is often that a number is NaN or infinite, so those are dropped here, and
    the sentence has to speak of them.
    """
    kept = {name: value for name, value in numbers.items() if math.isfinite(value)}
    return Finding(check, Status.FAILED, said, kept, todo)


def inapplicable(check: str, why: str) -> Finding:
    """Return the finding of a check that has nothing to say of this file."""
    return Finding(check, Status.NOT_APPLICABLE, why)


def not_run(check: str, why: str) -> Finding:
    """Return the finding of a check that could not be made."""
    return Finding(check, Status.NOT_RUN, why)
