"""A plan: how a scan computes what it computes, each decision with its reason.

`planner` makes one from `Shapes`; what computes asks it, and a report keeps it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from audit.config.planned import KEYS
from audit.linalg.exact import SMALLER

KRYLOV, PULLED, SWEEP, FORWARD = "krylov", "pulled", "sweep", "forward"
AUTOGRAD, IDENTITY, DIFFERENCES = "autograd", "identity", "differences"
ASKED = "as --plan asks"
"""Why something is so that was fixed."""


@dataclass(frozen=True)
class Choice:
    """A decision and its reason in words; `fixed`: whether a user made it."""

    value: str | int
    why: str
    fixed: bool = False


@dataclass(frozen=True)
class Plan:
    """How a scan computes; what does not arise is None.

    Args:
        rows, side, cut, slopes, chunk, pull: as `planner` says.
        held: the inputs whose derivatives --memory holds at the same time.
        threads: chunks at the same time, which a process decides for itself.
    """

    rows: Choice = Choice(AUTOGRAD, "nothing was planned")
    side: Choice | None = None
    cut: Choice | None = None
    slopes: Choice | None = None
    chunk: Choice = Choice(1, "nothing was planned")
    pull: Choice | None = None
    held: int = 1
    threads: Choice | None = None

    @property
    def by_products(self) -> bool:
        """Whether J is known by its products alone."""
        return self.rows.value == KRYLOV

    @property
    def decomposed(self) -> str:
        """The side of a root that is decomposed, as `linalg` names it."""
        return str(self.side.value) if self.side else SMALLER

    @property
    def inputs(self) -> int:
        """The inputs of a chunk."""
        return int(self.chunk.value)

    def record(self) -> dict[str, object]:
        """Return the plan as a report keeps it: each key, and `why` of each."""
        found = {name: getattr(self, name) for name in KEYS}
        chosen = {name: one for name, one in found.items() if one is not None}
        values: dict[str, object] = {n: one.value for n, one in chosen.items()}
        return {**values, "why": {n: one.why for n, one in chosen.items()}}

    def rounding(self) -> dict[str, object]:
        """Return what of a plan shows in the last bits of numbers, but for the chunk.

        A run folder keeps its own chunk, see `run.keeping`.
        """
        found = self.record()
        return {n: v for n, v in found.items() if n not in ("why", "chunk", "threads")}


@dataclass(frozen=True)
class Shapes:
    """What a plan follows from.

    Args:
        p: parameters, the rows of J. d: features, its columns. free: those that move.
        kept: rows of derivatives that an input keeps. most: with the most draws.
        stored: whether J is kept beside them.
        pulled: rows of roots that are pulled back, each by itself; ∞ where none is.
        total: inputs. memory: bytes.
        only: IDENTITY or DIFFERENCES where J is taken in no other way, else "".
        sweep: why there is no sweep; "" where there is one.
        together: inputs that a sweep pulls back, and runs forward, together.
        pulls: bytes that one input's cotangents take in a sweep.
        slopes: how a sampler is differentiated, and why; None where none is.
        cut: whether there is one, and what it is; None where it does not arise.
        products, columns: why J is not known by its products, or by its columns; ""
            where it is. passes: bytes of one input's passes and spaces, by products.
            These three run the file, and only where they are needed.
    """

    p: int
    d: int
    free: int
    kept: int
    most: int
    stored: bool
    pulled: float
    total: int
    memory: int
    only: str = ""
    sweep: str = "there is none"
    together: tuple[int, int] = (1, 1)
    pulls: int = 0
    slopes: Choice | None = None
    cut: Choice | None = None
    products: Callable[[], str] = str
    columns: Callable[[], str] = str
    passes: Callable[[], int] = int

    @property
    def usual(self) -> int:
        """The bytes of one input's derivatives, in float64."""
        return self._bytes(self.kept)

    @property
    def largest(self) -> int:
        """The same with the most draws."""
        return max(self.usual, self._bytes(self.most))

    def _bytes(self, kept: int) -> int:
        return 8 * (kept * self.p + self.stored * self.p * self.d)
