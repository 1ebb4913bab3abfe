"""One divergence in a report: every quantity over all audited inputs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from audit.reports.found import Verification
from audit.reports.record import Interval, Number, Record


class Bins(Record):
    """Counts in equal bins from `low` to `high`."""

    scale: Literal["linear", "log"]
    low: float
    high: float
    counts: list[int]

    @property
    def edges(self) -> list[float]:
        """The ends of the bins, ascending; one more than there are bins."""
        low, high, bins = self.low, self.high, len(self.counts)
        if self.scale == "log":
            return [low * (high / low) ** (k / bins) for k in range(bins + 1)]
        return [low + (high - low) * k / bins for k in range(bins + 1)]


class Intervals(Record):
    """95 % intervals over the audited inputs; null: these inputs do not tell."""

    mean: Interval = None
    p01: Interval = None
    p05: Interval = None
    p50: Interval = None
    p95: Interval = None
    p99: Interval = None


class Summary(Record):
    """One quantity over all audited inputs."""

    unit: str
    n: int
    """Inputs with a value; ∞ is one."""
    n_infinite: int = 0
    n_at_rest: int = 0
    """Inputs where the form is zero: nothing moves to second order."""
    n_not_measured: int = 0
    n_checked: int | None = None
    """Inputs that were drawn to measure it: the statistics estimate those of all."""
    mean: Number = None
    std: Number = None
    min: Number = None
    p01: Number = None
    p05: Number = None
    p50: Number = None
    p95: Number = None
    p99: Number = None
    max: Number = None
    ci95: Intervals = Field(default_factory=Intervals)
    histogram: Bins | None = None
    reason: str | None = None
    """Why some values are missing; of a checked quantity, among the checked inputs."""
    infinite_reason: str | None = None
    """Why some values are infinite, where it is known."""


class Side(Record):
    """A prediction or a bound at one size, over the checked inputs."""

    n: int
    """Checked inputs with a value."""
    p50: Number = None
    """The median over all inputs, from the checked ones."""
    reaching: Number = None
    """The share of inputs where it is τ or more."""
    reason: str | None = None
    """Why some have no value."""


class Rung(Record):
    """What a perturbation of one size may do: from below, as predicted, from above."""

    size: float
    norm: Literal["2", "inf", "1"]
    predicted: Side | None = None
    along: Side | None = None
    """The exact divergence on the worse side of the worst direction."""
    witness: Side | None = None
    """The most that an ascent found: at most the truth."""
    certificate: Side | None = None
    """A proven bound: at least the truth."""


class FeatureMeans(Record):
    """Which features the worst direction v moves, over all `n` inputs that have one."""

    n: int
    mean_abs: Any = None
    """The mean of |v|, in the shape of one input; null with a reason."""
    reason: str | None = None


class CoordinateShares(Record):
    """The mean share of each coordinate of θ in the worst direction's cost."""

    n: int
    """Inputs with a single worst direction."""
    mean: list[Number] | None = None


class Universal(Record):
    """The direction that is worst for all inputs at once: the top one of mean G."""

    n: int
    """Inputs whose forms were averaged."""
    left_out: int = 0
    """Inputs whose form is not finite."""
    eigenvalue: Number = None
    """λ_max of the mean G, without c."""
    mean_eigenvalue: Number = None
    """The mean of λ_max(G) over the inputs."""
    universality: Number = None
    """Their ratio, in (0, 1]: 1 where one direction is the worst for every input."""
    direction: Any = None
    """In the shape of one input; null with a reason, or where it is too large."""
    signs: dict[str, int] = Field(default_factory=dict)
    """Attack -> the sign of the direction that costs more."""
    reason: str | None = None


class SpectrumBand(Record):
    """Percentiles over `n` inputs of each of the K leading eigenvalues of G."""

    n: int
    p05: list[Number]
    p50: list[Number]
    p95: list[Number]


class Divergence(Record):
    """One divergence: c, how G was estimated, and every quantity's summary."""

    scale: float
    unit: str
    estimator: Literal["closed_form", "monte_carlo", "quadrature", "finite_difference"]
    draws: int | None = None
    notes: list[str] = Field(default_factory=list)
    summary: dict[str, Summary]
    verification: dict[str, Verification] = Field(default_factory=dict)
    two_sided: list[Rung] = Field(default_factory=list)
    """At each size asked for, ascending."""
    features: FeatureMeans | None = None
    spectrum: SpectrumBand | None = None
    coordinates: CoordinateShares | None = None
    """Null where θ is one number, or its coordinates are not independent."""
    universal: Universal | None = None
