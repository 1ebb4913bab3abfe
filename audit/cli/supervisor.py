"""The process that was started watches another, which does the work.

The work runs code that we did not write on files that we do not know: a loop in it may
hear no signal, a division may trap, the memory may end. None of that may hang the
command or give it an exit code that it did not earn. So this process does nothing but
wait. It passes signals on, and ends the work where that does not end by itself:

    SIGINT, SIGTERM     the work has `GRACE` seconds, then it is killed; exit 130
    --open-timeout      a model that is not open by then; exit 3
    death by a signal   said in words; exit 3, never the signal's

Once everything is written the verdict is settled, and is the exit code whatever comes.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Callable
from typing import Any

from audit.cli.door import CRASH, INTERRUPTED, LOST
from audit.cli.leaving import and_leave
from audit.ground import watch
from audit.ground.errors import AuditError
from audit.ground.printable import printable

GRACE = 1.3  # seconds: two are promised, and a large process takes some to go away
DONE = (0, 1, 4, 5)  # the codes of work that came to its end
SHOW_CURSOR = b"\x1b[?25h\n"
TICK = 1.0  # seconds: the time to open is counted in them, but for those it is stopped


def supervised(run: Callable[[], object]) -> None:
    """Run a command in a child of this process and leave with its exit code.

    Where there is no fork the command runs here, and nobody watches.
    """
    if not hasattr(os, "fork"):
        run()
        return
    parent, (read, write) = os.getpid(), _pipe()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, watch.SIGNALS)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # ignored ones leave no exit code
    child = os.fork()
    if child:
        os.close(write)
        os._exit(Supervisor(child, read).code(mask))
    os.close(read)
    watch.attach(write)
    watch.end_with_parent(parent)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    and_leave(run)


def _pipe() -> tuple[int, int]:
    """Open a pipe beyond the standard streams, whose numbers may be free."""
    import fcntl

    ends = os.pipe()
    read, write = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends)
    for end in ends:
        os.close(end)
    return read, write


class Supervisor:
    """Waits for the work.

    Args:
        child: its process.
        channel: where it tells what `watch.tell` says.
    """

    def __init__(self, child: int, channel: int) -> None:
        self._child, self._channel = child, channel
        self._unread = b""
        self._left: float | None = None  # seconds to open the file
        self._seen = time.monotonic()
        self._late = ""
        self._kill: float | None = None
        self._signalled = self._is_late = False
        self._lost = LOST
        self._settled: int | None = None
        self._temporary: list[str] = []

    def code(self, mask: set[int]) -> int:
        """Wait until the work has ended, and return the exit code.

        Args:
            mask: the signals that are blocked from when it is known what they do.
        """
        wake, waker = _pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in watch.SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._pass_on)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        while True:
            ended, status = os.waitpid(self._child, os.WNOHANG)
            if ended:
                while self._heard(0):
                    pass
                return self._concluded(os.waitstatus_to_exitcode(status))
            self._end_what_is_over()
            if wake in self._heard(self._patience(), wake):
                os.read(wake, 64)

    def _pass_on(self, number: int, _: object) -> None:
        """Pass a signal on; who sends a second one does not want to wait."""
        now = time.monotonic()
        self._kill = now if self._signalled else now + GRACE
        self._signalled = True
        self._send(number)

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(self._child, number)

    def _patience(self) -> float | None:
        """Return the seconds until something may be over, None for any time."""
        ends = [] if self._left is None else [min(self._left, TICK)]
        if self._kill is not None:
            ends.append(self._kill - time.monotonic())
        return max(0.0, min(ends)) if ends else None

    def _end_what_is_over(self) -> None:
        now = time.monotonic()
        passed, self._seen = min(now - self._seen, 1.2 * TICK), now
        if self._left is not None:
            self._left -= passed
        if self._kill is not None and now >= self._kill:
            self._kill = None
        elif self._left is not None and self._left <= 0:
            self._is_late, self._left = True, None
        else:
            return
        self._send(signal.SIGKILL)

    def _heard(self, seconds: float | None, *others: int) -> list[int]:
        """Wait for news or others; hear the news, and return who had something."""
        mine = [] if self._channel < 0 else [self._channel]
        ready, _, _ = select.select([*mine, *others], [], [], seconds)
        if self._channel in ready:
            content = os.read(self._channel, 1 << 16)
            if not content:
                os.close(self._channel)
                self._channel = -1
            *lines, self._unread = (self._unread + content).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))
        return ready

    def _hear(self, news: dict[str, Any]) -> None:
        if "opening" in news:
            self._left, self._late = news["opening"] or (None, "")
            self._seen = time.monotonic()
        if "temporary" in news:
            self._temporary.append(news["temporary"])
        self._lost = news.get("interrupted", self._lost)
        self._settled = news.get("settled", self._settled)

    def _concluded(self, code: int) -> int:
        """Return the exit code for the end that the work had, and say what it was."""
        if code < 0:
            self._clean_up()
        if self._settled is not None:
            return self._settled
        if self._signalled and code not in (*DONE, INTERRUPTED):
            return _said(self._lost, INTERRUPTED)
        if self._is_late:
            return _said(self._late, CRASH)
        return code if code >= 0 else _said(str(_died(-code)), CRASH)

    def _clean_up(self) -> None:
        """Do what work that was killed could not."""
        for folder in self._temporary:
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            if os.isatty(2):  # a progress bar hides the cursor
                os.write(2, SHOW_CURSOR)


def _died(number: int) -> AuditError:
    """Return the error for work that ended by a signal."""
    if number == signal.SIGKILL:
        return AuditError(
            "The process was killed (SIGKILL)",
            "Expected enough memory for the model and the data",
            "Lower --memory or --workers, or use a larger machine",
        )
    name = signal.strsignal(number) or f"signal {number}"
    return AuditError(
        f"The process died ({name}) in a library that reads the files or runs the "
        "model",
        "Expected files that every library can compute with",
        "Do not use the file if you do not know it; else export it again",
    )


def _said(text: str, code: int) -> int:
    with contextlib.suppress(OSError):
        said = printable(f"robaudit: {text}\n", lines=True)
        os.write(2, said.encode(errors="replace"))
    return code
