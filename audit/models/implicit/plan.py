"""What is decided once about a density or a sampler, whatever the precision."""

from __future__ import annotations

from dataclasses import dataclass, field

from audit.inputs import Inputs
from audit.models.contract import Head, Item
from audit.models.implicit.laws import Slot
from audit.models.implicit.sources import ChainKey
from audit.nodes import Chains, TargetSpace


@dataclass(frozen=True)
class Plan:
    """Everything that is decided once, whatever the precision.

    Args:
        head: how outputs are read. target, noise: what is drawn.
        space: where θ lives. draws, base: of θ and z, where the data give them.
        chains: those that have run, for either precision.
        noise_drawn: why noise is drawn that a grid might do, once that has been tried.
        label: what the map T is called. unnormalised: whether q need not integrate to
            one. bottleneck: whether to look for a cut.
        draws_per_input: S, for the cut's cost model. seed: of the noise, where it has
            one of its own.
    """

    head: Head
    target: Slot | None
    noise: Slot | None
    space: TargetSpace
    draws: Inputs | None
    base: Inputs | None
    label: str
    unnormalised: bool
    bottleneck: bool
    draws_per_input: int
    seed: int | None
    items: tuple[Item, ...] = ()
    chains: dict[ChainKey, Chains] = field(default_factory=dict)
    noise_drawn: list[str] = field(default_factory=list)
