"""All gates, one after the other: the cheap and telling ones first."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from audit.models.gates.derivative import derivative_parity, tried_rows
from audit.models.gates.effort import Effort
from audit.models.gates.gradient import (
    census_of,
    census_warnings,
    refuse_quantised,
    slopes_of,
)
from audit.models.gates.independence import row_independence
from audit.models.gates.parity import forward_parity, refuse_whims
from audit.models.gates.slopes import WIDE, Products, Slopes, Stored, products_of
from audit.models.gates.subject import Findings, Subject, precise_of


def examine(
    subject: Subject,
    by_gradient: bool,
    estimated: bool = False,
    effort: Callable[[], Effort] = Effort,
) -> Findings:
    """Pass every gate.

    Args:
        subject: the file on a few real rows.
        by_gradient: whether the audit differentiates the file by backward passes;
            without, the gates of the derivative do not apply.
        estimated: whether these passes take rounding as the identity; that is not the
            derivative of the file, and no difference can confirm it.
        effort: how many differences are worth their time; asked when the file is known
            to be a function, since it may run the file.

    Raises:
        ModelError: a gate is closed; the message says which, and where.
    """
    if by_gradient:
        refuse_quantised(census_of(subject), estimated)
    refuse_whims(subject)
    precise = precise_of(subject)
    interaction = row_independence(subject, precise)
    forward = forward_parity(subject, precise)
    found = Findings(
        forward_error=forward,
        row_interaction=interaction,
        warnings=_rounding(subject, max(forward or 0.0, interaction)),
    )
    if not by_gradient or estimated:
        return found
    return _examine_gradient(replace(subject, effort=effort()), precise, found)


def _examine_gradient(
    subject: Subject, precise: Subject | None, found: Findings
) -> Findings:
    rows, x, slopes = _telling_rows(subject)
    part = subject.taken(rows)
    exact = None if precise is None else precise.taken(rows)
    agreed = derivative_parity(part, x, slopes, exact)
    census = census_of(subject)
    warnings = (*found.warnings, *agreed.warnings, *census_warnings(census))
    return replace(
        agreed,
        forward_error=found.forward_error,
        row_interaction=found.row_interaction,
        stops=census.stops,
        warnings=warnings,
    )


def _telling_rows(subject: Subject) -> tuple[Tensor, Tensor, Slopes]:
    """Return a few rows, with x [n, d] and the Jacobian there.

    Rows whose outputs are not finite, or where the gradient is zero, say little of a
    derivative; they are taken only where there are no others.
    """
    with torch.no_grad():
        phi = subject.parameters(subject.outputs)
    sound = torch.isfinite(phi).all(dim=1)
    order = torch.argsort(sound.int(), descending=True, stable=True)
    if phi.shape[1] > WIDE:
        found = _by_products(subject, order, phi.shape[1])
        if found is not None:
            return found
    count, parts, telling = tried_rows(subject, phi.shape[1]), [], 0
    for rows in torch.split(order, count):
        x, slopes = slopes_of(subject.taken(rows), len(rows), 0)
        assert isinstance(slopes, Stored)
        moves = slopes.moves()
        parts.append((rows, x, slopes.entries, moves))
        telling += int(moves.sum())
        if 2 * telling >= count:
            break
    rows, x, jacobian, moves = (torch.cat(part) for part in zip(*parts, strict=True))
    picked = _first(moves, min(count, telling or count))
    return rows[picked], x[picked], Stored(jacobian[picked])


def _by_products(
    subject: Subject, order: Tensor, parameters: int
) -> tuple[Tensor, Tensor, Slopes] | None:
    """Return rows with a Jacobian that nobody stores; None where there is none.

    One backward pass through all rows tells which of them move.
    """
    every = subject.taken(order)
    wide = products_of(every, every.flat(len(order)), every.held(len(order)))
    if wide is None:
        return None
    picked = order[_first(wide.moves(), min(subject.effort.rows, subject.rows))]
    del wide
    x, slopes = slopes_of(subject.taken(picked), len(picked), parameters)
    return (picked, x, slopes) if isinstance(slopes, Products) else None


def _first(moves: Tensor, count: int) -> Tensor:
    """Return so many places, those that move first."""
    some = min(count, int(moves.sum()) or count)
    return torch.argsort(moves.int(), descending=True, stable=True)[:some]


def _rounding(subject: Subject, error: float) -> tuple[tuple[str, str], ...]:
    """Warn if rounding moves the outputs by more than the tolerance."""
    if error <= subject.tolerance:
        return ()
    name = str(subject.network.dtype).removeprefix("torch.")
    if math.isinf(error):
        return (
            (
                "rounding",
                f"in {name} the file's runtime loses outputs to rounding (it takes the "
                "logarithm of a probability that rounds to zero): they are infinite "
                "there, and are audited as the finite numbers that they stand for",
            ),
        )
    return (
        (
            "rounding",
            f"in {name} the outputs are known to {error:.0e} of their size only "
            "(the model amplifies rounding, or they are near zero); --dtype float64 is "
            "safer",
        ),
    )
