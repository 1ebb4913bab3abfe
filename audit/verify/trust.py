"""May the numbers be believed? Warnings from the columns of a scan.

Each check is a share of inputs that fail it. None stops a scan: the numbers are there,
with what is wrong with them beside. Three of them leave no verdict to trust (exit 4):
an error above the one asked for, a mean score that is not zero, mass that is missing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from audit.geometry.comparison import ISOTROPIC
from audit.linalg.intervals.means import LEAST
from audit.models.differences import TOLERANCE
from audit.reports.roles import ERROR, named
from audit.reports.series import Table, windows
from audit.reports.streamed import summarise
from audit.reports.values import Floats, Mask, Values

Notes = list[tuple[str, str]]

HEAVY = 0.1  # of the sum behind the trace, in one draw
_ENOUGH = 64  # draws: with few, one always carries much
_SIGMAS = 4.0
_SCORE = 0.05  # of √trace: a mean score below that changes nothing
_MASS = 0.01  # of Z = 1
_RULE = 1e-3  # relative error of a quadrature
_RHAT = 1.05
_APART = 30.0  # degrees
NOT_REACHED, MEAN, MASS = "monte_carlo_error", "score_mean", "normalisation"
_GRID_MASS = 1e-3  # of Z = 1: float32 densities are off by less


AT_REST = 0.1  # of the inputs: more are worth a warning


def trust_warnings(
    name: str,
    values: Table,
    rel_error: float | None,
    unnormalised: bool = False,
) -> Notes:
    """Return (code, message) of what makes a divergence's numbers doubtful.

    Args:
        name: the divergence.
        values: quantity -> [N].
        rel_error: the error that was asked for, None if none was.
        unnormalised: whether the user says that q need not integrate to one.
    """
    asked = Asked(rel_error, unnormalised)
    looked = {n: v for n, v in values.items() if n in _LOOKED_AT}
    found, fewest = Counter[str](), math.inf
    reasons: dict[str, None] = {}
    for window in windows(looked):
        for code, bad in _bad(window, asked):
            found[code] += int(bad.sum())
        sizes = window.get("eigenvalue", window.get("linear"))
        if sizes is not None:
            reasons |= dict.fromkeys(sizes.explained())
        if "units" in window:
            fewest = min(fewest, _least(window["units"].numbers))
    total = len(next(iter(values.values())))
    said = _Said(name, total, fewest, "; ".join(reasons), "residual" in values)
    if found["at_rest"] / max(1, total) < AT_REST:
        del found["at_rest"]
    notes = {code: said.note(code, n, asked) for code, n in found.items() if n}
    first = [note for code, note in notes.items() if code in _OF_FORMS]
    last = [note for code, note in notes.items() if code not in _OF_FORMS]
    return [*first, *_blur(name, looked), *last]


_OF_FORMS = ("at_rest", "infinite", "isotropic")


class Asked(NamedTuple):
    """What the user said: the relative error wanted, and that Z may not be one."""

    rel_error: float | None
    unnormalised: bool


_LOOKED_AT = frozenset(
    (
        *("eigenvalue", "linear", "gap", "rank", "derivative_error", "units"),
        *("trace", "trace_share", "draws", "score_mean", "normalisation"),
        *("quadrature_error", "normalisation_error", "rhat", "direction_angle"),
        *(named(n, ERROR) for n in ("trace", "eigenvalue", "score_mean")),
        named("normalisation", ERROR),
    )
)


def _bad(values: Mapping[str, Values], asked: Asked) -> Iterator[tuple[str, Mask]]:
    """Yield each check's code, and the rows of a window that fail it."""
    columns = {quantity: column.numbers for quantity, column in values.items()}
    sizes = values.get("eigenvalue", values.get("linear"))
    if sizes is not None:
        yield "at_rest", sizes.rest
        yield "infinite", sizes.infinite
    if "gap" in columns:
        yield "isotropic", (columns["gap"] < ISOTROPIC) & ~(columns["rank"] <= 1)
    if "units" in columns:
        yield "few_draws", columns["units"] < LEAST
    if "trace_share" in columns:
        enough = columns["draws"] >= _ENOUGH
        yield "heavy_tails", (columns["trace_share"] > HEAVY) & enough
    if "quadrature_error" in columns:
        yield "quadrature", ~(columns["quadrature_error"] <= _RULE)
    if "rhat" in columns:
        yield "chains", ~(columns["rhat"] <= _RHAT)
    if not asked.unnormalised:
        yield from _density(columns)
    if "direction_angle" in columns:
        apart = columns["direction_angle"] > _APART
        yield "unresolved", apart & (columns["rank"] > 1)
    if asked.rel_error is not None:
        yield NOT_REACHED, _above(columns, asked.rel_error)


