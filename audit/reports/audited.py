"""What was audited: the model, the data and the settings of a scan."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, field_validator

from audit.reports.found import File
from audit.reports.record import Number, Record


class Tensor(Record):
    """An input or output of the model; a symbolic length is null."""

    name: str
    dtype: str
    shape: list[int | None]


class Derivative(Record):
    """How derivatives were taken, and how far the forward pass was off."""

    method: str
    forward_error: Number = None
    """The largest difference from the file's own runtime, relative; null: unknown."""

    @field_validator("forward_error")
    @classmethod
    def _finite(cls, value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None


class Model(Record):
    """The audited model and how its outputs were read."""

    format: str
    files: list[File]
    weights_sha256: str | None
    contract: str
    family: str
    parameters: dict[str, str]
    """Parameter of the family -> expression over the outputs."""
    inputs: list[Tensor]
    outputs: list[Tensor]
    derivative: Derivative
    origins: dict[str, str] = Field(default_factory=dict)
    """Item of the contract -> where it was read."""
    gates: dict[str, float | str] = Field(default_factory=dict)
    """What was checked before a number was measured, and how well it agreed."""
    class_names: list[str] | None = Field(default=None, exclude_if=lambda v: v is None)
    """Of a classifier whose classes are named, in the order of its answers."""

    @property
    def law(self) -> str:
        """The family, or the contract of a file whose law has no name."""
        return self.family if self.contract == "parameters" else self.contract


class Data(Record):
    """The audited data."""

    source: str
    sha256: str
    n_total: int
    n_audited: int
    n_skipped: int
    event_shape: list[int]
    units: str
    sampling: str
    feature_names: list[str] | None = None
    """One for each feature, row-major; null where the data do not name them."""


class Setting(Record):
    """One option and the layer that set it."""

    value: Any
    origin: str
    files: dict[str, str] = Field(default_factory=dict)
    """Path -> digest of the files that the value names, model and data aside."""
