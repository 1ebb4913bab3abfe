"""Proven bounds on an imported graph over a ball around each input.

    from audit.importer import load_graph
    from audit.importer.relaxation import Ball, Relaxed, Tape, read

    tape = Tape(x)                                       # [B, *event], float64
    (y,) = read(load_graph("model.onnx", torch.float64), tape, "x", {}).values()
    ball = Ball(x, reach, 2.0, free, unit)
    planes = Relaxed(tape, ball).upper(y.at, weights)    # level + slopes · u ≥ w·y

`bounds` has the mathematics and the bound on rounding, `curves` that of activations;
`rules` and the modules that it loads hold one function for each operator.
"""

from audit.importer.relaxation.ball import Ball
from audit.importer.relaxation.bounds import Relaxed
from audit.importer.relaxation.planes import Planes, dot
from audit.importer.relaxation.reading import read
from audit.importer.relaxation.rules import Compared, Moving, Operand, Softened
from audit.importer.relaxation.slopes import Slopes, slopes_of
from audit.importer.relaxation.tape import Affine, Bend, Tape, refusal

__all__ = [
    "Affine",
    "Ball",
    "Bend",
    "Compared",
    "Moving",
    "Operand",
    "Planes",
    "Relaxed",
    "Slopes",
    "Softened",
    "Tape",
    "dot",
    "read",
    "refusal",
    "slopes_of",
]
