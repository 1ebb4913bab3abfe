"""What a scan hands over: plain numpy data, one number for each audited input.

The scan makes a `Measured`; `build.build_report` makes the report of it. Nothing here
knows torch.

Shapes: N audited inputs, K directions kept, *event the shape of one input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy import int64
from numpy.typing import NDArray

from audit.reports.audited import Model
from audit.reports.found import UnderAttack, Verification
from audit.reports.portrayed import PortraitInfo
from audit.reports.sampling import Sample
from audit.reports.series import Table
from audit.reports.values import Floats

Columns = Mapping[str, Table]
"""Divergence -> quantity -> the values of all inputs."""


@dataclass(frozen=True)
class DataRecord:
    """The data that were audited."""

    source: str
    sha256: str
    n_total: int
    event_shape: tuple[int, ...]
    units: str = "input"
    sampling: str = "all"
    """Which rows were audited: "all", "first 100", "random 100, seed 0", "index"."""
    feature_names: list[str] | None = None
    """One for each feature of an input, row-major; None: they have numbers only."""
    n_free: int | None = None
    """How many features may move; None: all."""


@dataclass(frozen=True)
class DivergenceInfo:
    """How one divergence was measured: c, its unit and the estimator of G."""

    scale: float
    unit: str
    estimator: str = "closed_form"
    """`closed_form`, `monte_carlo`, `quadrature` or `finite_difference`."""
    draws: int | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Worst:
    """One of the inputs where the first divergence is most sensitive."""

    index: int
    directions: dict[str, Floats] = field(default_factory=dict)
    """Divergence -> [K, *event], unit norm in the units of the perturbation."""
    eigenvalues: dict[str, Floats] = field(default_factory=dict)
    """Divergence -> [K], of G without c, descending."""


@dataclass(frozen=True)
class Means:
    """What the worst direction v is on average, over the `n` inputs that have one.

    |v| of each feature [*event], or the share of each coordinate of θ in its cost [C].
    """

    n: int
    mean: Floats | None
    """None where there is none, with a reason where it is not for want of inputs."""
    reason: str | None = None


@dataclass(frozen=True)
class UniversalInfo:
    """The direction that is worst for all inputs at once; see `report.Universal`."""

    n: int
    left_out: int = 0
    """Inputs whose form is not finite."""
    eigenvalue: float | None = None
    mean_eigenvalue: float | None = None
    direction: Floats | None = None
    """[*event], unit norm in the units of the perturbation."""
    signs: Mapping[str, int] = field(default_factory=dict)
    """Attack label -> 1 or -1, the sign that costs more over the checked inputs."""
    reason: str | None = None


@dataclass(frozen=True)
class Checks:
    """Where exact values were taken, and what they are."""

    sample: Sample
    quantities: Mapping[str, frozenset[str]]
    """Divergence -> the quantities that were measured on the sample alone."""
    verification: Mapping[str, Mapping[str, Verification]] = field(default_factory=dict)
    """Divergence -> attack label, or "radius" -> exact over predicted."""


@dataclass
class Measured:
    """Everything a scan measured."""

    index: NDArray[int64]
    """[N] input indices, ascending."""
    columns: Columns
    divergences: dict[str, DivergenceInfo]
    model: Model
    data: DataRecord
    worst: list[Worst] = field(default_factory=list)
    checks: Checks | None = None
    skipped: list[tuple[int, str]] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    """(code, message)."""
    run: dict[str, Any] = field(default_factory=dict)
    """All that changes from run to run: times, versions, device, batch size."""
    features: dict[str, Means] = field(default_factory=dict)
    """Divergence -> what its worst directions move."""
    spectra: dict[str, Floats] = field(default_factory=dict)
    """Divergence -> leading eigenvalues [N, K], of G without c, descending."""
    coordinates: dict[str, Means] = field(default_factory=dict)
    """Divergence -> what its worst directions cost in each coordinate of θ."""
    universal: dict[str, UniversalInfo] = field(default_factory=dict)
    """Divergence -> the worst direction of all inputs at once."""
    portraits: list[PortraitInfo] = field(default_factory=list)
    """Of the worst inputs, in their order."""
    under_attack: UnderAttack | None = None
    """Where the data hold θ, and --target-key names it."""
