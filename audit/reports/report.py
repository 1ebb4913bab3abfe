"""The report: schema 1.1, what `-o report.json` holds (DESIGN section 4).

All that changes from run to run sits in `run`; the rest is the same bytes for the
same model, data, settings and seed. Numbers are those of the extended real line: JSON
has no ∞, so it is the text "Infinity". A number that could not be measured is null and
its reason stands beside it.

Reports of schema 1.0 are read by `json`.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from audit.reports.found import Attacked as Attacked
from audit.reports.found import Bounded as Bounded
from audit.reports.found import File as File
from audit.reports.found import UnderAttack as UnderAttack
from audit.reports.found import Verification as Verification
from audit.reports.portraits import Portrait
from audit.reports.record import Interval as Interval
from audit.reports.record import Number as Number
from audit.reports.record import Record

SCHEMA_VERSION = "1.1"
Status = Literal["pass", "fail", "borderline", "unmeasured", "undecided"]


class Tool(Record):
    """Who wrote the report."""

    name: str = "robaudit"
    version: str


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


class Outcomes(Record):
    """What became of the values of one divergence that are not plain numbers.

    "Infinity" in a column is an infinite value, unless its input is at rest.
    """

    at_rest: list[int] = Field(default_factory=list)
    """Inputs where the form is zero: their zeros and infinities are limits."""
    not_measured: dict[str, dict[str, list[int]]] = Field(default_factory=dict)
    """Quantity -> reason -> inputs. Of a checked quantity only the checked ones."""


class Checked(Record):
    """The inputs where exact values were taken: the worst, and random others."""

    index: list[int]
    weights: list[float]
    """How many audited inputs each of them stands for."""
    strata: list[int]
    """0: among the most sensitive, all of which were taken; 1: drawn at random."""


class Inputs(Record):
    """Every scalar of every audited input: {index, DIVERGENCE: {QUANTITY: [N]}}."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, dict[str, list[Number]]] = Field(init=False)
    index: list[int]
    outcomes: dict[str, Outcomes] = Field(default_factory=dict)

    @property
    def columns(self) -> dict[str, dict[str, list[Number]]]:
        """Divergence -> quantity -> values."""
        return self.__pydantic_extra__


class WorstInput(Record):
    """One of the most sensitive inputs: {index, DIVERGENCE: {QUANTITY: value}, ...}."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, dict[str, Number]] = Field(init=False)
    index: int
    outcomes: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Divergence -> quantity -> what became of a value that is no finite number."""
    directions: dict[str, Any] = Field(default_factory=dict)
    """Divergence -> [K, *event]; null when an input is too large to print."""
    eigenvalues: dict[str, list[Number]] = Field(default_factory=dict)

    @property
    def values(self) -> dict[str, dict[str, Number]]:
        """Divergence -> quantity -> value."""
        return self.__pydantic_extra__


class Change(Record):
    """A number against that of a baseline."""

    old: Number
    change: Number
    """New less old."""
    ci95: Interval
    allowed: float
    """The change that the limit allows."""
    relative: bool = False
    """Whether change, interval and what is allowed are shares of |old|."""
    n: int
    """Inputs in both reports."""
    unpaired: str = ""
    """Why the two numbers are not compared input by input; "" if they are."""
    n_old: int | None = None
    """Inputs of the baseline with a value, where they are paired."""


class Check(Record):
    """One threshold and what became of it."""

    key: str
    op: Literal["<=", ">="]
    limit: float
    value: Number
    ci95: Interval
    holds: bool | None
    """Whether the measured value keeps the limit: this decides the verdict."""
    status: Status
    """`borderline`: the 95 % interval straddles the limit. `unmeasured`: there is no
    number to judge. `undecided`: there is one, and `doubt` says why it decides
    nothing."""
    doubt: str = ""
    """Why the report does not believe the number; with --accept-unverified it decides
    all the same, and `accepted` says so."""
    accepted: bool = False
    change: Change | None = None
    """Of a limit on a change: what is judged instead of the value."""
    level: Literal["error", "warn"] = "error"
    source: str = ""
    waiver: str = ""
    """Why it may be broken and until when, or that this has expired."""
    offenders: list[int] = Field(default_factory=list)
    """Up to ten inputs beyond the limit, the farthest first."""
    n_offending: int | None = None


class Skipped(Record):
    """An input that could not be measured."""

    index: int
    reason: str


class Warned(Record):
    """Something the reader should know."""

    code: str
    message: str


class Report(Record):
    """The result of one scan."""

    schema_version: str = SCHEMA_VERSION
    tool: Tool
    verdict: Literal["pass", "fail", "none"] = "none"
    exit_code: int = 0
    fingerprint: str
    model: Model
    data: Data
    config: dict[str, Setting]
    divergences: dict[str, Divergence]
    inputs: Inputs | None
    """Null beyond 10,000 inputs: then only the rows file lists them."""
    checked: Checked | None = None
    under_attack: UnderAttack | None = None
    """Null unless --target-key names the θ of the data."""
    worst: list[WorstInput]
    portraits: list[Portrait] = Field(default_factory=list)
    """Of the worst inputs, in their order; empty where nothing was checked."""
    checks: list[Check] = Field(default_factory=list)
    skipped: list[Skipped]
    warnings: list[Warned]
    run: dict[str, Any]

    @property
    def attacks(self) -> dict[str, str]:
        """Label -> specification of the attacks, "gaussian" -> "gaussian:sigma=0.1"."""
        setting = self.config.get("attacks")
        specs = [str(spec) for spec in setting.value] if setting else []
        found: dict[str, str] = {}
        for spec in specs:
            label, _, kind = spec.partition(":")[0].partition("=")
            found[label] = spec[len(label) + 1 :] if kind else spec
        return found

    @property
    def ranked(self) -> list[str]:
        """The divergences in the order they were asked for (JSON sorts its keys)."""
        setting = self.config.get("divergences")
        asked = [str(name) for name in setting.value or ()] if setting else []
        order = {name: rank for rank, name in enumerate(asked or ("kl", "quantile"))}
        return sorted(
            self.divergences, key=lambda name: (order.get(name, len(order)), name)
        )
