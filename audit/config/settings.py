"""The settings of a scan: frozen, plain, picklable records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from audit.ground.machine import free_memory

GIBIBYTE = 2**30
LEAST_MEMORY = 2**26


def share_of(free: int | None) -> int:
    """Return the bytes that a scan takes by default, of those that are free.

    Half of them, down to a power of two and at most 1 GiB: what may follow from it (how
    many inputs are computed together, whether a Jacobian is stored) is then the same on
    every machine with 2 GiB free, and does not hang on a few bytes anywhere.

    Args:
        free: None where nothing tells; 1 GiB is taken then.
    """
    if free is None:
        return GIBIBYTE
    half = max(free // 2, LEAST_MEMORY)
    return int(min(GIBIBYTE, 2 ** (half.bit_length() - 1)))


@dataclass(frozen=True)
class ModelConfig:
    """Which file is audited and how its outputs become a distribution.

    Whatever is None is inferred from the file, or refused with the option to give.
    """

    path: str = ""
    contract: str | None = None
    """`parameters`, `density` or `transport`."""
    family: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Parameter of the family -> expression over the file's outputs."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Options of the family that are not outputs, e.g. `levels`."""
    condition: str | None = None
    """Name of the model's perturbed input."""
    condition_key: str | None = None
    """Key of that input in the data file."""
    held: Mapping[str, str] = field(default_factory=dict)
    """Model input that is not perturbed -> key in the data file, or a value."""
    target: str | None = None
    noise: str | None = None
    noise_in_graph: int | None = None
    """The seed of what random operators of the graph draw; None: they are refused."""
    sampler: str | None = None
    draws: str | None = None
    input_layout: str | None = None
    target_space: str | None = None
    """What the coordinates of θ are, e.g. "rt:positive,choice:{-1,1}"."""
    unnormalised: bool = False
    """Whether log q is known up to a constant that may depend on x."""
    batch_axis: int | None = None
    """The axis of the rows in the file's outputs; None: the first."""
    members: int | None = None
    """The axis of the file's outputs that counts members of an ensemble."""
    rows: str | None = None
    """`one`: the file gets one row a call."""
    space: str = "input"
    """What is perturbed: the `input`, or the distribution's own `parameters`."""
    classes: str | tuple[str, ...] | None = None
    """Names of the classes of a classifier: "cat,dog", a file of them, or a list."""
    trust_model: bool = False
    dtype: str = "auto"
    device: str = "cpu"


@dataclass(frozen=True)
class AttackConfig:
    """A law of perturbations, `[LABEL=]KIND:ARG=VALUE,...`, not yet built."""

    label: str
    kind: str
    arguments: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        arguments = ",".join(f"{name}={text}" for name, text in self.arguments.items())
        spec = f"{self.kind}:{arguments}" if arguments else self.kind
        return spec if self.label == self.kind else f"{self.label}={spec}"


_VALUES = {"<=": "max", ">=": "min"}
_CHANGES = {"<=": "max_increase", ">=": "max_decrease"}


@dataclass(frozen=True)
class Threshold:
    """A limit on one number of the report, `divergence.quantity.statistic`."""

    key: str
    op: str
    """`<=` (from `max`) or `>=` (from `min`): what has to hold."""
    limit: float
    source: str = ""
    """Where it was written: `--max KEY=V`, `ROBAUDIT_MAX` or `robaudit.yaml:12`."""
    level: str = "error"
    """`error` decides the verdict; `warn` only speaks."""
    waiver: str = ""
    """Why it may be broken and until when, or that this has expired."""
    step: str = ""
    """Of a limit on a change from a baseline, how much is allowed: "5%", or an amount.
    `limit` is then the baseline's number and the step."""

    def __str__(self) -> str:
        return f"{self.key} {self.op} {self.limit:g}"

    @property
    def kind(self) -> str:
        """The option that it is set with: `max`, `min`, `max_increase`, ..."""
        return (_CHANGES if self.step else _VALUES)[self.op]


@dataclass(frozen=True)
class Waiver:
    """A limit that may be broken for a while."""

    key: str
    until: str
    """The last day it holds, as 2026-12-31."""
    reason: str
    source: str = ""
    limit: str = ""
    """Which one, of several of that key: `max`, `min`, `max_increase` or
    `max_decrease`; "": those on the value, or where there are none, on its change."""


