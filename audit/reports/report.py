"""The report: schema 1.0, what `-o report.json` holds (DESIGN section 4).

All that changes from run to run sits in `run`; the rest is the same bytes for the
same model, data, settings and seed. A number that could not be measured is null and
its reason stands beside it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = "1.0"
Number = float | None
Interval = tuple[float, float] | None
Status = Literal["pass", "fail", "borderline", "unmeasured"]


class Record(BaseModel):
    """A part of a report; unknown fields of later 1.x schemas are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Tool(Record):
    """Who wrote the report."""

    name: str = "robaudit"
    version: str


class File(Record):
    """One file of the model."""

    path: str
    bytes: int
    sha256: str


class Tensor(Record):
    """An input or output of the model; a symbolic length is null."""

    name: str
    dtype: str
    shape: list[int | None]


class Derivative(Record):
    """How derivatives were taken, and how far the forward pass was off."""

    method: str
    forward_error: Number = None


class Model(Record):
    """The audited model and how its outputs were read."""

    format: str
    files: list[File]
    weights_sha256: str | None
    contract: str
    family: str
    parameters: dict[str, str]
    inputs: list[Tensor]
    outputs: list[Tensor]
    derivative: Derivative
    origins: dict[str, str] = Field(default_factory=dict)
    gates: dict[str, float | str] = Field(default_factory=dict)
    """What was checked before a number was measured, and how well it agreed."""

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


class Bins(Record):
    """Counts in equal bins from `low` to `high`."""

    scale: Literal["linear", "log"]
    low: float
    high: float
    counts: list[int]


class Intervals(Record):
    """95 % intervals over the audited inputs; null: too few inputs."""

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
    """Why some values are missing."""


class Verification(Record):
    """Realised over predicted degradation for one attack."""

    n: int
    parted: int
    ratio_p05: Number = None
    ratio_p50: Number = None
    ratio_p95: Number = None
    noisy: int = 0
    """Inputs that look parted, but by no more than their errors explain."""


class FeatureMeans(Record):
    """Which features the worst direction v moves, over all `n` inputs that have one."""

    n: int
    mean_abs: Any = None
    """The mean of |v|, in the shape of one input; null with a reason."""
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
    features: FeatureMeans | None = None
    spectrum: SpectrumBand | None = None


class Inputs(Record):
    """Every scalar of every audited input: {index, DIVERGENCE: {QUANTITY: [N]}}."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, dict[str, list[Number]]] = Field(init=False)
    index: list[int]

    @property
    def columns(self) -> dict[str, dict[str, list[Number]]]:
        """Divergence -> quantity -> values."""
        return self.__pydantic_extra__


class WorstInput(Record):
    """One of the most sensitive inputs: {index, DIVERGENCE: {QUANTITY: value}, ...}."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, dict[str, Number]] = Field(init=False)
    index: int
    directions: dict[str, Any] = Field(default_factory=dict)
    """Divergence -> [K, *event]; null when an input is too large to print."""
    eigenvalues: dict[str, list[Number]] = Field(default_factory=dict)

    @property
    def values(self) -> dict[str, dict[str, Number]]:
        """Divergence -> quantity -> value."""
        return self.__pydantic_extra__


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
    """`borderline`: the 95 % interval of the value straddles the limit."""
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
    worst: list[WorstInput]
    checks: list[Check] = Field(default_factory=list)
    skipped: list[Skipped]
    warnings: list[Warned]
    run: dict[str, Any]

    @property
    def ranked(self) -> list[str]:
        """The divergences in the order they were asked for (JSON sorts its keys)."""
        setting = self.config.get("divergences")
        asked = [str(name) for name in setting.value or ()] if setting else []
        order = {name: rank for rank, name in enumerate(asked or ("kl", "quantile"))}
        return sorted(self.divergences, key=lambda name: (order.get(name, 99), name))
