"""A plan and a law, as the family that metric tensors are taken of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch

from audit.families.givers import Base, Source
from audit.families.implicit import ImplicitFamily
from audit.importer import Graph
from audit.models.batching import any_batch, layout_of
from audit.models.implicit.laws import FileLaw, Slot
from audit.models.implicit.plan import Plan
from audit.models.implicit.shapes import law_name
from audit.models.implicit.sources import (
    FromChains,
    FromGrid,
    FromSampler,
    GivenDraws,
    NamedBase,
)
from audit.models.implicit.sparing import Sparing
from audit.models.network import Call
from audit.models.probing import Probe, finite_rows


def plain_law(plan: Plan, probe: Probe) -> FileLaw:
    """Return the law whose φ is the condition itself."""
    network, condition = probe.network, probe.roles.condition
    values = probe.take(finite_rows(probe.inputs)[:1])
    held = tuple(
        Slot(name, tuple(value.shape[1:]))
        for name, value in values.items()
        if name != condition
    )

    def calls(outputs: tuple[str, ...]) -> Call:
        alone = replace(network, call=network.only(outputs))
        return any_batch(alone, condition, probe.event)

    main = (Slot(condition, probe.event),)

    def graphs(outputs: tuple[str, ...]) -> Graph | None:
        layout = layout_of(network, condition, probe.event)
        plain = layout.rows is None and all(axis == 0 for axis in layout.axes.values())
        if network.format != "onnx" or network.graph is None or not plain:
            return None
        drawn = {name: value[:1] for name, value in probe.drawn.items()}
        graph = network.graph({**values, **drawn})
        return None if graph is None else graph.with_outputs(outputs)

    @cache
    def sparing(outputs: tuple[str, ...]) -> Call:
        return Sparing(calls(outputs), lambda: graphs(outputs))

    drawn = plan.target, plan.noise
    return FileLaw(network, plan.head, sparing, main, held, *drawn, graphs)


def family_of(
    plan: Plan, law: FileLaw, probe: Probe, trial: Callable[[], str] | None = None
) -> ImplicitFamily:
    """Return the family of the laws the file gives, with what it is averaged over.

    Args:
        plan: what is decided.
        law: the file's functions.
        probe: the file tried on some rows.
        trial: whether a grid does for the noise, see `NamedBase`.
    """
    device = probe.network.device
    base: Base | None = None
    if plan.base is not None:
        base = GivenDraws(plan.base, next(iter(plan.base.arrays)), device)
    elif plan.noise is not None:
        law_of_z = law_name(probe.roles)
        base = NamedBase(law_of_z, plan.noise.size, device, trial, plan.seed)
    return ImplicitFamily(
        law.size,
        plan.space,
        law.log_density if plan.target else None,
        law.transport if plan.noise else None,
        base,
        _source(plan, law, base, device) if plan.target else None,
        plan.label,
        plan.unnormalised,
    )


def _source(
    plan: Plan, law: FileLaw, base: Base | None, device: torch.device
) -> Source:
    """Return what gives θ: draws in the data, the sampler, a grid, or a chain."""
    if plan.draws is not None:
        return GivenDraws(plan.draws, next(iter(plan.draws.arrays)), device)
    if base is not None:
        return FromSampler(law.transport, base, plan.label)
    if len(plan.space.continuous) <= 2:
        return FromGrid(law.log_density, plan.space)
    return FromChains(law.log_density, plan.space, plan.chains)
