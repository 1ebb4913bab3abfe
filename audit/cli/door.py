"""The one place where an exception becomes words and an exit code.

Left alone, an uncaught error and a closed pipe both exit 1, which means "the audit was
done and a limit failed". Here 1 can only come from a verdict (DESIGN section 3).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from audit.config.paths import short_names
from audit.ground import streams, watch
from audit.ground.errors import AuditError, cause
from audit.ground.plugins import raised_by
from audit.ground.printable import printable
from audit.ground.spelling import ERRORS
from audit.reports.files import unwritable

USAGE, CRASH, INTERRUPTED = 2, 3, 130
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LOST = "interrupted, nothing was written."


class Interrupted(Exception):
    """Ctrl-C, under a name that the parser does not take for its own.

    Its text, if it has one, says what is kept and how to go on.
    """


class Door(TyperGroup):
    """The group of commands, with every way out handled."""

    def main(self, *args: Any, **settings: Any) -> Any:  # noqa: ANN401
        """Run a command and exit with its code; `--debug` anywhere shows tracebacks."""
        given = args[0] if args else settings.pop("args", None)
        words = list(sys.argv[1:] if given is None else given)
        debug = "--debug" in words or bool(os.environ.get("ROBAUDIT_DEBUG"))
        words = [word for word in words if word != "--debug"]
        _never_fail_to_encode()
        warnings.showwarning = _warn  # type: ignore[assignment]
        settings |= {"args": words, "obj": words, "standalone_mode": False}
        settings["prog_name"] = settings.get("prog_name") or "robaudit"
        run = super().main
        code = guarded(lambda: run(**settings), debug)
        code = _flushed(code)
        watch.settle(code)
        sys.exit(code)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # noqa: ANN401
        """Run the command that was parsed."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None


def guarded(run: Callable[[], object], debug: bool = False) -> int:
    """Run a command and return its exit code; say on stderr what went wrong."""
    watch.settle(None)
    try:
        with short_names():
            result = run()
        code = result if isinstance(result, int) else 0
        watch.settle(code)
    except BaseException as error:
        if debug:
            _say(traceback.format_exc().rstrip(), CRASH)
        return _exit_code(error)
    return code


def _exit_code(error: BaseException) -> int:
    if isinstance(error, AuditError):
        return _say(f"robaudit: {error}", error.exit_code)
    if isinstance(error, Interrupted | KeyboardInterrupt | typer.Abort):
        if (code := watch.settled()) is not None:
            return code
        code = _say(f"robaudit: {str(error) or LOST}", INTERRUPTED)
        watch.settle(code)  # it is said; a slow end changes nothing
        return code
    if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):
        return 0  # the reader of a help text left: no verdict was given
    return _usage(error) or _unwritten(error) or _broken(error) or _crash(error)


def _unwritten(error: BaseException) -> int:
    """Say that a help text cannot be printed; 0 when `error` is another."""
    if not isinstance(error, OSError) or error.errno not in _FULL:
        return 0
    streams.forget_results()
    return _say(f"robaudit: {unwritable('standard output', error)}", CRASH)


def _usage(error: BaseException) -> int:
    """Say a usage error of the parser; 0 when `error` is not one."""
    if not hasattr(error, "format_message"):
        return 0
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "robaudit"
    message = error.format_message()
    if not message:  # no command at all: the help has been printed
        return USAGE
    return _say(f"robaudit: {message}\nTry '{command} --help'.", USAGE)


def _broken(error: BaseException) -> int:
    """Say that a plug-in raised; 0 when the error is another's."""
    plugin = raised_by(error)
    if plugin is None:
        return 0
    said = plugin.fault(f"raised {type(error).__name__}: {cause(error)}")
    return _say(f"robaudit: {said}\nAdd --debug for the traceback.", said.exit_code)


def _crash(error: BaseException) -> int:
    return _say(
        f"robaudit: internal error, {type(error).__name__}: {cause(error)}\n"
        "This is a bug in robaudit or in a library below it; add --debug for the "
        "traceback.",
        CRASH,
    )


def _say(text: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(printable(text, lines=True), file=sys.stderr)
    return code


def _warn(message: Warning | str, category: type[Warning], *_: object) -> None:
    """Show a library's warning as a message, without the line of its source."""
    _say(f"{category.__name__}: {str(message).strip()}", 0)


def _never_fail_to_encode() -> None:
    """Spell what the terminal's encoding lacks, instead of crashing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ERRORS)


def _flushed(code: int) -> int:
    """Empty the streams, and return the exit code for what became of stdout."""
    error = streams.flushed()
    if error is None or isinstance(error, BrokenPipeError) or streams.diverted():
        return code
    return _say(f"robaudit: {unwritable('standard output', error)}", CRASH)
