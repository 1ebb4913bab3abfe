"""What a broken law says: whose, which, where, what was expected and what was found.

`audit.testing` hands on checks of plug-ins; the checks of a kind live in its room. They
raise `LawBroken`, an AssertionError, so that they work within any test runner and need
none.
"""

from __future__ import annotations


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
