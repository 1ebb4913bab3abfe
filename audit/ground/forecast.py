"""How long the work will take yet: said only where it is known to a factor of two.

The work is a sequence of tasks, each of a kind, with a size. One unit of a kind takes
a time c that nobody knows before some of it is done. What is known before is how far
kinds can be apart: a task of spread s takes between size · b / s and size · b · s,
where b is one time of the whole stage. So each kind that was seen bounds b,

    c / s ≤ b ≤ c · s,

all of them bound it together, and b bounds what the kinds to come can take. A kind that
was seen speaks for itself: c, and `REPEATED` for what differs from one task of it to
the next. The sum of the least times L and that of the greatest M hold the time that is
left. It is said, as √(L M), where M ≤ 4 L: then the truth is within a factor of two,
whatever the costs were. Before, nothing is said.

No time is said before a tenth of the whole is over either, and the first step of each
kind, which may have to make things ready, is no part of its pace.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDEST = 4.0
"""M / L: up to this, √(L M) is within a factor of two."""
SHARE = 0.1
"""Of the whole, by what is known: before that nothing is said; of a task, before that
its own pace is not known."""
REPEATED = 1.25
"""By how much a task may differ from others of its kind, and its end from its start."""


@dataclass(frozen=True)
class Task:
    """Something to do.

    Args:
        kind: tasks of one kind take equal time for equal sizes.
        size: how much it is, in one unit for all tasks that are told together.
        spread: by which factor its time may be more or less than that of its size.
        seconds: the least and the most it takes, where that is known, and no size is.
    """

    kind: str
    size: float = 0.0
    spread: float = 1.0
    seconds: tuple[float, float] | None = None


@dataclass(frozen=True)
class Range:
    """The least and the greatest that something can be."""

    low: float
    high: float

    def times(self, factor: float, spread: float = 1.0) -> Range:
        """Return so many of it, each up to `spread` times more or less."""
        return Range(self.low * factor / spread, self.high * factor * spread)


UNKNOWN = Range(0.0, math.inf)


@dataclass
class Seen:
    """What was done of a kind, and the seconds that it took; the first step apart.

    Whatever is done for the first time may be made ready first, which is done once.
    """

    size: float = 0.0
    seconds: float = 0.0
    first: tuple[float, float] | None = None

    def took(self, size: float, seconds: float) -> None:
        """Take a step."""
        if self.first is None:
            self.first = (size, seconds)
        else:
            self.size, self.seconds = self.size + size, self.seconds + seconds

    def pace(self, whole: float) -> tuple[float, float]:
        """Return a size and its seconds; (0, 0) before enough of a task was seen."""
        size, seconds = self.first or (0.0, 0.0)
        if size + self.size < SHARE * whole * (1 - 1e-9):
            return 0.0, 0.0
        if size > (1 - SHARE) * whole:  # in one step, or nearly
            return size + self.size, seconds + self.seconds
        return self.size, self.seconds


class Forecast:
    """What is to do in a stage and after it, and how long that took so far."""

    def __init__(self, now: float) -> None:
        self._start = self._last = now
        self._tasks: list[Task] = [Task("")]
        self._later: list[Task] = []
        self._share = self._step = 0.0
        self._seen: dict[str, Seen] = {}

    def began(self, name: str, now: float) -> None:
        """Begin a stage: what was to come before it is over, or never was."""
        base = self._base(now)
        kinds = [task.kind for task in self._later]
        left = self._later[kinds.index(name) + 1 :] if name in kinds else self._later
        self._later = [_in_seconds(task, base) for task in left]
        self._tasks = [Task(name, 1.0)]
        self._begin(now)

    def expects(self, tasks: Sequence[Task], later: Sequence[Task] | None) -> None:
        """Take the tasks of the stage in their order, and those of later stages.

        Args:
            tasks: of the stage; none: it is one task.
            later: None: what was told before.
        """
        sized = [task for task in tasks if task.size > 0]
        self._tasks = sized or self._tasks
        self._later = self._later if later is None else list(later)

    def moved(self, share: float, now: float) -> None:
        """Take what share of the stage is done; tasks take their shares by size."""
        share = min(max(share, self._share), 1.0)
        if share > self._share:
            parts = list(self._between(self._share, share))
            for kind, size in parts:
                spent = (now - self._last) * size / sum(part for _, part in parts)
                self._seen.setdefault(kind, Seen()).took(size, spent)
            self._step = parts[0][1] if len(parts) == 1 else 0.0
            self._share, self._last = share, now

    def left(self, now: float) -> float | None:
        """Return the seconds that the whole will take yet; None: nobody can say."""
        between = self.between(now)
        if between is None or between.high > WIDEST * between.low:
            return None
        return math.sqrt(between.low * between.high)

    def between(self, now: float) -> Range | None:
        """Return the least and the most that it will take; None: nobody can say."""
        least, most = 0.0, 0.0
        for one in self._remaining(now):
            least, most = least + one.low, most + one.high
        spent = now - self._start
        early = spent < SHARE * (spent + math.sqrt(least * most))
        return None if early or not 0 < least <= most < math.inf else Range(least, most)

    def _begin(self, now: float) -> None:
        self._share, self._step, self._last, self._seen = 0.0, 0.0, now, {}

    def _remaining(self, now: float) -> Iterator[Range]:
        """Yield what each task that is not over takes yet."""
        base, waited = self._base(now), now - self._last
        for place, (task, size) in enumerate(self._ahead()):
            own = self._own(task.kind, now)
            unit = base.times(1.0, task.spread) if own is None else own
            yield unit.times(size) if place else self._current(unit, size, waited)
        for task in self._later:
            told = _in_seconds(task, base).seconds
            yield Range(*told) if told else UNKNOWN

    def _current(self, unit: Range, size: float, waited: float) -> Range:
        """Return what the task under way takes yet, its last step some time ago.

        Args:
            unit: the time of a unit.
            size: of what is not done, the step under way included.
            waited: since the last step.
        """
        step = min(self._next_step() or size, size)  # no more was done while waiting
        low, high = (
            end * size - min(waited, end * step) for end in (unit.low, unit.high)
        )
        return Range(low, high) if 0 < high < math.inf else UNKNOWN

    def _next_step(self) -> float:
        """Return the size of the step under way; 0 where no step tells."""
        current = next(iter(self._ahead()), None)
        if current is None or current[1] >= current[0].size * (1 - 1e-9):
            return 0.0  # a new task has steps of its own
        return self._step

    def _base(self, now: float) -> Range:
        """Return what the kinds that were seen say of one time for all."""
        low, high = UNKNOWN.low, UNKNOWN.high
        hull: list[Range] = []
        for task in {task.kind: task for task in self._tasks}.values():
            own = self._own(task.kind, now)
            if own is not None:
                one = own.times(1.0, task.spread)
                low, high = max(low, one.low), min(high, one.high)
                hull.append(one)
        if low <= high:
            return Range(low, high)
        return Range(min(one.low for one in hull), max(one.high for one in hull))

    def _own(self, kind: str, now: float) -> Range | None:
        """Return the time of a unit of a kind; None before enough of it was seen."""
        seen = self._seen.get(kind, Seen())
        whole = next(task.size for task in self._tasks if task.kind == kind)
        size, spent = seen.pace(whole)
        if not spent:
            return None
        pace = spent / size
        current = next(iter(self._ahead()), None)
        step = self._next_step()
        if step and current is not None and current[0].kind == kind:  # it is not over
            pace = max(pace, (spent + now - self._last) / (size + step))
        return Range(pace, pace).times(1.0, REPEATED)

    def _ahead(self) -> Iterator[tuple[Task, float]]:
        """Yield the tasks of the stage that are not over, and how much of each."""
        done = self._share * sum(task.size for task in self._tasks)
        for task in self._tasks:
            rest = min(task.size, task.size - done)
            done = max(0.0, done - task.size)
            if rest > 1e-9 * task.size:
                yield task, rest

    def _between(self, start: float, stop: float) -> Iterator[tuple[str, float]]:
        """Yield (kind, size) of what lies between two shares of the stage."""
        total, at = sum(task.size for task in self._tasks), 0.0
        for task in self._tasks:
            low, high = max(at, start * total), min(at + task.size, stop * total)
            if high > low:
                yield task.kind, high - low
            at += task.size


def _in_seconds(task: Task, base: Range) -> Task:
    """Return a task with the seconds it takes, where a time for its size is known."""
    if task.seconds is not None or not base.high < math.inf:
        return task
    found = base.times(task.size, task.spread)
    return Task(task.kind, task.size, task.spread, (found.low, found.high))
