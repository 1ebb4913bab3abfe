"""Progress for eyes, on stderr: a bar on a terminal, a line now and then elsewhere.

Each stage has its own rate. The time that is left is that of all stages, and said only
where it is known to a factor of two (`ground.forecast`). Where nobody watches (a log of
a build), a line every thirty seconds says the same.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from audit.ground import stages
from audit.ground.forecast import Forecast, Task
from audit.ground.printable import printable
from audit.reports.text import number

EVERY = 30.0
"""Seconds between two lines where there is no terminal."""
_LOOSE = 16.0
"""How many times the least the most may be, to be worth a word."""
WAITING = "opening the model"
Tick = Callable[[int, int], None]
"""(inputs done, inputs in all)."""


class Pace:
    """What is being done, since when, and how fast."""

    def __init__(self) -> None:
        self.name, self.now, self.unit = "", "", ""
        self.total, self.done = 1.0, 0.0
        self.since = time.monotonic()
        self.forecast = Forecast(self.since)

    def began(self, name: str, total: float, unit: str) -> None:
        """Begin a stage."""
        self.name, self.now, self.unit = name, name, unit
        self.total, self.done, self.since = total, 0.0, time.monotonic()
        self.forecast.began(name, self.since)

    def expects(self, tasks: Sequence[Task], later: Sequence[Task] | None) -> None:
        """Take what the stage is made of, and what comes after it."""
        self.forecast.expects(tasks, later)

    def moved(self, name: str, done: float) -> None:
        """Take what is done of it; never less than before."""
        self.now, self.done = name, max(self.done, done)
        share = self.done / self.total if self.total else 1.0
        self.forecast.moved(share, time.monotonic())

    @property
    def counted(self) -> str:
        """How much is done of how much; "" for a stage that is not counted."""
        if not self.unit:
            return ""
        return f"{int(self.done + 1e-9)}/{self.total:g} {self.unit}"

    def rate(self) -> str:
        """Return the pace so far, "" before there is one."""
        spent = time.monotonic() - self.since
        if not self.unit or not self.done or spent < 1e-3:
            return ""
        return f"{number(self.done / spent)} {self.unit}/s"

    def left(self) -> str:
        """Return the time that all of it takes yet, "" where nobody can say."""
        now = time.monotonic()
        about, between = self.forecast.left(now), self.forecast.between(now)
        if about is not None:
            return f"about {_clock(about)} left"
        if between is None or between.high > _LOOSE * between.low:
            return ""
        return f"{_clock(between.low)} to {_clock(between.high)} left"

    def said(self) -> str:
        """Return all of it as words."""
        parts = (f"{self.now} {self.counted}".strip(), self.rate(), self.left())
        return printable(", ".join(part for part in parts if part))


def _clock(seconds: float) -> str:
    """Return minutes and seconds, as 1:05."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02}"


@contextmanager
def shown(wanted: bool = True) -> Iterator[Tick]:
    """Show the stages of a block; yield what else may say how many inputs are done."""
    if not wanted:
        yield lambda done, total: None
        return
    pace = Pace()
    begin = _on_terminal if sys.stderr.isatty() else _in_lines
    with begin(pace) as listener, stages.heard_by(listener):

        def tick(done: int, total: int) -> None:
            if (pace.name, pace.total) != (stages.MEASURE, total):
                listener.began(stages.MEASURE, total, "inputs")
            listener.moved(stages.MEASURE, done)

        yield tick


@contextmanager
def _in_lines(pace: Pace) -> Iterator[stages.Listener]:
    """Say a line every while, from a thread: the work may be in one long call."""
    over = threading.Event()

    def speak() -> None:
        while not over.wait(EVERY):
            said = pace.said() or WAITING
            print(f"robaudit: {said}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    try:
        yield pace
    finally:
        over.set()
        thread.join(1.0)


@contextmanager
def _on_terminal(pace: Pace) -> Iterator[stages.Listener]:
    """Draw a bar that goes on while the work is in one long call."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn
    from rich.progress import Task as Row
    from rich.text import Text

    class Live(ProgressColumn):
        """Words of the pace as it is at this moment."""

        def __init__(self, say: Callable[[], str]) -> None:
            super().__init__()
            self.say = say

        def render(self, task: Row) -> Text:
            """Return the words; what is done is taken at the same time."""
            known = pace.total if pace.unit or pace.done else None
            task.total, task.completed = known, pace.done
            return Text(printable(self.say()))

    words = [lambda: pace.now or WAITING, lambda: pace.counted, pace.rate, pace.left]
    first, *others = (Live(say) for say in words)
    console = Console(stderr=True)
    with Progress(first, BarColumn(), *others, console=console, transient=True) as bar:
        bar.add_task("", total=None)
        yield pace
