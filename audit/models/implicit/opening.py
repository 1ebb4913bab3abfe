"""From settings to a density that is only a function."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from audit.density import ConditionalDensity, DifferentiableMap, Values
from audit.errors import ConfigError
from audit.families.chains import Chains
from audit.families.implicit import Base, ImplicitFamily, Nodes, Source
from audit.families.space import TargetSpace
from audit.inputs import Inputs, list_keys, open_inputs, split_spec
from audit.models.batching import any_batch
from audit.models.contract import Head, Item, Settings
from audit.models.gates import Subject
from audit.models.implicit.cut import WHOLE, CutLaw, cut
from audit.models.implicit.files import open_files
from audit.models.implicit.laws import ContextMap, FileLaw, Slot, evaluate, read_by
from audit.models.implicit.roles import resolve_implicit_head
from audit.models.implicit.shapes import (
    base_key,
    event_of,
    fitting_space,
    law_name,
    noise_slot,
    stated_space,
    target_slot,
    zeros,
)
from audit.models.implicit.sources import (
    ChainKey,
    FromChains,
    FromGrid,
    FromSampler,
    GivenDraws,
    NamedBase,
)
from audit.models.maps import IdentityMap
from audit.models.network import Call, Network
from audit.models.opened import OpenModel
from audit.models.probing import Probe, finite_rows, split_held
from audit.noise import Noise

_PROBE_DRAWS = 16
_SAME = {torch.float64: 1e-7}
_NEARLY_SAME = 1e-3  # of the largest score, in single precision


@dataclass(frozen=True)
class Plan:
    """Everything that is decided once, whatever the precision.

    Args:
        head: how outputs are read. target, noise: what is drawn.
        space: where θ lives. draws, base: of θ and z, where the data give them.
        chains: those that have run, for either precision.
        label: what the map T is called. bottleneck: whether to look for a cut.
        draws_per_input: S, for the cut's cost model. seed: of the probe's draws.
    """

    head: Head
    target: Slot | None
    noise: Slot | None
    space: TargetSpace
    draws: Inputs | None
    base: Inputs | None
    label: str
    bottleneck: bool
    draws_per_input: int
    items: tuple[Item, ...] = ()
    chains: dict[ChainKey, Chains] = field(default_factory=dict)


def open_implicit(
    settings: Settings, data: str, network: Network, contract: Item
) -> OpenModel:
    """Open the data and whatever draws, resolve the contract, put the law together.

    Raises:
        AuditError: one of its kinds, for whatever is missing or ambiguous.
    """
    network, roles = open_files(settings, data, network, contract.value)
    known = list_keys(split_spec(data)[0])
    constants, keys = split_held(roles, data)
    inputs = open_inputs(data, {roles.condition: settings.model.condition_key, **keys})
    draws = _given(data, settings.model.draws, inputs.n)
    base = _given(data, base_key(roles, known), inputs.n)
    event, space = event_of(inputs, roles), stated_space(settings, network)
    target = target_slot(network, roles, event, space, draws)
    noise = noise_slot(network, roles, event, target, base)
    for slot, given in ((target, draws), (noise, base)):
        _check_size(slot, given)
    probe = Probe(network, inputs, roles, constants)
    rows = len(finite_rows(inputs))
    slots = [slot for slot in (target, noise) if slot is not None]
    probe = replace(probe, drawn={slot.name: zeros(slot, rows) for slot in slots})
    head = resolve_implicit_head(settings, network, list(probe.outputs), roles)
    n = target.size if target else _columns(head, probe)
    plan = Plan(
        head,
        target,
        noise,
        fitting_space(space, n),
        draws,
        base,
        str(network.metadata.get("transport", "the file's own map")),
        settings.bottleneck,
        settings.draws,
        (contract, *head.items, *roles.items),
    )
    return _assemble(plan, probe)


def _given(data: str, key: str | None, rows: int) -> Inputs | None:
    """Return draws that lie in the data under a key, [N, S, ...].

    Raises:
        ConfigError: the array has no axis of draws, or not one row for each input.
    """
    if key is None:
        return None
    found = open_inputs(split_spec(data)[0], {key: key})
    shape = found.arrays[key].shape
    if shape[0] != rows:
        raise ConfigError(
            f"The draws '{key}' of the data have {shape[0]} rows",
            f"The condition has {rows}; each of its rows has draws of its own",
            "Reshape them, or name another key",
        )
    if len(shape) < 3 or shape[1] < 8:
        raise ConfigError(
            f"The draws '{key}' of the data have the shape {list(shape)}",
            "Expected [inputs, draws, coordinates], with at least 8 draws",
            "Reshape them, or name another key",
        )
    return found


def _check_size(slot: Slot | None, given: Inputs | None) -> None:
    """Refuse draws that are no values of what they are given for.

    Raises:
        ConfigError: they have another number of coordinates.
    """
    if slot is None or given is None:
        return
    ((key, array),) = given.arrays.items()
    if math.prod(array.shape[2:]) != slot.size:
        raise ConfigError(
            f"The draws '{key}' of the data have the shape {list(array.shape)}",
            f"'{slot.name}' has {slot.size} coordinates: expected [inputs, draws, "
            f"{slot.size}]",
            "Reshape them, or name another key",
        )


def _columns(head: Head, probe: Probe) -> int:
    """Return the number of coordinates a sampler gives.

    Raises:
        ConfigError: its output is not one row of numbers for each row of input.
    """
    found = evaluate(head, "sample", probe.outputs)
    rows = len(probe.values[probe.roles.condition])
    if found.dim() == 0 or len(found) != rows:
        raise ConfigError(
            f"The sampler's output has the shape {list(found.shape)} for {rows} rows",
            "Expected [rows, coordinates]",
            "Choose another output with --param sample=NAME",
        )
    return found[0].numel()


def _assemble(plan: Plan, probe: Probe) -> OpenModel:
    """Put the law together on a probe, and draw what its gates are run on."""
    plain = _plain_law(plan, probe)
    found = _cut(plan, probe, plain)
    note = found if isinstance(found, str) else found.note
    law = plain if isinstance(found, str) else found.law
    inner = IdentityMap() if isinstance(found, str) else found.embedding
    family = _family(plan, law, probe)
    parameters = ContextMap(inner, law)
    density = ConditionalDensity(parameters, family, plain.size)
    drawn = _drawn(plan, probe, family, parameters)
    probe = replace(probe, drawn=drawn)
    return OpenModel(
        probe,
        plan.head,
        density,
        probe.event,
        parameters,
        _subject(plan, probe),
        partial(_assemble, plan),
        bottleneck=note,
        items=plan.items,
    )


def _plain_law(plan: Plan, probe: Probe) -> FileLaw:
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
    return FileLaw(network, plan.head, calls, main, held, plan.target, plan.noise)


def _cut(plan: Plan, probe: Probe, plain: FileLaw) -> CutLaw | str:
    """Return the law behind a cut that gives the same scores, or why there is none."""
    if not plan.bottleneck:
        return f"{WHOLE}, as --bottleneck off asks"
    found = cut(plain, probe.event, probe.values, plan.draws_per_input)
    if isinstance(found, str):
        return found
    error = _difference(plan, probe, plain, found)
    if error <= _SAME.get(probe.network.dtype, _NEARLY_SAME):
        return found
    return f"{WHOLE}: behind a cut the scores differ by {error:.0e} of their size"


def _difference(plan: Plan, probe: Probe, plain: FileLaw, found: CutLaw) -> float:
    """Return how far derivatives by the two ways are apart, of the largest one."""
    x, held = _rows(probe, 4)
    answers = []
    for law, inner in ((plain, IdentityMap()), (found.law, found.embedding)):
        family, parameters = _family(plan, law, probe), ContextMap(inner, law)
        phi, jacobian = parameters.linearize(x, held)
        answers.append(jacobian.rmatmat(_derivatives(plan, probe, family, phi).mT))
    size = answers[0].abs().amax()
    return float(((answers[0] - answers[1]).abs().amax() / size).nan_to_num(nan=1.0))


def _derivatives(
    plan: Plan, probe: Probe, family: ImplicitFamily, phi: Tensor
) -> Tensor:
    """Return scores and transport Jacobians [N, R, p] at stand-in draws."""
    device, rows = probe.network.device, []
    generator = torch.Generator().manual_seed(0)
    for slot, derive in ((plan.target, family.scores), (plan.noise, family.jacobians)):
        if slot is None:
            continue
        drawn = torch.rand(2, len(phi), slot.size, generator=generator)
        found = derive(drawn.double().to(device) + 0.1, phi)
        rows.append(found.transpose(0, 1).reshape(len(phi), -1, family.size))
    return torch.nan_to_num(torch.cat(rows, dim=1))


def _rows(probe: Probe, count: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the condition [n, d] and the held inputs of the first rows."""
    values = probe.take(finite_rows(probe.inputs)[:count])
    x = values.pop(probe.roles.condition)
    return x.reshape(len(x), -1), values


