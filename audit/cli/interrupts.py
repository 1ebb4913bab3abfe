"""Ctrl-C and SIGTERM during a scan: what is kept, and the command to go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from audit.cli.door import CRASH, Interrupted
from audit.ground import watch
from audit.ground.errors import AuditError
from audit.run.commands import resume_command
from audit.run.manifest import exists

LOST = "interrupted, nothing was written. With --run-dir FOLDER it could be resumed."


@contextmanager
def resumable(folder: str | None, command: Sequence[str]) -> Iterator[None]:
    """Say how to go on when the block is interrupted or breaks.

    Args:
        folder: the run folder, if there is one.
        command: the words of the command line.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM.
        AuditError: that of the block.
    """
    go_on = f"go on with\n  {resume_command(command)}"
    kept = f"interrupted. Finished parts are kept in '{folder}'; {go_on}"
    said = kept if folder else LOST
    watch.tell(interrupted=said)
    try:
        with _interrupted_once():
            yield
    except KeyboardInterrupt:
        raise Interrupted(said) from None
    except AuditError as error:
        if error.exit_code != CRASH or not folder or not exists(folder):
            raise
        hint = f"Finished parts are kept in '{folder}'; {go_on}"
        step = f"{error.next_step}. {hint}" if error.next_step else hint
        raise type(error)(error.given, error.expected, step) from error


@contextmanager
def _interrupted_once() -> Iterator[None]:
    """Let SIGTERM, by which schedulers end a job, do what Ctrl-C does.

    Only the first signal counts: a second one would interrupt the cleaning up. Who
    cannot wait is heard by the supervisor.
    """
    with watch.own_handlers() as before:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, _interrupt)
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    for each in watch.SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
