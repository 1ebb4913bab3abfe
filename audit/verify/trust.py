"""May the numbers be believed? Warnings from the columns of a scan.

Each check is a share of inputs that fail it. None stops a scan: the numbers are there,
with what is wrong with them beside. Three of them leave no verdict to trust (exit 4):
an error above the one asked for, a mean score that is not zero, mass that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from audit.geometry.comparison import ISOTROPIC
from audit.linalg.intervals.means import LEAST
from audit.models.differences import TOLERANCE
from audit.reports.roles import ERROR, named
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
    values: Mapping[str, Values],
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
    columns = {quantity: column.numbers for quantity, column in values.items()}
    found = [*_extremes(name, values), *_isotropy(name, values)]
    found += [*_blur(name, columns), *_few_draws(name, columns)]
    found += _heavy_tails(name, columns)
    found += _rules(name, columns)
    if not unnormalised:
        found += [*_mismatch(name, columns), *_mass(name, columns)]
    found += _open_direction(name, columns)
    if rel_error is not None:
        found += _not_reached(name, columns, rel_error)
    return found


def _note(code: str, name: str, bad: Mask, what: str) -> Notes:
    if not bad.any():
        return []
    message = f"{name}: on {int(bad.sum())} of {len(bad)} inputs {what}"
    return [(f"{code}_{name}", message)]


def _extremes(name: str, values: Mapping[str, Values]) -> Notes:
    """Warn of inputs where the form is zero or infinite."""
    sizes = values.get("eigenvalue", values.get("linear"))
    if sizes is None:
        return []
    still = sizes.rest if sizes.rest.mean() >= AT_REST else np.zeros_like(sizes.rest)
    found = _note(
        "at_rest",
        name,
        still,
        "the form is zero: nothing moves to second order (saturated units, inputs out "
        "of the range the model was trained on, or not scaled as it expects)",
    )
    return found + _note(
        "infinite", name, sizes.infinite, f"the form is infinite: {_why(sizes)}"
    )


def _why(values: Values) -> str:
    said = [why for why, rows in values.explained().items() if rows.any()]
    return "; ".join(said)


def _isotropy(name: str, values: Mapping[str, Values]) -> Notes:
    if "gap" not in values:
        return []
    gap, rank = values["gap"], values["rank"]
    open_rows = int(((gap.numbers < ISOTROPIC) & ~(rank.numbers <= 1)).sum())
    if not open_rows:
        return []
    n = len(gap)
    where = "every input" if open_rows == n else f"{open_rows} of {n} inputs"
    message = (
        f"{name}: on {where} no direction is worse than another (the two largest "
        "eigenvalues are equal); the worst direction shown is one of many"
    )
    return [(f"isotropic_{name}", message)]


def _blur(name: str, columns: Mapping[str, Floats]) -> Notes:
    """Warn where finite differences are estimated to be off by too much."""
    if "derivative_error" not in columns:
        return []
    error = columns["derivative_error"]
    typical = float(np.nanmedian(error))
    if typical <= TOLERANCE:
        return []
    message = (
        f"{name}: the eigenvalues are estimated to be off by {typical:.1%} on half "
        f"the inputs (finite differences; {TOLERANCE:.0%} is accepted)"
    )
    return [("finite_difference_error", message)]


def _few_draws(name: str, columns: Mapping[str, Floats]) -> Notes:
    if "units" not in columns:
        return []
    units = columns["units"]
    fewest = int(np.nanmin(units)) if len(units) else LEAST
    return _note(
        "few_draws",
        name,
        units < LEAST,
        f"there are only {fewest} independent units of draws, below the {LEAST} that "
        "intervals need: they hold less often than they say; raise --draws-per-input",
    )


def _heavy_tails(name: str, columns: Mapping[str, Floats]) -> Notes:
    if "trace_share" not in columns:
        return []
    bad = (columns["trace_share"] > HEAVY) & (columns["draws"] >= _ENOUGH)
    return _note(
        "heavy_tails",
        name,
        bad,
        f"a single draw carries more than {HEAVY:.0%} of the sum behind the trace: the "
        "mean and its standard error are not usable there (heavy tails); read "
        "trace_median instead",
    )


def _mismatch(name: str, columns: Mapping[str, Floats]) -> Notes:
    if "score_mean" not in columns:
        return []
    mean = columns["score_mean"]
    noise = columns.get(named("score_mean", ERROR), np.zeros_like(mean))
    size = np.sqrt(columns["trace"] + np.square(mean))  # of one score
    bad = (mean > _SIGMAS * noise) & (mean > _SCORE * size)
    what = (
        "the mean score is not zero: the draws do not come from this density, its "
        "support moves with x (KL is infinite then), or its normalisation depends on x "
        "(if it may, pass --unnormalised)"
    )
    return [(MEAN, message) for _, message in _note(MEAN, name, bad, what)]


def _mass(name: str, columns: Mapping[str, Floats]) -> Notes:
    if "normalisation" not in columns:
        return []
    apart = np.abs(columns["normalisation"] - 1)
    if "quadrature_error" in columns:
        bad = apart > _GRID_MASS + 10 * columns["quadrature_error"]
        what = (
            "the density does not integrate to one (see normalisation): the grid has "
            "missed some of its mass, or it is not normalised (if so, pass "
            "--unnormalised)"
        )
        return [(MASS, message) for _, message in _note(MASS, name, bad, what)]
    bad = apart > _MASS + _SIGMAS * columns[named("normalisation", ERROR)]
    what = "importance sampling finds that the density does not integrate to one"
    return _note("mass", name, bad, what)


def _rules(name: str, columns: Mapping[str, Floats]) -> Notes:
    found: Notes = []
    if "quadrature_error" in columns:
        bad = ~(columns["quadrature_error"] <= _RULE)
        what = "the grid does not resolve the density (see quadrature_error)"
        found += _note("quadrature", name, bad, what)
    if "rhat" in columns:
        bad = ~(columns["rhat"] <= _RHAT)
        what = f"the chains have not mixed (R-hat above {_RHAT:g})"
        found += _note("chains", name, bad, what)
    return found


def _open_direction(name: str, columns: Mapping[str, Floats]) -> Notes:
    if "direction_angle" not in columns:
        return []
    bad = (columns["direction_angle"] > _APART) & (columns["rank"] > 1)
    return _note(
        "unresolved",
        name,
        bad,
        f"the worst directions of two halves of the draws are more than {_APART:.0f}° "
        "apart, so the one shown is uncertain; raise --draws-per-input",
    )


def _not_reached(name: str, columns: Mapping[str, Floats], rel_error: float) -> Notes:
    bad = np.zeros(len(columns[next(iter(columns))]), dtype=bool)
    for quantity in ("trace", "eigenvalue"):
        error = columns.get(named(quantity, ERROR))
        if error is not None:
            bad |= error > rel_error * columns[quantity]
    if not bad.any():
        return []
    by_probes = "residual" in columns
    message = (
        f"{name}: on {int(bad.sum())} of {len(bad)} inputs the standard error is above "
        f"{rel_error:g} of the value "
    )
    message += (
        "(its trace is probed by products with the Jacobian, not drawn); pass --method "
        "dense, or leave --rel-error out"
        if by_probes
        else "after all the draws allowed; raise --max-draws"
    )
    return [(NOT_REACHED, message)]
