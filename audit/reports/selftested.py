"""The record of `robaudit selftest`: what each check of a file found."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Line:
    """One check as the reader sees it.

    Args:
        check: its name.
        title: what it looks at.
        status: how it ended: one of the words of `verify.selftest.finding.Status`.
        said: what was found, or why there is nothing to find.
        numbers: what was measured, by name; every one is finite.
        todo: what to do about a failure; "" else.
    """

    check: str
    title: str
    status: str
    said: str
    numbers: dict[str, float]
    todo: str


@dataclass(frozen=True)
class SelfTest:
    """What all checks of a file found, as plain data.

    Args:
        model: the model's path.
        data: that of the data.
        family: the law's name; "" where the file could not be opened.
        lines: of the checks, in their order.
        exit_code: 1 where a check failed; else 3 where one could not be made; else 0.
        counts: status -> the number of checks that ended so.
    """

    model: str
    data: str
    family: str
    lines: list[Line]
    exit_code: int
    counts: dict[str, int] = field(default_factory=dict)
