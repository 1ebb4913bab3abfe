"""How a run is cut: into jobs, and jobs into shards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from audit.ground.errors import ConfigError

_SHARD = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*")


@dataclass(frozen=True)
class Job:
    """A range of the selected rows: plain data, for any worker."""

    start: int
    stop: int

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.stop - self.start

    def __str__(self) -> str:
        return f"rows {self.start} to {self.stop - 1}"


@dataclass(frozen=True)
class Shard:
    """The i-th of n shares of a run, counted from 1."""

    number: int
    of: int

    def take(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs of this shard: every n-th, so that shares are even."""
        return list(jobs[self.number - 1 :: self.of])

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def cut(total: int, size: int) -> list[Job]:
    """Return the jobs of a run, in order."""
    return [
        Job(first, min(first + size, total)) for first in range(0, total, max(size, 1))
    ]


def read_shard(text: str) -> Shard:
    """Read "i/n".

    Raises:
        ConfigError: it is not one of 1/n, 2/n, ..., n/n.
    """
    match = _SHARD.fullmatch(text)
    shard = Shard(int(match[1]), int(match[2])) if match else None
    if shard is None or not 1 <= shard.number <= shard.of:
        raise ConfigError(
            f"--shard is {text}",
            "Expected I/N, the I-th of N shares, counted from 1",
            "Write the second of four as --shard 2/4",
        )
    return shard


def spans(jobs: Iterable[Job], most: int = 8) -> str:
    """Return the rows of some jobs in words, neighbours joined: "0 to 99, 200 to 299".

    Args:
        jobs: in order.
        most: ranges that are spelled out; the others are counted.
    """
    joined: list[Job] = []
    for job in jobs:
        if joined and joined[-1].stop == job.start:
            joined[-1] = Job(joined[-1].start, job.stop)
        else:
            joined.append(job)
    said = [f"{job.start} to {job.stop - 1}" for job in joined[:most]]
    more = len(joined) - most
    return ", ".join([*said, f"and {more} more ranges"] if more > 0 else said)
