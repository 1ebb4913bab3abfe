"""One block of inputs: model -> quadratic form -> spectrum -> attacks -> answers."""

from audit.linalg.quadratic_form import QuadraticForm
from audit.measure.answers import Answers, joined
from audit.measure.block import measure
from audit.measure.columns import LINEAR, linear_law
from audit.measure.mean_form import MeanForm
from audit.measure.point import Point, stored
from audit.measure.questions import Questions

__all__ = [
    "LINEAR",
    "Answers",
    "MeanForm",
    "Point",
    "QuadraticForm",
    "Questions",
    "joined",
    "linear_law",
    "measure",
    "stored",
]
