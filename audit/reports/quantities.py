"""The table of quantities: what each number of a report is and how to read it.

A name is looked up in the table, then as an attack's label, then by its suffix (`_se`,
`_realised`, …), so a new quantity is one row and a new attack is none.

G = AᵀA is the local metric tensor, c the divergence's constant: D ≈ c δᵀ G δ.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from audit.reports.formulas import (
    ATTACK_QUANTITIES,
    FORM_QUANTITIES,
    MOVED_QUANTITIES,
    Quantity,
)
from audit.reports.trust import TRUST_QUANTITIES

PERCENTILES = {"p01": 0.01, "p05": 0.05, "p50": 0.5, "p95": 0.95, "p99": 0.99}
STATISTICS = ("mean", "std", "min", *PERCENTILES, "max")
"""What a summary says of each quantity, and the last part of a gate's key."""

QUANTITIES = (*FORM_QUANTITIES, *MOVED_QUANTITIES, *TRUST_QUANTITIES)
ATTACK_KINDS = tuple(row.name for row in ATTACK_QUANTITIES)
MOVED = tuple(row.name for row in MOVED_QUANTITIES)
_BY_NAME = {row.name: row for row in (*QUANTITIES, *ATTACK_QUANTITIES)}
_LABELLED = Quantity(
    "attack",
    "{unit}",
    "E_δ[c δᵀ G δ] under the attack's law of δ",
    "The expected degradation under this attack.",
)


_SUFFIXES: tuple[tuple[str, str | None, str, str], ...] = (
    (
        "_se",
        None,
        "Monte-Carlo standard error of {0}",
        "How far {0} may be off because it was sampled.",
    ),
    (
        "_lower",
        None,
        "lower end of the 95 % interval of {0}",
        "{0} is sampled; it lies above this, in 39 of 40 cases.",
    ),
    (
        "_upper",
        None,
        "upper end of the 95 % interval of {0}",
        "{0} is sampled; it lies below this, in 39 of 40 cases.",
    ),
    (
        "_realised",
        None,
        "{0} with the exact divergence in place of c δᵀ G δ",
        "What really happens at the attack's own size; {0} is the second-order "
        "prediction of it.",
    ),
    (
        "_ratio",
        "",
        "{0}_realised / {0}",
        "Near 1 the prediction holds at the attack's own size.",
    ),
    (
        "_parted",
        "",
        "1 where {0}_realised is surely more than 10 % from {0}, else 0",
        "The mean is the share of inputs whose prediction of {0} is not to be believed "
        "at the attack's own size.",
    ),
    (
        "_universal",
        None,
        "{0} with the exact divergence along ±v̄, v̄ the top eigenvector of mean G",
        "What one and the same perturbation costs, of {0}'s size, with the sign that "
        "is worse for all inputs together.",
    ),
)
"""Suffix of a quantity, its unit (None: the quantity's), formula, reading."""


def base_name(name: str) -> str:
    """Return a quantity's name without its suffixes: "weak" of "weak_realised_se"."""
    for suffix, *_ in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def describe(name: str, labels: Collection[str] = ()) -> Quantity | None:
    """Return what the quantity `name` is, or None when no rule knows it.

    Args:
        name: a quantity's name, e.g. "trace", "weak_realised", "gaussian_se".
        labels: labels of attacks beside the kinds that are in the table.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name in labels:
        return replace(_LABELLED, name=name)
    return _suffixed(name, labels)


def _suffixed(name: str, labels: Collection[str]) -> Quantity | None:
    for suffix, unit, formula, reading in _SUFFIXES:
        if name.endswith(suffix) and (
            base := describe(name.removesuffix(suffix), labels)
        ):
            return Quantity(
                name,
                base.unit if unit is None else unit,
                formula.format(base.name),
                reading.format(base.name),
            )
    return None


def is_attack(name: str, labels: Collection[str]) -> bool:
    """Tell whether the quantity `name` is an attack's expected degradation."""
    return name in labels or name in ATTACK_KINDS
