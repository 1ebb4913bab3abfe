"""One block of inputs: model -> quadratic form -> spectrum -> attacks -> columns."""

from audit.measure.block import measure
from audit.measure.columns import LINEAR, linear_law
from audit.measure.point import Point, stored
from audit.measure.questions import Chunk, Floats, Questions

__all__ = [
    "LINEAR",
    "Chunk",
    "Floats",
    "Point",
    "Questions",
    "linear_law",
    "measure",
    "stored",
]
