"""What the parts of a report have in common: numbers of the extended real line."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, WithJsonSchema


def _ordered(value: float) -> float:
    if math.isnan(value):
        raise ValueError("NaN is no number of a report")
    return value


Extended = Annotated[
    float,
    AfterValidator(_ordered),
    WithJsonSchema(
        {"anyOf": [{"type": "number"}, {"enum": ["Infinity", "-Infinity"]}]}
    ),
]
"""A number or ±∞."""
Number = Extended | None
Interval = tuple[Extended, Extended] | None


class Record(BaseModel):
    """A part of a report; unknown fields of later 1.x schemas are ignored."""

    model_config = ConfigDict(extra="ignore")