def _density(columns: Mapping[str, Floats]) -> Iterator[tuple[str, Mask]]:
    """Yield where the draws are of another law, or mass is missing."""
    if "score_mean" in columns:
        mean = columns["score_mean"]
        noise = columns.get(named("score_mean", ERROR), np.zeros_like(mean))
        size = np.sqrt(columns["trace"] + np.square(mean))  # of one score
        yield MEAN, (mean > _SIGMAS * noise) & (mean > _SCORE * size)
    if "normalisation" not in columns:
        return
    apart = np.abs(columns["normalisation"] - 1)
    if "normalisation_error" in columns:
        yield MASS, apart > _GRID_MASS + 10 * columns["normalisation_error"]
    else:
        error = columns[named("normalisation", ERROR)]
        yield "mass", apart > _MASS + _SIGMAS * error


def _above(columns: Mapping[str, Floats], rel_error: float) -> Mask:
    """Return where a standard error is above the one asked for."""
    bad = np.zeros(len(next(iter(columns.values()))), dtype=bool)
    for quantity in ("trace", "eigenvalue"):
        error = columns.get(named(quantity, ERROR))
        if error is not None:
            bad |= error > rel_error * columns[quantity]
    return bad


def _least(units: Floats) -> float:
    known = units[~np.isnan(units)]
    return float(known.min()) if len(known) else math.inf


@dataclass(frozen=True)
class _Said:
    """What is said of the inputs that fail a check.

    Args:
        name: the divergence. total: inputs. fewest: independent units of draws.
        why: a form is infinite. probed: whether the trace is.
    """

    name: str
    total: int
    fewest: float
    why: str
    probed: bool

    def note(self, code: str, bad: int, asked: Asked) -> tuple[str, str]:
        """Return the warning of one check, with its code."""
        what = self._what(code, asked)
        where = f"{bad} of {self.total} inputs"
        if code == "isotropic" and bad == self.total:
            where = "every input"
        plain = code in (MEAN, MASS, NOT_REACHED)
        return (
            code if plain else f"{code}_{self.name}",
            f"{self.name}: on {where} {what}",
        )

    def _what(self, code: str, asked: Asked) -> str:
        if code == "infinite":
            return f"the form is infinite: {self.why}"
        if code == "few_draws":
            return _FEW_DRAWS.format(int(min(self.fewest, LEAST)), LEAST)
        if code == NOT_REACHED:
            how = _BY_PROBES if self.probed else _BY_DRAWS
            return f"the standard error is above {asked.rel_error:g} of the value {how}"
        return _WHAT[code]


_FEW_DRAWS = (
    "there are only {} independent units of draws, below the {} that intervals need: "
    "they hold less often than they say; raise --draws-per-input"
)
_BY_PROBES = (
    "(its trace is probed by products with the Jacobian, not drawn); pass --method "
    "dense, or leave --rel-error out"
)
_BY_DRAWS = "after all the draws allowed; raise --max-draws"
_WHAT = {
    "at_rest": "the form is zero: nothing moves to second order (saturated units, "
    "inputs out of the range the model was trained on, or not scaled as it expects)",
    "isotropic": "no direction is worse than another (the two largest eigenvalues are "
    "equal); the worst direction shown is one of many",
    "heavy_tails": f"a single draw carries more than {100 * HEAVY:.0f} % of the sum "
    "behind the trace: the mean and its standard error are not usable there (heavy "
    "tails); read trace_median instead",
    "quadrature": "the grid does not resolve the density, or its score, to "
    f"{_RULE:g} (see quadrature_error)",
    "chains": f"the chains have not mixed (R-hat above {_RHAT:g})",
    MEAN: "the mean score is not zero: the draws do not come from this density, its "
    "support moves with x (KL is infinite then), or its normalisation depends on x "
    "(if it may, pass --unnormalised)",
    MASS: "the density does not integrate to one (see normalisation): the grid has "
    "missed some of its mass, or it is not normalised (if so, pass --unnormalised)",
    "mass": "importance sampling finds that the density does not integrate to one",
    "unresolved": "the worst directions of two halves of the draws are more than "
    f"{_APART:.0f}° apart, so the one shown is uncertain; raise --draws-per-input",
}


def _blur(name: str, values: Table) -> Notes:
    """Warn where finite differences are estimated to be off by too much."""
    if "derivative_error" not in values:
        return []
    typical = summarise(values["derivative_error"]).values["p50"]
    if typical is not None and typical <= TOLERANCE:
        return []
    off = "by an unknown amount" if typical is None else f"by {100 * typical:.1f} %"
    message = (
        f"{name}: the eigenvalues are estimated to be off {off} on half "
        f"the inputs (finite differences; {100 * TOLERANCE:.0f} % is accepted)"
    )
    return [("finite_difference_error", message)]
