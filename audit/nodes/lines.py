"""Laws on a line.

A law is known by its log density in a chart y of its support (x, log x or logit x),
where its tails fall at least exponentially, and by where its bulks are: one for a
simple law, one for each component of a mixture. `survey` finds the panels for it.

Shapes: M laws, K nodes, B bulks, q parameters; `rows` [M, q] is one φ for each law.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from audit.nodes.panels import ORDER

CHUNK = 1_500_000  # numbers [laws, nodes, parameters] at once
PANELS = 36  # around one bulk, about
_watch: ContextVar[list[object] | None] = ContextVar("_watch", default=None)


@dataclass(frozen=True)
class Chart:
    """A coordinate y of the support."""

    point: Callable[[Tensor], Tensor]  # x(y)
    log_slope: Callable[[Tensor], Tensor]  # log dx/dy
    log_size: Callable[[Tensor, Tensor], Tensor]  # (step of y, width) -> log |x| grown


REAL = Chart(
    lambda y: y, torch.zeros_like, lambda step, width: (step / width).abs().log()
)
POSITIVE = Chart(torch.exp, lambda y: y, lambda step, width: step)
UNIT = Chart(
    torch.sigmoid,
    lambda y: logsigmoid(y) + logsigmoid(-y),
    lambda step, width: torch.zeros_like(step),
)


class Line(Protocol):
    """A family of laws on a line."""

    @property
    def chart(self) -> Chart:
        """The coordinate y in which densities are given."""

    @property
    def limit(self) -> float:
        """How far y may be from the first centre: π on a circle, else infinity."""

    def bulk(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return centres and widths [M, B] of the bulks of a law, in y."""

    def log_density(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return log f [M, K] at y [M, K], for parameters [M, 1 or K, q]."""

    def score(self, y: Tensor, rows: Tensor) -> Tensor:
        """Return ∂ log f / ∂φ [M, K, q] at y [M, K], for parameters [M, q]."""


@contextmanager
def watched(into: list[object] | None) -> Iterator[None]:
    """Write into a list, meanwhile, what is resolved by nodes; None: nowhere."""
    token = _watch.set(into)
    try:
        yield
    finally:
        _watch.reset(token)


def resolved(law: object) -> None:
    """Say that a law is integrated over nodes, to whoever has it watched."""
    seen = _watch.get()
    if seen is not None:
        seen.append(law)


def by_chunks(
    function: Callable[..., Tensor], line: Line, *tables: Tensor, copies: int = 1
) -> Tensor:
    """Apply `function` to a few laws at a time, so that memory stays bounded.

    Args:
        function: rows of each table [m, ...] -> [m, ...].
        line: whose laws they are.
        tables: parameters and the like, each [M, ...].
        copies: how many numbers `function` keeps for each law and node.
    """
    resolved(line)
    bulks = line.bulk(tables[0][:1])[0].shape[1]
    size = max(1, CHUNK // (PANELS * ORDER * bulks * copies))
    starts = range(0, len(tables[0]), size)
    return torch.cat([function(*(t[i : i + size] for t in tables)) for i in starts])
