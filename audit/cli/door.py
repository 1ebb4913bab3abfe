"""The one place where an exception becomes words and an exit code.

Left alone, an uncaught error and a closed pipe both exit 1, which means "the audit was
done and a limit failed". Here 1 can only come from a verdict (DESIGN section 3).
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from audit.ground import watch
from audit.ground.errors import AuditError

USAGE, CRASH, INTERRUPTED = 2, 3, 130
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
        settings |= {"args": words, "obj": words, "standalone_mode": False}
        settings["prog_name"] = settings.get("prog_name") or "robaudit"
        run = super().main
        code = guarded(lambda: run(**settings), debug)
        _flush()
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
        result = run()
    except BaseException as error:
        if debug:
            traceback.print_exc()
        return _exit_code(error)
    return result if isinstance(result, int) else 0


def _exit_code(error: BaseException) -> int:
    if isinstance(error, AuditError):
        return _say(f"robaudit: {error}", error.exit_code)
    if isinstance(error, Interrupted | KeyboardInterrupt | typer.Abort):
        if (code := watch.settled()) is not None:
            return code
        code = _say(f"robaudit: {str(error) or LOST}", INTERRUPTED)
        watch.settle(code)  # it is said; a slow end changes nothing
        return code
    if isinstance(error, SystemExit):
        # Only a closed pipe comes here with 1: the reader left, no verdict was given.
        return error.code if isinstance(error.code, int) and error.code != 1 else 0
    return _usage(error) or _crash(error)


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


def _crash(error: BaseException) -> int:
    words = str(error).strip().splitlines() or [""]
    return _say(
        f"robaudit: internal error, {type(error).__name__}: {words[0]}\n"
        "This is a bug in robaudit or in a library below it; add --debug for the "
        "traceback.",
        CRASH,
    )


def _say(text: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)
    return code


def _never_fail_to_encode() -> None:
    """Print "?" for what the terminal's encoding lacks, instead of crashing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _flush() -> None:
    """Empty stdout now: a pipe closed at exit would turn the code into 120."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        detach_stdout()


def detach_stdout() -> None:
    """Send what is still to be printed nowhere: its reader has gone."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
