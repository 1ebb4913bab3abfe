"""What vouches for a derivative, and what is said where something does not.

`derivative` makes the comparisons; here is what follows from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from torch import Tensor

from audit.ground.errors import ModelError
from audit.models.gates.agreement import Agreement
from audit.models.gates.subject import Findings

UNVERIFIED = "derivative_unverified"
"""The warning that leaves no verdict to trust."""
DIFFERENCES, FLOAT64 = "central differences through ", "its float64 run"
Note = tuple[str, str]


@dataclass(frozen=True)
class Precision:
    """How a comparison is made.

    Args:
        steps: of a row's root mean square, the first that tells.
        warn: the error from which on a reader is told. refuse: that is too much.
        resolution: what counts as rest (see `compare`).
    """

    steps: tuple[float, ...]
    warn: float
    refuse: float
    resolution: float = 0.0


SINGLE = Precision((1e-2, 1e-1), 5e-3, 3e-2)
DOUBLE = Precision((1e-6, 1e-3), 1e-5, 1e-4, resolution=1e-8)


@dataclass(frozen=True)
class Evidence:
    """The two comparisons of a derivative.

    Args:
        single: in the file's own type; None: not needed. other: through what.
        double: in float64; None: the file does not run so.
        seen: which parameters [p] one of them vouches for.
    """

    single: Agreement | None
    double: Agreement | None
    other: str
    seen: Tensor

    def findings(self) -> Findings:
        """Return what is recorded."""
        return Findings(
            derivative_error=_number(self.single, "error"),
            derivative_floor=_number(self.single, "floor"),
            derivative_error_float64=_number(self.double, "error"),
            derivative_evidence=DIFFERENCES + " and ".join(self._vouching()),
            warnings=(*self._differing(), *self._hidden(), *self._unseen()),
        )

    def refusal(self) -> ModelError:
        """Return the error where nothing vouches for the derivative."""
        wide = "it does not run in float64"
        if self.double is not None:
            wide = f"in float64 {_why_not(self.double)}"
        own = ""
        if self.single is not None:
            own = f", and through {self.other} {_why_not(self.single)}"
        return ModelError(
            f"The derivative could not be compared with central differences: {wide}"
            + own,
            "Expected one of them to agree; a derivative that nothing vouches for "
            "gives no numbers",
            "Use --method finite-difference, which estimates its own error, or export "
            "the model without casts to shorter types",
        )

    @property
    def _named(self) -> Iterator[tuple[str, Agreement]]:
        for name, found in ((FLOAT64, self.double), (self.other, self.single)):
            if found is not None:
                yield name, found

    def _vouching(self) -> Iterator[str]:
        for name, found in self._named:
            if found.within(SINGLE.refuse):
                yield name

    def _differing(self) -> Iterator[Note]:
        pairs = ((self.single, SINGLE.warn), (self.double, DOUBLE.warn))
        for found, limit in pairs:
            if found is not None and found.above(limit):
                yield (
                    "derivative_differs",
                    "the derivative differs from central differences by "
                    f"{found.error:.1e} (median over rows and directions; their noise "
                    f"is {found.floor:.0e})",
                )

    def _hidden(self) -> Iterator[Note]:
        """Name a comparison that says nothing, where the other one vouches."""
        for name, found in self._named:
            if not isfinite(found.error):
                yield (
                    "derivative_hidden",
                    f"{DIFFERENCES}{name} say nothing about the derivative "
                    f"({_why_not(found)}); another comparison vouches for it",
                )

    def _unseen(self) -> Iterator[Note]:
        left = int((~self.seen).sum())
        if left:
            yield (
                UNVERIFIED,
                f"the derivative of {left} of {len(self.seen)} parameters could not be "
                "compared with central differences (noise hides them): nothing vouches "
                "for it",
            )


def no_rows(rows: int) -> Note:
    """Return the warning where there is no row to look at."""
    return (
        UNVERIFIED,
        f"the outputs are not finite on any of the {rows} rows tried: nothing vouches "
        "for the derivative on the others",
    )


def _why_not(found: Agreement) -> str:
    if isfinite(found.error):
        return f"the two are {found.error:.1e} apart with noise of {found.floor:.0e}"
    return "noise, or a value that is not finite, hides every parameter"


def _number(found: Agreement | None, name: str) -> float | None:
    value = float("nan") if found is None else float(getattr(found, name))
    return value if isfinite(value) else None
