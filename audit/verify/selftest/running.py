"""All checks in turn, or a few of them for every scan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from audit.ground.distinct import distinct
from audit.ground.errors import AuditError, cause
from audit.measure import Questions
from audit.models.opening import OpenModel
from audit.verify.selftest import residuals
from audit.verify.selftest.finding import Finding, failed, inapplicable, not_run
from audit.verify.selftest.registry import CHECKS, FILE, GATES, Check
from audit.verify.selftest.subject import INPUTS, Subject

CODE = "selftest_"
"""What the code of a warning begins with; the check's name follows."""


NOT_STORED = (
    "it takes every entry of the Jacobian, which is too large to be stored: only its "
    "products are made (--method krylov); --method dense makes the check"
)


def run_all(it: Subject, checks: Mapping[str, Check] = CHECKS) -> Iterator[Finding]:
    """Make checks one after the other, and yield what they find."""
    for name, check in checks.items():
        yield made(name, check, it)


def made(name: str, check: Check, it: Subject) -> Finding:
    """Make one check; a file that breaks in it is a finding too, not a traceback."""
    if check.whole and it.questions.matrix_free:
        return inapplicable(name, NOT_STORED)
    try:
        return check.run(it)
    except (AuditError, RuntimeError) as error:
        said = error.given if isinstance(error, AuditError) else cause(error)
        return not_run(name, f"the check could not be made: {said}")


def closed_gate(error: AuditError) -> Finding:
    """Return the finding of a gate that refused the model, in the gate's words."""
    todo = " ".join(part for part in (error.expected, error.next_step) if part)
    return failed(GATES, error.given, todo)


def short_selftest(
    model: OpenModel, questions: Questions, index: NDArray[np.int64]
) -> list[tuple[str, str]]:
    """Return warnings (code, message) of the cheap checks that fail; none else.

    Two calls of the file, exact divergences at three inputs, and looks at what the
    gates saw. Laws that a file computes are not moved: a pass for each draw is dear.

    Args:
        model: open, its gates passed.
        questions: of the scan.
        index: inputs that the scan measured, ascending; three of them are looked at.
    """
    if not len(index):
        return []
    spread = np.linspace(0, len(index) - 1, min(len(index), INPUTS)).round()
    few = distinct(index[spread.astype(np.int64)])
    it = Subject(model, replace(questions, keep_directions=False), few)
    parametric = model.density.family.parametric
    checks = {
        name: check
        for name, check in CHECKS.items()
        if check.short and (parametric or name in FILE)
    }
    found = run_all(it, checks)
    return [(CODE + one.check, one.message) for one in found if one.failed]


def misread_targets(
    model: OpenModel,
    questions: Questions,
    index: NDArray[np.int64],
    theta: NDArray[np.float64],
) -> list[tuple[str, str]]:
    """Return the warning (code, message) that the data's own θ contradict the law.

    Args:
        model: open, its gates passed.
        questions: of the scan.
        index: inputs [n], ascending.
        theta: θ of each [n, *event].
    """
    it = Subject(model, replace(questions, keep_directions=False), index, theta)
    found = made(residuals.NAME, CHECKS[residuals.NAME], it)
    return [(CODE + found.check, found.message)] if found.failed else []
