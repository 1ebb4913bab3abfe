"""The rows of the table of quantities: unit, formula and reading of each number.

G = AᵀA is the local metric tensor, c the divergence's constant: D ≈ c δᵀ G δ.
"""

from __future__ import annotations

from dataclasses import dataclass

from audit.ground.tables import table


@dataclass(frozen=True)
class Quantity:
    """One kind of number: its unit, its formula and what it tells."""

    name: str
    unit: str
    """May hold {unit}, the divergence's own; δ is the perturbation's unit."""
    formula: str
    reading: str
    at_sizes: bool = False
    """Whether it is measured at several sizes ε of the perturbation."""


def _rows(of: str) -> tuple[Quantity, ...]:
    """Return a table of quantities, each as `tables/NAME.txt` has it."""
    return tuple(
        Quantity(name, unit, formula, reading, bool(at_sizes))
        for name, unit, formula, *at_sizes, reading in table(__file__, of)
    )


FORM_QUANTITIES = _rows("form")
MOVED_QUANTITIES = _rows("moved")
"""What the top direction moves."""
ATTACK_QUANTITIES = _rows("attack")
TRUST_QUANTITIES = _rows("trust")
"""How far an estimate may be believed. q(θ|x) is the density of the model, drawn from
or put on a grid; the `_se` of a quantity without a row of its own is its error."""
TRUST = tuple(row.name for row in TRUST_QUANTITIES)
