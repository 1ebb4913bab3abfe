"""How far the work is: named stages, and shares of them, for whoever listens.

The work says what it begins (`stage`), and how much of that is done: in counts
(`reach`), or in shares of what is under way (`step`, `part`). What is known of what
comes is told too (`expect`): see `forecast`. Parts nest: within a part
that is a fifth of a stage, a step of a half is a tenth of the stage. Whoever shows
progress attaches a listener; without one nothing is counted. Threads and processes that
help tell nothing: the one that began them knows when their jobs are done.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from audit.ground.forecast import Task

OPEN, GATES, MEASURE = "open", "gates", "measure"
VERIFY, CERTIFICATE, WRITE = "verify", "certificate", "write"
ATTACK, COMPARE, EXPORT = "under attack", "compare", "export"


class Listener(Protocol):
    """Is told how far the work is."""

    def began(self, name: str, total: float, unit: str) -> None:
        """Hear of a new stage: its name, how much it is, and of what."""

    def expects(self, tasks: Sequence[Task], later: Sequence[Task] | None) -> None:
        """Hear what the stage is made of, and what comes after it: see `expect`."""

    def moved(self, name: str, done: float) -> None:
        """Hear how much of the stage is done, under the name of what is being done."""


@dataclass
class _Span:
    """A share of a stage: where it begins, how long it is, how much is done."""

    name: str
    start: float
    length: float
    done: float = 0.0


_listener: Listener | None = None
_thread = 0  # whose work is told: the one that attached the listener
_spans: list[_Span] = []


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Tell a listener everything within the block; the one before it, nothing."""
    global _listener, _thread
    before, spans = (_listener, _thread), list(_spans)
    _listener, _thread, _spans[:] = listener, threading.get_ident(), []
    try:
        yield
    finally:
        (_listener, _thread), _spans[:] = before, spans


def heard() -> bool:
    """Tell whether anybody listens, and an estimate of the work is worth its cost."""
    return _heard_here() is not None


def _heard_here() -> Listener | None:
    return _listener if threading.get_ident() == _thread else None


def stage(name: str, total: float = 1.0, unit: str = "") -> None:
    """Begin a stage, and end the one before.

    Args:
        name: of it.
        total: how much there is to do.
        unit: of what; "" for a stage that is not counted.
    """
    listener = _heard_here()
    if listener is not None:
        _spans[:] = [_Span(name, 0.0, total)]
        listener.began(name, total, unit)


def expect(tasks: Sequence[Task], later: Sequence[Task] | None = None) -> None:
    """Say what the stage is made of, in its order, and what comes after it.

    Args:
        tasks: their sizes are shares of the stage, up to a factor.
        later: of stages by their names; None: as it was said before.
    """
    listener = _heard_here()
    if listener is not None:
        listener.expects(tasks, later)


def reach(done: float) -> None:
    """Say how much of the stage is done by now."""
    listener = _heard_here()
    if listener is not None and _spans:
        del _spans[1:]
        _spans[0].done = min(done / _spans[0].length, 1.0) if _spans[0].length else 1.0
        listener.moved(_spans[0].name, done)


def step(share: float) -> None:
    """Say that a share of what is under way is done."""
    listener = _heard_here()
    if listener is not None and _spans:
        span = _spans[-1]
        span.done = min(span.done + share, 1.0)
        listener.moved(span.name, span.start + span.length * span.done)


@contextmanager
def part(share: float, name: str = "") -> Iterator[None]:
    """Do a share of what is under way; its own steps are shares of that.

    Args:
        share: of it.
        name: of what is done within, where it has one of its own.
    """
    listener = _heard_here()
    if listener is None or not _spans:
        yield
        return
    outer = _spans[-1]
    start = outer.start + outer.length * outer.done
    length = outer.length * min(share, 1.0 - outer.done)
    _spans.append(_Span(name or outer.name, start, length))
    depth = len(_spans)
    if name:
        listener.moved(name, start)
    try:
        yield
    finally:
        if len(_spans) >= depth:  # else a stage began, or was reached, within
            del _spans[depth - 1 :]
            step(share)
