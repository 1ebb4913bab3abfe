"""The reverse sweep of an imported program: Jacobians with one walk for all rows.

`rules` says what a rule is, `rows` what it pulls back, `path` which steps have one,
`way` how they follow each other, `program` runs them forward and `linear` both ways.
`pointwise`, `taken`, `moved`, `products`, `convolved` and `normal` hold the rules; what
has none goes `alone`, by autograd.
"""

from audit.importer.sweep.linear import Linear
from audit.importer.sweep.program import Sweep, sweep_of
from audit.importer.sweep.rows import Axes, Dense, Piece
from audit.importer.sweep.rules import NotSwept
from audit.importer.sweep.way import Way

__all__ = ["Axes", "Dense", "Linear", "NotSwept", "Piece", "Sweep", "Way", "sweep_of"]
