"""What gives θ of a law, and the noise that a map takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from audit.nodes.base_laws import BaseLaw
from audit.nodes.nested import Nested
from audit.nodes.noise import Noise, Points


@dataclass(frozen=True)
class Nodes:
    """Where a law is looked at.

    Args:
        targets: θ [S, N, n].
        weights: [S, N], summing to one; None for draws, which all weigh the same.
        unit: consecutive draws that are not independent of each other.
        checks: what was found on the way, by name, each [N].
        nested: the coarser rules among weighted nodes, where there are some.
        log_density: log q there [S, N], where whoever gives them has it already.
        beside: (inputs [K], φ [K, p + c]) -> nodes of laws that are near those inputs',
            looked for where these live. What lies elsewhere is missed in silence, and
            lacks in their normalisation. None where each law is searched for.
    """

    targets: Tensor
    weights: Tensor | None = None
    unit: int = 1
    checks: Mapping[str, Tensor] = field(default_factory=dict)
    nested: Nested | None = None
    log_density: Tensor | None = None
    beside: Callable[[Tensor, Tensor], Nodes] | None = None


def taken(nodes: Nodes, rows: Tensor) -> Nodes:
    """Return the nodes of some inputs, and all that is known of weighted ones.

    What comes after the last that has a weight is left out.
    """
    if nodes.weights is None:
        return Nodes(nodes.targets[:, rows], None, nodes.unit)
    rows = rows.to(nodes.weights.device)
    weights = nodes.weights[:, rows]
    last = 1 + int((weights > 0).any(dim=1).nonzero().amax())
    beside = nodes.beside
    return Nodes(
        nodes.targets[:last, rows],
        weights[:last],
        nodes.unit,
        {name: one[rows] for name, one in nodes.checks.items()},
        None if nodes.nested is None else nodes.nested.take(rows, last),
        None if nodes.log_density is None else nodes.log_density[:last, rows],
        None if beside is None else lambda at, phi: beside(rows[at.to(rows)], phi),
    )


def interleaved(own: Nodes, near: Nodes, first: Tensor) -> Nodes:
    """Return weighted nodes of one in the columns `first` [k], of another elsewhere."""
    assert own.weights is not None
    assert near.weights is not None

    def joined(ours: Tensor, theirs: Tensor) -> Tensor:
        rows = max(len(ours), len(theirs))
        whole = theirs.new_zeros(rows, *theirs.shape[1:])
        whole[: len(theirs)] = theirs
        whole[:, first] = 0.0
        whole[: len(ours), first] = ours
        return whole

    log_density = None
    if own.log_density is not None and near.log_density is not None:
        log_density = joined(own.log_density, near.log_density)
    targets = joined(own.targets, near.targets)
    weights = joined(own.weights, near.weights)
    return Nodes(targets, weights, log_density=log_density)


class Giver(Protocol):
    """Gives points that expectations are taken over."""

    @property
    def name(self) -> str:
        """How the report calls it."""

    @property
    def fixed(self) -> bool:
        """Whether it gives the same number of them however many are asked for."""

    def count(self, draws: int) -> int:
        """Return about how many there are for one input."""


class Source(Giver, Protocol):
    """Gives θ of a law."""

    @property
    def weighted(self) -> bool:
        """Whether its nodes have weights: a rule, which finds the mass too."""

    @property
    def follows(self) -> bool:
        """Whether it gives θ of whichever φ it is asked for, at little cost."""

    def nodes(self, phi: Tensor, noise: Noise) -> Nodes:
        """Return nodes for φ [N, p + c]."""


class Base(Giver, Protocol):
    """Gives the noise z that a map T takes."""

    @property
    def size(self) -> int:
        """m, the numbers of one z."""

    @property
    def law(self) -> BaseLaw | None:
        """The law of each number, where expectations are integrals; None for draws."""

    @property
    def how(self) -> str:
        """How expectations over z are taken, for the report."""

    def points(self, noise: Noise) -> Points:
        """Return random z [S, N, m] and how many of them make a unit."""
