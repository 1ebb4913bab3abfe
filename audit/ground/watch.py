"""What a command tells the process that watches it, and how it ends with that one.

A native loop that holds the interpreter cannot be interrupted from inside: no handler
and no thread of this process runs. So a command is run in a child of the process that
was started (`cli/supervisor`), and tells it what to do in its place: by when a file has
to be open, what to say when it is interrupted, what to remove, and the verdict once it
is written. Without a watcher (from Python, or where there is no fork) nothing is told.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from audit.ground.errors import AuditError

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # that end a command
_KILL_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_channel: int | None = None
_settled: int | None = None


def attach(channel: int) -> None:
    """Tell everything from now on to the reader of this descriptor."""
    global _channel
    _channel = channel


def tell(**news: object) -> None:
    """Tell the watcher something, if there is one.

    Args:
        news: `opening` (seconds left, and words for when they are over) or None;
            `interrupted`, the words for that; `temporary`, a folder to remove when
            this process cannot; `settled`, the exit code that is final now.
    """
    if _channel is not None:
        with contextlib.suppress(OSError):  # nobody listens any more
            os.write(_channel, json.dumps(news).encode() + b"\n")


def settle(code: int | None) -> None:
    """Make an exit code final: all is written, and no signal undoes it."""
    global _settled
    _settled = code
    tell(settled=code)


def settled() -> int | None:
    """Return the exit code that is final, None while nothing is."""
    return _settled


@contextlib.contextmanager
def opening(what: str, seconds: float) -> Iterator[None]:
    """Open a file within some seconds.

    The watcher ends the process when they are over. Without one the error comes when
    the block ends at last.

    Args:
        what: the file, for the error.
        seconds: for the whole block.

    Raises:
        AuditError: it took longer.
    """
    late = AuditError(
        f"Opening '{what}' took longer than {seconds:g} s",
        "Expected it to load and to pass the gates within --open-timeout",
        "Raise --open-timeout if the model is that large; do not use the file if you "
        "do not know it",
    )
    with within(seconds, late):
        yield


@contextlib.contextmanager
def within(seconds: float, late: AuditError) -> Iterator[None]:
    """Do something that may never come back within some seconds.

    Args:
        seconds: for the whole block.
        late: what is said when they are over.

    Raises:
        AuditError: `late`, where nobody watches and the block ends at last.
    """
    began = time.monotonic()
    tell(opening=[seconds, str(late)])
    try:
        yield
    finally:
        tell(opening=None)
    if _channel is None and time.monotonic() - began > seconds:
        raise late


@contextlib.contextmanager
def own_handlers() -> Iterator[Mapping[signal.Signals, object]]:
    """Put the handlers of `SIGNALS` back behind the block, which gets them.

    None where this is not the main thread, which alone may set any.
    """
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS if main}
    try:
        yield before
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent(parent: int, wait: Callable[[], object] | None = None) -> None:
    """End this process when its parent has ended, even by kill -9.

    Linux does it, whatever runs here at that moment; elsewhere a thread does.

    Args:
        parent: its process id.
        wait: returns when it has ended; by default its id is looked at each second.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_KILL_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:  # it had ended before
            os._exit(1)
    else:
        watcher = partial(_outlive, wait or partial(_wait_for, parent))
        threading.Thread(target=watcher, daemon=True).start()


def _wait_for(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)


def _outlive(wait: Callable[[], object]) -> None:
    wait()
    os._exit(1)
