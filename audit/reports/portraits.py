"""The worst inputs to look at: x, x + δ at the critical radius, and both predictions.

A picture of a prediction is data first: quantiles of each coordinate of θ, and where
there are one or two coordinates, or classes, the density or the masses on a grid that
both laws share. They are worked out where the model is open, so that a saved report can
be drawn without it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from audit.reports.record import Number, Record

Kind = Literal["density", "masses", "contour", "quantiles"]


class Prediction(Record):
    """The law at x, or at x + δ."""

    parameters: dict[str, Any] = Field(default_factory=dict)
    """Of a named family: parameter -> its values, in nested lists."""
    quantiles: list[list[Number]] | None = None
    """A row for each level, with a number for each coordinate of θ."""
    density: list[Number] | None = None
    """On the grid of `axes`; masses of classes and counts."""
    regions: dict[str, list[list[tuple[float, float]]]] = Field(default_factory=dict)
    """Level -> the lines around the highest-density region of this mass, each as its
    points (θ₀, θ₁)."""


class Portrait(Record):
    """One of the worst inputs, moved by its critical radius in the first divergence."""

    index: int
    divergence: str
    radius: Number = None
    """‖δ‖ in units of the perturbation; null with a reason."""
    cost: Number = None
    """The exact divergence at δ: τ, or more where it jumps over τ."""
    reason: str = ""
    """Why there is no δ, or why it is not kept."""
    x: Any = None
    """In the shape of one input, as the scan saw it."""
    delta: Any = None
    """δ at the critical radius, in the inputs' own units; the shape of one input."""
    unit: Any = None
    """One unit of each feature; null where it is 1, or where δ is null."""
    kind: Kind | None = None
    """What pictures the predictions; null with a sentence in `unpictured`."""
    levels: list[float] = Field(default_factory=list)
    """Of the quantiles."""
    axes: list[list[Number]] = Field(default_factory=list)
    """The grid of each coordinate of θ; the classes or counts of masses."""
    how: str = ""
    """Where quantiles come from."""
    before: Prediction | None = None
    after: Prediction | None = None
    unpictured: str = ""
