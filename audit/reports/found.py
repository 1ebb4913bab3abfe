"""What a scan finds and its report keeps as it is: files, exact values, likelihoods."""

from __future__ import annotations

from dataclasses import dataclass, field

from audit.reports.record import Extended, Interval, Number


@dataclass(frozen=True)
class File:
    """One file of the model."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Verification:
    """Exact over predicted: realised degradation of an attack, or critical radius."""

    n: int
    parted: int
    """Inputs where the two differ by more than the tolerance."""
    ratio_p05: Number = None
    ratio_p50: Number = None
    ratio_p95: Number = None
    """Percentiles over the checked inputs, no interval of any of them."""
    noisy: int = 0
    """Inputs that look parted, but by no more than their errors explain."""
    pooled: Number = None
    """The ratio of all checked inputs together."""
    pooled_ci95: Interval = None
    unknown: int = 0
    """Checked inputs where nothing can be compared; not among the `n`."""
    at_rest: int = 0
    """Of these, inputs without a direction, where sampled ones moved nothing."""


@dataclass(frozen=True)
class Bounded:
    """A number, and its 95 % interval where one is known."""

    value: Extended
    ci95: Interval = None


@dataclass(frozen=True)
class Attacked:
    """How well the law at x + δ knows the θ of x."""

    attack: str
    """`clean`, `noise`, `direction` (±v, the side that moves the law more), …"""
    size: float
    """‖δ‖ in units of the perturbation; of noise √E‖δ‖²."""
    nll: Bounded
    """Mean of −ln q(θ|x + δ), nats."""
    nll_loss: Bounded
    """Mean of ln q(θ|x) − ln q(θ|x + δ), input by input, nats."""
    coverage: dict[str, Bounded]
    """Level -> share of inputs whose θ is in the highest-density region of it."""
    pit: list[Bounded]
    """Kolmogorov distance of each coordinate's PIT to the uniform law; empty where
    there are too many coordinates, or classes."""
    accuracy: Bounded | None = None
    """Share of inputs whose likeliest class is θ; null where the law has no classes."""
    n_excluded: int = 0
    """Inputs whose θ the law gives no probability."""
    n_lost: int = 0
    """Inputs where x + δ has parameters of no law; their θ counts as excluded."""


@dataclass(frozen=True)
class UnderAttack:
    """The data's θ against the model, clean and attacked."""

    key: str
    n: int
    draws: int
    """θ drawn from the law at each input and δ, for coverage and PIT."""
    divergence: str
    """Whose worst direction, on its worse side, is the attack's."""
    clean: Attacked
    attacked: list[Attacked]
    notes: list[str] = field(default_factory=list)
