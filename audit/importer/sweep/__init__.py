"""The reverse sweep of an imported program: Jacobians with one walk for all rows.

`rules` says what a rule is, `rows` what it pulls back, `path` which steps have one, and
`linear` runs them. `pointwise`, `moved`, `products`, `convolved` and `normal` hold the
rules; what has none goes `alone`, by autograd.
"""

from audit.importer.sweep.linear import Linear, Sweep, sweep_of
from audit.importer.sweep.rows import Axes, Dense, Piece
from audit.importer.sweep.rules import NotSwept

__all__ = ["Axes", "Dense", "Linear", "NotSwept", "Piece", "Sweep", "sweep_of"]
