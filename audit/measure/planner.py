"""The planner: every choice of how a scan computes, made here, from shapes alone.

    rows     how the Jacobian J [p, d] of φ(x) is taken, by the first that applies:
             identity     φ itself is perturbed;  differences  only values come out
             krylov       both sides are large, or J is larger than the memory, and
                          the law's root is known in closed form: products alone
             pulled       fewer rows of roots meet J than it has: each by a pass of its
                          own, and J is never there
             sweep        the graph has a rule for every step, and rows enough to pay
             forward      few features and many parameters: J e_k for each feature
             autograd     a backward pass for each row
    side     which Gram matrix of a root A is decomposed: A Aᵀ or AᵀA, the smaller one
    cut      whether what depends on x alone runs once an input, or for every draw
    slopes   ∂T/∂φ of a sampler: by a sweep or by autograd
    chunk    inputs together: a power of two whose derivatives fit a last-level cache
    pull     inputs that a sweep pulls back together: a matter of its widest step

Nothing is timed, and neither the batch size nor workers or threads are looked at: equal
shapes make equal plans, and so equal bytes. Any plan gives the same numbers to rounding
(by products, the trace is an estimate). That 256 rows are decomposed rather than
approached by Krylov's passes is judgement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NoReturn

from audit.ground.errors import ConfigError
from audit.linalg.exact import SMALLER
from audit.measure.plan import (
    ASKED,
    AUTOGRAD,
    DIFFERENCES,
    FORWARD,
    IDENTITY,
    KRYLOV,
    PULLED,
    SWEEP,
    Choice,
    Plan,
    Shapes,
)
from audit.measure.sizing import COPIES, chunk_of, held, in_bytes, pull_of

DENSE = "dense"
WIDE = 256  # of the smaller side of J: up to here all of it is decomposed
COLUMNS, PER_COLUMN = 16, 8  # features taken forwards, and the rows that each replaces
_ONLY = {
    IDENTITY: "φ itself is perturbed: J is the identity",
    DIFFERENCES: "derivatives are taken by finite differences, a column at a time",
}


def planned(
    shapes: Shapes, fixed: Mapping[str, str] | None = None, method: str = "auto"
) -> Plan:
    """Return the plan of some shapes.

    Args:
        shapes: all that it follows from.
        fixed: key -> value of --plan.
        method: that of --method.

    Raises:
        ConfigError: something fixed is not to be had, or takes more than the memory.
    """
    fixed = fixed or {}
    rows = _rows(shapes, fixed, method)
    side = _side(shapes, fixed, rows)
    most = held(shapes, rows, side)
    chunk = chunk_of(shapes, fixed, rows, most)
    swept = pull_of(shapes, fixed) if rows.value == SWEEP else None
    pull = swept or _same("pull", fixed, None, "no sweep takes J")
    return Plan(
        rows,
        side,
        _same("cut", fixed, shapes.cut, "the law is one of the file's outputs"),
        _same("slopes", fixed, shapes.slopes, "no sampler is differentiated"),
        chunk,
        pull,
        int(chunk.value) if rows.value == KRYLOV else most,
    )


def by_products_alone(
    p: int, d: int, free: int, memory: int, fixed: Mapping[str, str], method: str
) -> bool:
    """Tell whether J is to be known by its products alone, where that can be."""
    if "rows" in fixed or method != "auto":
        return KRYLOV in (fixed.get("rows"), method)
    return bool(_too_large(p, free, 8 * p * d, memory))


def _too_large(p: int, free: int, stored: int, memory: int) -> str:
    """Return why J is better not stored, of so many bytes; "" where it may be."""
    if min(p, free) > WIDE:
        return f"{p} parameters and {free} features are more than {WIDE} each"
    if COPIES * stored > memory:
        return f"J and its copies take {in_bytes(COPIES * stored)} an input"
    return ""


def _rows(shapes: Shapes, fixed: Mapping[str, str], method: str) -> Choice:
    given = fixed.get("rows")
    if given is not None:
        if method in (KRYLOV, DENSE) and (given == KRYLOV) != (method == KRYLOV):
            _refuse("rows", fixed, f"--method {method} was given too")
        why = _lacking(shapes, given)
        return _refuse("rows", fixed, why) if why else Choice(given, ASKED, True)
    if method == KRYLOV:
        why = shapes.products()
        if why:
            raise ConfigError(
                f"--method krylov was given, and {why}",
                "Expected a law whose metric tensor has a closed form in the file's "
                "outputs, and outputs with two derivatives",
                "Leave --method out, or pass --method dense",
            )
        return Choice(KRYLOV, "as --method asks")
    only = shapes.only
    return Choice(only, _ONLY[only]) if only else _best(shapes, method)


def _best(shapes: Shapes, method: str) -> Choice:
    """Return how J is taken where all ways are open."""
    p, d, stored = shapes.p, shapes.d, max(shapes.largest, 8 * shapes.p * shapes.d)
    large = _too_large(p, shapes.free, stored, shapes.memory)
    if method == "auto" and large and not shapes.products():
        return Choice(KRYLOV, large)
    if shapes.pulled < p:
        count = int(shapes.pulled)
        return Choice(PULLED, f"{count} rows of roots meet J, which has {p}")
    if not shapes.sweep:
        return Choice(SWEEP, f"every step has a rule, and {p} rows go together")
    few = d <= COLUMNS and PER_COLUMN * d <= p
    if few and not shapes.columns():
        return Choice(FORWARD, f"{d} columns are less work than {p} rows")
    return Choice(AUTOGRAD, shapes.sweep)


def _lacking(shapes: Shapes, rows: str) -> str:
    """Return why J cannot be taken so; "" where it can."""
    if rows in _ONLY or shapes.only:
        other = _ONLY.get(shapes.only, "J is that of the file, by its derivatives")
        return "" if rows == shapes.only else other
    if rows == PULLED and math.isinf(shapes.pulled):
        return "J meets no rows of roots that could be pulled back by themselves"
    if rows == KRYLOV:
        return shapes.products()
    if rows == SWEEP:
        return shapes.sweep
    return shapes.columns() if rows == FORWARD else ""


def _side(shapes: Shapes, fixed: Mapping[str, str], rows: Choice) -> Choice | None:
    if rows.value == KRYLOV:
        if "side" in fixed:
            _refuse("side", fixed, "products alone make no Gram matrix")
        return None
    if "side" in fixed:
        return Choice(fixed["side"], ASKED, True)
    return Choice(SMALLER, f"of up to {shapes.p} rows and {shapes.free} features")


def _same(
    key: str, fixed: Mapping[str, str], found: Choice | None, why: str
) -> Choice | None:
    """Return what the model was opened with; what is fixed has to be that."""
    given = fixed.get(key)
    if given is not None and (found is None or given != found.value):
        _refuse(key, fixed, found.why if found else why)
    return found


def _refuse(key: str, fixed: Mapping[str, str], why: str) -> NoReturn:
    raise ConfigError(
        f"--plan {key}={fixed[key]} was given, and {why}",
        "Expected what this model, its data and the question allow",
        f"Leave {key} out of --plan: robaudit inspect MODEL DATA says what is planned",
    )
