"""What two runs of a few rows show of a plan: shapes, types, and where rows lie.

The axis of the rows is the one along which the runs differ. Values of shape arithmetic
(NumPy arrays) are kept as they were in the larger run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audit.ground.errors import AuditError
from audit.importer.plan import Plan, Step
from audit.importer.sweep.path import values_of
from audit.importer.sweep.rules import NotSwept
from audit.importer.values import Value

MORE, FEWER = 3, 2


class NotSpared(Exception):
    """The program has a form that is not followed here: it runs as it is."""


@dataclass(frozen=True)
class Seen:
    """Every value of the larger run, and the axis of its rows.

    Args:
        values: slot -> value at `MORE` rows.
        fewer: the same at `FEWER`.
    """

    values: Sequence[Value]
    fewer: Sequence[Value]

    def axis(self, slot: int) -> int | None:
        """Return the axis of the rows; None where a value has none.

        Raises:
            NotSpared: the rows are mixed into an axis with something else.
        """
        a, b = self.values[slot], self.fewer[slot]
        if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.dim() != b.dim():
            raise NotSpared("a value has another rank with fewer rows")
        axes = [
            k for k, (m, n) in enumerate(zip(a.shape, b.shape, strict=True)) if m != n
        ]
        if not axes:
            return None
        if len(axes) > 1 or (a.shape[axes[0]], b.shape[axes[0]]) != (MORE, FEWER):
            raise NotSpared(f"a value of the shape {list(a.shape)} mixes its rows")
        return axes[0]

    def host(self, slot: int) -> bool:
        """Whether a value is shape arithmetic."""
        return isinstance(self.values[slot], np.ndarray)

    def settled(self, slot: int) -> np.ndarray:
        """Return a value of shape arithmetic that is the same for any rows.

        Raises:
            NotSpared: it is another one with fewer rows.
        """
        a, b = np.asarray(self.values[slot]), np.asarray(self.fewer[slot])
        if a.shape != b.shape or not bool(np.all(a == b)):
            raise NotSpared("a number of the computation depends on how many rows go")
        return a


def look(plan: Plan, values: Sequence[Tensor]) -> Seen:
    """Run a plan on a few rows of the values it is given.

    Raises:
        NotSpared: it cannot be run so.
    """
    if any(len(value) < MORE for value in values):
        raise NotSpared("there are too few rows to look at")
    few = [value.detach()[:MORE] for value in values]
    try:
        with torch.no_grad():
            more = values_of(plan, few)
            fewer = values_of(plan, [value[:FEWER] for value in few])
    except (NotSwept, AuditError, RuntimeError) as error:
        raise NotSpared(str(error)) from error
    return Seen(more, fewer)


def wanted(step: Step) -> tuple[int, ...]:
    """Return the slots that a step writes."""
    return tuple(slot for slot in step.outputs if slot)
