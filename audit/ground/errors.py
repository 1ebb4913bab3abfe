"""What can go wrong, said so that the reader knows what to do next.

Every error a user can cause has three parts: what was given, what was expected and
what to do next. The command line prints them as one paragraph and exits with the
class's `exit_code` (DESIGN section 3: 2 = usage or configuration, 3 = could not
audit, 4 = incomplete or untrusted, 5 = nothing audited; 1 is a verdict, never an
error).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from audit.ground.printable import printable

_LONGEST = 300  # characters of a cause
_MOST = 2000  # characters of what was given, which may be a stranger's
_EMPTY_WORDS = re.compile(
    r"\s.*|Traceback\b.*|The following operation failed.*|Serialized\s+File.*"
    r"|frame #\d.*|Exception raised from .*|C\+\+ .*|[-~^=.\s]*|.*<--- HERE"
)
"""Lines of a library's error that say where, and not what."""


class AuditError(Exception):
    """A failure the user can act on; all of its text is printable.

    Args:
        given: what the program saw, a clause ("'a.npz' has no key 'x'").
        expected: what it needed ("expected one of its keys: 'theta', 'y'").
        next_step: what to do ("Pass --condition x=theta").
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, given: str, expected: str = "", next_step: str = "") -> None:
        self.given, self.expected = printable(_cut(given)), printable(expected)
        self.next_step = printable(next_step, lines=True)  # may hold commands to paste
        parts = (self.given, self.expected, self.next_step)
        super().__init__(" ".join(_sentence(part) for part in parts if part))

    def __reduce__(self) -> tuple[object, ...]:
        """Return how it crosses to another process: by its three parts."""
        return type(self), (self.given, self.expected, self.next_step)


class ConfigError(AuditError):
    """An option, a configuration file or a threshold makes no sense (exit 2)."""

    exit_code = 2


class UnknownName(ConfigError):
    """A name is in no registry; the message lists what is, nearest first (exit 2)."""


class InputError(AuditError):
    """The data cannot be read or do not fit the model (exit 3)."""


class ModelError(AuditError):
    """The model file cannot be read, run or trusted (exit 3)."""


class UnsupportedOperator(ModelError):
    """A graph uses an operator, or a form of one, that is not implemented (exit 3)."""


class NotInference(UnsupportedOperator):
    """A graph draws random numbers, or is one of a training step (exit 3)."""


class NotDifferentiable(ModelError):
    """No gradient connects the condition with the outputs (exit 3)."""


class NoFisher(AuditError):
    """A family has no Fisher information here, e.g. a support that moves (exit 3)."""


class NoTransport(AuditError):
    """A family has no differentiable transport map, e.g. a discrete one (exit 3)."""


class NoCertificate(AuditError):
    """No upper bound is proven for a network or a family, with the reason (exit 3)."""


class BrokenPlugin(AuditError):
    """A third party's class or function lacks what its kind has to have (exit 3)."""


class Incomplete(AuditError):
    """A run lacks parts, so that there is no report of all of it (exit 4)."""

    exit_code = 4


class NothingAudited(AuditError):
    """No input was left to audit (exit 5)."""

    exit_code = 5


@contextmanager
def boundary(
    given: str, expected: str, next_step: str, kind: type[AuditError] = AuditError
) -> Iterator[None]:
    """Turn whatever a parser raises in the block into one error in three parts.

    A library raises what its parts raise: a parser of strangers' files ends here, with
    the cause in parentheses behind what was given. Errors of our own pass, and get the
    parts that they lack. It is a decorator as well.

    Raises:
        AuditError: of this kind, for anything else.
    """
    try:
        yield
    except AuditError as error:
        if error.expected and error.next_step:
            raise
        parts = (error.expected or expected, error.next_step or next_step)
        raise type(error)(error.given, *parts) from error
    except Exception as error:  # RecursionError and MemoryError among them
        raise kind(f"{given} ({cause(error)})", expected, next_step) from error


def cause(error: BaseException) -> str:
    """Return the first line of a library's error that says what is wrong.

    Traces come before it (TorchScript) or behind it (torch's C++), and a key alone says
    nothing: then the kind of error stands in front.
    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if not _EMPTY_WORDS.fullmatch(line)), "")
    said = printable((said or "".join(lines[:1])).strip())[:_LONGEST]
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror)
    if isinstance(error, LookupError) or not said:
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return said


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[: _MOST - 200]}…{text[-200:]}"


def _sentence(part: str) -> str:
    """Return a part with a full stop, unless it ends with a command to paste."""
    pasted = part.rpartition("\n")[2].startswith(" ")
    return part if pasted or part.endswith((".", "?", "!")) else f"{part}."
