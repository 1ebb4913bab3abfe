"""May a Monte-Carlo number be believed? Warnings from the columns of a scan.

Each check is a share of inputs that fail it. None stops a scan: the numbers are there,
with what is wrong with them beside. Three of them leave no verdict to trust (exit 4):
an error above the one asked for, a mean score that is not zero, mass that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
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


def trust_warnings(
    name: str,
    columns: Mapping[str, Floats],
    rel_error: float | None,
    unnormalised: bool = False,
) -> Notes:
    """Return (code, message) of what makes a divergence's numbers doubtful.

    Args:
        name: the divergence.
        columns: quantity -> [N].
        rel_error: the error that was asked for, None if none was.
        unnormalised: whether the user says that q need not integrate to one.
    """
    found = [*_heavy_tails(name, columns), *_rules(name, columns)]
    if not unnormalised:
        found += [*_mismatch(name, columns), *_mass(name, columns)]
    found += _open_direction(name, columns)
    if rel_error is not None:
        found += _not_reached(name, columns, rel_error)
    return found


def _note(code: str, name: str, bad: NDArray[np.bool_], what: str) -> Notes:
    if not bad.any():
        return []
    message = f"{name}: on {int(bad.sum())} of {len(bad)} inputs {what}"
    return [(f"{code}_{name}", message)]


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
    noise = columns.get("score_mean_se", np.zeros_like(mean))
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
    bad = apart > _MASS + _SIGMAS * columns["normalisation_se"]
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
        if f"{quantity}_se" in columns:
            bad |= columns[f"{quantity}_se"] > rel_error * columns[quantity]
    if not bad.any():
        return []
    message = (
        f"{name}: on {int(bad.sum())} of {len(bad)} inputs the standard error is above "
        f"{rel_error:g} of the value after all the draws allowed; raise --max-draws"
    )
    return [(NOT_REACHED, message)]