DEFAULT_DIVERGENCES = ("kl", "quantile")
"""What is measured where nothing is named, as far as the law has it."""
DEFAULT_ATTACKS = (
    AttackConfig("gaussian", "gaussian", {"sigma": "0.1"}),
    AttackConfig("uniform_norm", "uniform_norm", {"max_norm": "0.1"}),
)


@dataclass(frozen=True)
class ScanConfig:
    """Everything one scan needs to know."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: str = ""
    divergences: tuple[str, ...] = ()
    """Empty: `kl`, and `quantile` where it exists."""
    attacks: tuple[AttackConfig, ...] = DEFAULT_ATTACKS
    units: str = "input"
    mask: str | None = None
    top: int = 3
    """Directions kept for each input."""
    tau: float = 1.0
    """The move, in the divergence's unit, that `radius` asks for."""
    sizes: tuple[float, ...] | None = None
    """Norms ε at which prediction, witness and certificate are put side by side; None:
    five about the attacks' own, where exact values are cheap."""
    norm: str = "2"
    """The norm of these: `2`, `inf` or `1`."""
    bounds: str | None = None
    """The valid range of the inputs, "lo,hi" or a file; no witness leaves it."""
    witness: str | None = None
    """Where the witnesses that were found are kept, for `robaudit replay`."""
    target_key: str | None = None
    """Key of the data that holds θ, to hold the model against under attack."""
    draws_per_input: int = 1024
    sampling: str = "auto"
    """How base noise is drawn: `random`, `antithetic`, `sobol`, or chosen."""
    rel_error: float | None = None
    """Draw until the relative standard error is at most this."""
    max_draws: int = 16384
    """The most draws an input may get for the sake of `rel_error`."""
    bottleneck: str = "auto"
    """`off`: run the whole network for every draw, even what depends on x alone."""
    seed: int = 0
    method: str = "auto"
    plan: Mapping[str, str] = field(default_factory=dict)
    """What is fixed of how a scan computes, by the keys of `planned.KEYS`; or `report`,
    whose plan is taken. Whatever is absent follows from shapes."""
    verify: int | Literal["all"] | None = None
    """Inputs that are checked against exact values; None: 32 worst and 32 random, fewer
    where a pass of the model is long (`verify.long`)."""
    limit: int | None = None
    sample: int | None = None
    index: tuple[int, ...] = ()
    batch_size: int | None = None
    """None: chosen from `memory`."""
    memory: int = field(default_factory=lambda: share_of(free_memory()))
    """Bytes that the numbers in work may take, of all threads of a process; by default
    half of what is free, at most 1 GiB."""
    threads: int | None = None
    """Blocks that one process measures at a time; None: as many as it has cores."""
    workers: int = 1
    engine: str = "local"
    """What runs the jobs, by its name among the engines."""
    ray_address: str | None = None
    """The cluster of `ray`; None: one of this machine alone."""
    gpus_per_worker: float | None = None
    """Accelerators of a worker of `ray`; None: one where `device` is one, else none."""
    open_timeout: float = 300.0
    """Seconds in which the model has to be open, its gates passed."""
    run_dir: str | None = None
    """Where finished parts are kept, so that a run can be resumed."""
    resume: bool = False
    shard: str | None = None
    """`i/n`: do only the i-th of n parts, into `run_dir`."""
    thresholds: tuple[Threshold, ...] = ()
    baseline: str | None = None
    """An older report, for limits on a change."""
    max_increase: Mapping[str, str] = field(default_factory=dict)
    """Key -> how much it may grow over the baseline, "5%" or an amount."""
    max_decrease: Mapping[str, str] = field(default_factory=dict)
    waivers: tuple[Waiver, ...] = ()
    gate: str = "point"
    """What a limit is held against: the value (`point`), or the end of its 95 %
    interval that lies on the limit's side (`upper`)."""
    max_skipped: int = 0
    exit_zero: bool = False
    accept_unverified: bool = False
    """Whether a limit may decide on a number that the report does not believe."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Option and key, "max_increase kl.trace.max", -> file:line of a limited change."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Option -> the layer that set it; an option that is absent has its default."""

    @property
    def aside(self) -> tuple[str, ...]:
        """The keys of the data that are no input of the model."""
        return tuple(key for key in (self.target_key, self.model.draws) if key)

    def origin(self, option: str) -> str:
        """Return who set `option`: a layer's name, or "default"."""
        return self.origins.get(option, "default")
