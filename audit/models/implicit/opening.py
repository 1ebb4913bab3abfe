"""From settings to a density that is only a function."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from audit.ground.errors import ConfigError
from audit.inputs import list_keys, open_inputs
from audit.models.contract import Head, Item, Settings
from audit.models.density import ConditionalDensity, Values
from audit.models.gates import Subject
from audit.models.implicit.family import family_of, plain_law
from audit.models.implicit.files import check_size, given_draws, open_files
from audit.models.implicit.laws import ContextMap, Slot, evaluate, read_by
from audit.models.implicit.plan import Plan
from audit.models.implicit.roles import resolve_implicit_head
from audit.models.implicit.shapes import (
    base_key,
    event_of,
    fitting_space,
    noise_slot,
    one_by_one,
    stated_space,
    target_slot,
    zeros,
)
from audit.models.implicit.trial import cut_if_equal, draw_for_gates, noise_trial
from audit.models.maps import IdentityMap
from audit.models.network import Network
from audit.models.opened import OpenModel
from audit.models.probing import Probe, finite_rows, split_held
from audit.models.texts import refuse_texts


def open_implicit(
    settings: Settings, data: str, network: Network, contract: Item
) -> OpenModel:
    """Open the data and whatever draws, resolve the contract, put the law together.

    Raises:
        AuditError: one of its kinds, for whatever is missing or ambiguous.
    """
    refuse_texts(network, contract.value)
    network, roles = open_files(settings, data, network, contract.value)
    network = one_by_one(network, roles)
    known = list_keys(data)
    constants, wanted = split_held(settings, roles, data)
    inputs = open_inputs(data, wanted, settings.memory, aside=settings.aside)
    draws = given_draws(data, settings.model.draws, inputs.n, settings.memory)
    base = given_draws(data, base_key(roles, known), inputs.n, settings.memory)
    event = event_of(inputs, roles)
    space, said = stated_space(settings, network)
    target = target_slot(network, roles, event, space, draws)
    noise = noise_slot(network, roles, event, target, base)
    for slot, given in ((target, draws), (noise, base)):
        check_size(slot, given)
    probe = Probe(network, inputs, roles, constants)
    rows = len(finite_rows(inputs))
    slots = [slot for slot in (target, noise) if slot is not None]
    probe = replace(probe, drawn={slot.name: zeros(slot, rows) for slot in slots})
    head = resolve_implicit_head(settings, network, list(probe.outputs), roles)
    n = _coordinates(head, probe, target)
    plan = Plan(
        head,
        target,
        noise,
        fitting_space(space, n),
        draws,
        base,
        str(network.metadata.get("transport", "the file's own map")),
        settings.model.unnormalised,
        settings.bottleneck,
        settings.draws,
        settings.model.noise_in_graph,
        (contract, *head.items, *roles.items, *said),
    )
    return _assemble(plan, probe)


def _coordinates(head: Head, probe: Probe, target: Slot | None) -> int:
    """Return the number of coordinates of θ, by what the file gave on real rows."""
    if target is None:
        return _columns(head, probe)
    rows = len(probe.values[probe.roles.condition])
    shape = list(evaluate(head, "log_prob", probe.outputs).shape)
    if shape not in ([rows], [rows, 1]):
        raise ConfigError(
            f"log q(θ|x) has the shape {shape} for {rows} rows of input",
            "Expected one number for each row: the sum over the coordinates of θ, and "
            "no mean over the batch",
            "Export it so, or choose another output with --param log_prob=NAME",
        )
    if "sample" in head.parameters and _columns(head, probe) != target.size:
        raise ConfigError(
            f"The sampler draws {_columns(head, probe)} coordinates",
            f"θ ('{target.name}') has {target.size}",
            "Choose another output with --param sample=NAME, or another --sampler",
        )
    return target.size


def _columns(head: Head, probe: Probe) -> int:
    """Return the number of coordinates a sampler gives."""
    found = evaluate(head, "sample", probe.outputs)
    rows = len(probe.values[probe.roles.condition])
    if found.dim() == 0 or len(found) != rows:
        raise ConfigError(
            f"The sampler's output has the shape {list(found.shape)} for {rows} rows",
            "Expected [rows, coordinates]",
            "Choose another output with --param sample=NAME",
        )
    return found[0].numel()


def _assemble(plan: Plan, probe: Probe, drawn: bool = False) -> OpenModel:
    """Put the law together on a probe, and draw what its gates are run on.

    In another precision the probe has its draws already.
    """
    plain = plain_law(plan, probe)
    found = cut_if_equal(plan, probe, plain)
    note = found if isinstance(found, str) else found.note
    law = plain if isinstance(found, str) else found.law
    inner = IdentityMap() if isinstance(found, str) else found.embedding
    family = family_of(plan, law, probe)
    parameters = ContextMap(inner, law)
    if plan.noise is not None and plan.noise.size > 1:
        trial = partial(noise_trial, plan, probe, family, parameters)
        family = family_of(plan, law, probe, trial)
    density = ConditionalDensity(parameters, family, plain.size)
    if not drawn:
        stand_ins = draw_for_gates(plan, probe, family, parameters)
        probe = replace(probe, drawn=stand_ins)
    source = (
        ()
        if family.source is None
        else (Item("draws of θ", family.source.name, "what there is"),)
    )
    return OpenModel(
        probe,
        plan.head,
        density,
        probe.event,
        parameters,
        _subject(plan, probe),
        partial(_assemble, plan, drawn=True),
        bottleneck=note,
        items=(*plan.items, *source),
    )


def _subject(plan: Plan, probe: Probe) -> Subject:
    """Return what the gates look at: log q and θ as functions of x."""
    roles = tuple(plan.head.parameters)

    def parameters(outputs: Values) -> Tensor:
        found = [evaluate(plan.head, role, outputs) for role in roles]
        return torch.cat([value.reshape(len(value), -1) for value in found], dim=1)

    return probe.subject(parameters, read_by(plan.head, *roles))
