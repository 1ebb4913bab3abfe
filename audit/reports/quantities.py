"""The table of quantities: what each number of a report is and how to read it.

A name is looked up in the table, then as an attack's label, then by its size and its
roles (`roles`), so a new quantity is one row and a new attack is none.

G = AᵀA is the local metric tensor, c the divergence's constant: D ≈ c δᵀ G δ.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from audit.reports.formulas import (
    ATTACK_QUANTITIES,
    FORM_QUANTITIES,
    MOVED_QUANTITIES,
    TRUST_QUANTITIES,
    Quantity,
)
from audit.reports.roles import ATTACK, ERROR, Role, named, parsed, sized

PERCENTILES = {"p01": 0.01, "p05": 0.05, "p50": 0.5, "p95": 0.95, "p99": 0.99}
STATISTICS = ("mean", "std", "min", *PERCENTILES, "max")
"""What a summary says of each quantity, and the last part of a gate's key."""
SHOWN = ("p05", "p50", "mean", "p95", "max")
"""Those of a table that has no room for all."""

FEWEST_VALUES = 32
"""Of fewer inputs a mean has no interval: `ground.means` says what it would miss."""

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
    return _at_size(name) or _of_role(name, labels)


def _of_role(name: str, labels: Collection[str]) -> Quantity | None:
    base, roles = parsed(name)
    if not roles:
        return None
    role, inner = roles[-1], named(base, *roles[:-1])
    of = describe(inner, labels)
    if of is None or not _has(inner, role, labels):
        return None
    return Quantity(
        name,
        of.unit if role.unit is None else role.unit,
        role.formula.format(of.name),
        role.reading.format(of.name),
    )


def _has(inner: str, role: Role, labels: Collection[str]) -> bool:
    """Tell whether a column can have a role."""
    if role.of == ATTACK:
        return is_attack(inner, labels)
    return role.of in ("", inner)


def _at_size(name: str) -> Quantity | None:
    found = sized(name)
    of = found and _BY_NAME.get(found[0])
    return replace(of, name=name) if of and of.at_sizes else None


def is_attack(name: str, labels: Collection[str]) -> bool:
    """Tell whether the quantity `name` is an attack's expected degradation."""
    return name in labels or name in ATTACK_KINDS


def robust_side(name: str) -> str:
    """Return which values of the quantity `name` are those of a robuster model.

    Costs are in the divergence's own unit: the smaller the better, `<=`. Radii are in
    that of the perturbation: the larger, `>=`. Neither can be said of other numbers, or
    of errors: "".
    """
    base, roles = parsed(name)
    if ERROR in roles or any(role.unit is not None for role in roles):
        return ""
    of = describe(base) or _LABELLED
    if of.unit == "δ":
        return ">="
    return "<=" if of.unit.startswith("{unit}") else ""
