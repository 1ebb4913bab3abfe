"""What a broken law says: whose, which, where, what was expected and what was found.

`audit.testing` hands on checks of plug-ins; the checks of a kind live in its room. They
raise `LawBroken`, an AssertionError, so that they work within any test runner and need
none.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from audit.ground.errors import AuditError, cause

T = TypeVar("T")


class LawBroken(AssertionError):
    """A law of a kind does not hold for one of its members.

    Args:
        subject: what was checked ("Rayleigh(scale)").
        law: which law, as a sentence.
        expected: what it demands. found: what there is.
        where: at which parameters, "" where there are none.
    """

    def __init__(
        self, subject: str, law: str, expected: object, found: object, where: str = ""
    ) -> None:
        self.subject, self.law, self.where = subject, law, where
        self.expected, self.found = expected, found
        lines = [f"{subject} breaks a law: {law}"]
        lines += [f"  at        {where}"] if where else []
        lines += [f"  expected  {expected}", f"  found     {found}"]
        super().__init__("\n".join(lines))


def demand(
    holds: bool,
    subject: str,
    law: str,
    expected: object,
    found: object,
    where: str = "",
) -> None:
    """Raise where a law does not hold.

    Raises:
        LawBroken: it does not.
    """
    if not holds:
        raise LawBroken(subject, law, expected, found, where)


def keep(
    laws: Iterable[Callable[[T], None]], it: T, subject: str, where: str = ""
) -> None:
    """Hold what is checked to each law, whose docstring says it.

    Raises:
        LawBroken: one does not hold, or cannot be asked about.
    """
    for holds in laws:
        said = (holds.__doc__ or holds.__name__).partition("\n")[0].rstrip(".")
        with answering(subject, said, where):
            holds(it)


@contextmanager
def answering(subject: str, law: str, where: str = "") -> Iterator[None]:
    """Say what is raised in the block as a law that is broken: it has to answer.

    A refusal in three parts is an answer, and passes.

    Raises:
        LawBroken: names the exception, and the line that raised it.
    """
    try:
        yield
    except (AssertionError, AuditError):
        raise
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        said = cause(error)
        kind = "" if said.startswith(type(error).__name__) else type(error).__name__
        found = (
            f"{kind}{': ' if kind else ''}{said} ({Path(at.filename).name}:{at.lineno})"
        )
        raise LawBroken(
            subject, law, "an answer, or a refusal", found, where
        ) from error
