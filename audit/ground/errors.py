"""What can go wrong, said so that the reader knows what to do next.

Every error a user can cause has three parts: what was given, what was expected and
what to do next. The command line prints them as one paragraph and exits with the
class's `exit_code` (DESIGN section 3: 2 = usage or configuration, 3 = could not
audit, 4 = incomplete or untrusted, 5 = nothing audited; 1 is a verdict, never an
error).
"""

from __future__ import annotations

from typing import ClassVar


class AuditError(Exception):
    """A failure the user can act on.

    Args:
        given: what the program saw, a clause ("'a.npz' has no key 'x'").
        expected: what it needed ("expected one of its keys: 'theta', 'y'").
        next_step: what to do ("Pass --condition x=theta").
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, given: str, expected: str = "", next_step: str = "") -> None:
        self.given, self.expected, self.next_step = given, expected, next_step
        parts = (given, expected, next_step)
        super().__init__(" ".join(_sentence(part) for part in parts if part))


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


class NotDifferentiable(ModelError):
    """No gradient connects the condition with the outputs (exit 3)."""


class NoFisher(AuditError):
    """A family has no Fisher information here, e.g. a support that moves (exit 3)."""


class NoTransport(AuditError):
    """A family has no differentiable transport map, e.g. a discrete one (exit 3)."""


class BrokenPlugin(AuditError):
    """A third party's class or function lacks what its kind has to have (exit 3)."""


class Incomplete(AuditError):
    """A run lacks parts, so that there is no report of all of it (exit 4)."""

    exit_code = 4


class NothingAudited(AuditError):
    """No input was left to audit (exit 5)."""

    exit_code = 5


def _sentence(part: str) -> str:
    return part if part.endswith((".", "?", "!")) else f"{part}."
