"""The line of the verdict counts what held, what broke and what decided nothing."""

from dataclasses import replace

import pytest
from reports.synthetic import EIGENVALUES, limit, report_of

from audit.formats.verdicts import check_line, verdict_line

HOLDS, BREAKS = limit("kl.trace.max", "<=", 1e9), limit("kl.trace.max", "<=", 1e-9)


def warns(one):
    return replace(one, key="kl.trace.min", level="warn")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ([HOLDS], "PASS: 1 limit held · exit 0"),
        ([HOLDS, warns(HOLDS)], "PASS: 2 limits held · exit 0"),
        (
            [HOLDS, warns(BREAKS)],
            "PASS: 1 of 2 limits held, 1 of level warn did not · exit 0",
        ),
        ([BREAKS, HOLDS], "FAIL: 1 of 2 limits broken · exit 1"),
        ([warns(HOLDS)], "No verdict: 1 limit held · exit 0"),
        (
            [warns(BREAKS)],
            "No verdict: 0 of 1 limit held, 1 of level warn did not · exit 0",
        ),
        ([], "No limit was set, e.g. --max kl.gaussian.p95=0.05 · exit 0"),
    ],
)
def test_a_broken_limit_is_never_among_those_that_held(limits, said):
    assert verdict_line(report_of(EIGENVALUES, *limits)) == said


@pytest.mark.parametrize(
    ("key", "op", "safe"),
    [
        ("kl.radius.p05", "<=", True),
        ("kl.radius.p05", ">=", False),
        ("kl.radius.std", "<=", False),
        ("kl.critical_radius.min", "<=", True),
        ("kl.gaussian.p95", ">=", True),
        ("kl.gaussian.p95", "<=", False),
        ("kl.gaussian_realised.max", ">=", True),
        ("kl.trace.mean", ">=", True),
        ("kl.eigenvalue.max", "<=", False),
        ("kl.gap.mean", "<=", False),
        ("kl.rank.mean", ">=", False),
    ],
)
def test_a_limit_on_the_side_of_robuster_models_is_said_to_be_one(key, op, safe):
    bound = 1e9 if op == "<=" else 0.0
    other = limit("kl.trace.max", "<=", 1e9)
    one = limit(key, op, bound)
    alone, both = report_of(EIGENVALUES, one), report_of(EIGENVALUES, one, other)
    assert ("more robust: " in check_line(alone.checks[0])) is safe
    assert ("none that a more sensitive" in verdict_line(alone)) is safe
    assert "none that" not in verdict_line(both)