def _family(plan: Plan, law: FileLaw, probe: Probe) -> ImplicitFamily:
    """Return the family of the laws the file gives, with what it is averaged over."""
    device = probe.network.device
    base: Base | None = None
    if plan.base is not None:
        base = GivenDraws(plan.base, next(iter(plan.base.arrays)), device)
    elif plan.noise is not None:
        base = NamedBase(law_name(probe.roles), plan.noise.size, device)
    return ImplicitFamily(
        law.size,
        plan.space,
        law.log_density if plan.target else None,
        law.transport if plan.noise else None,
        base,
        _source(plan, law, base, device) if plan.target else None,
        plan.label,
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


def _drawn(
    plan: Plan, probe: Probe, family: ImplicitFamily, parameters: DifferentiableMap
) -> dict[str, Tensor]:
    """Return one θ and one z for each probed row."""
    index = finite_rows(probe.inputs)
    x, held = _rows(probe, len(index))
    phi = parameters(x, held)
    noise, drawn = Noise(0, index, _PROBE_DRAWS), {}
    if plan.target is not None:
        theta = _typical(family.nodes(phi, noise))
        drawn[plan.target.name] = theta.reshape(len(index), *plan.target.shape)
    if plan.noise is not None:
        _, base = family.map()
        z = base.points(noise).values[0]
        drawn[plan.noise.name] = z.reshape(len(index), *plan.noise.shape)
    return drawn


def _typical(nodes: Nodes) -> Tensor:
    """Return one θ [N, n]: the first draw, or the node in the middle of the mass."""
    if nodes.weights is None:
        return nodes.targets[0]
    middle = (nodes.weights.cumsum(dim=0) < 0.4).sum(dim=0)
    middle = middle.clamp_max(len(nodes.targets) - 1)
    return nodes.targets[middle, torch.arange(len(middle), device=middle.device)]


def _subject(plan: Plan, probe: Probe) -> Subject:
    """Return what the gates look at: log q and θ as functions of x."""
    roles = tuple(plan.head.parameters)

    def parameters(outputs: Values) -> Tensor:
        found = [evaluate(plan.head, role, outputs) for role in roles]
        return torch.cat([value.reshape(len(value), -1) for value in found], dim=1)

    return Subject(
        probe.network,
        probe.roles.condition,
        probe.values,
        probe.outputs,
        probe.call,
        parameters,
        read_by(plan.head, *roles),
    )
