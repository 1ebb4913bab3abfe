"""What became of a limit, on a number or on its change from a baseline."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from audit.reports.record import Interval, Number, Record

Status = Literal["pass", "fail", "borderline", "unmeasured", "undecided"]


class Change(Record):
    """A number against that of a baseline."""

    old: Number
    change: Number
    """New less old."""
    ci95: Interval
    allowed: float
    """The change that the limit allows."""
    relative: bool = False
    """Whether change, interval and what is allowed are shares of |old|."""
    n: int
    """Inputs in both reports."""
    unpaired: str = ""
    """Why the two numbers are not compared input by input; "" if they are."""
    n_old: int | None = None
    """Inputs of the baseline with a value, where they are paired."""


class Check(Record):
    """One threshold and what became of it."""

    key: str
    op: Literal["<=", ">="]
    limit: float
    value: Number
    ci95: Interval
    holds: bool | None
    """Whether the measured value keeps the limit: this decides the verdict."""
    status: Status
    """`borderline`: the 95 % interval straddles the limit. `unmeasured`: there is no
    number to judge. `undecided`: there is one, and `doubt` says why it decides
    nothing."""
    doubt: str = ""
    """Why the report does not believe the number; with --accept-unverified it decides
    all the same, and `accepted` says so."""
    accepted: bool = False
    change: Change | None = None
    """Of a limit on a change: what is judged instead of the value."""
    level: Literal["error", "warn"] = "error"
    source: str = ""
    waiver: str = ""
    """Why it may be broken and until when, or that this has expired."""
    offenders: list[int] = Field(default_factory=list)
    """Up to ten inputs beyond the limit, the farthest first."""
    n_offending: int | None = None
