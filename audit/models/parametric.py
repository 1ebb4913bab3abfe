"""The contract `parameters`: the file's outputs are those of a named family."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

from audit.families import build_family
from audit.families.contract import look_at
from audit.families.interface import Family
from audit.ground.errors import AuditError, ConfigError
from audit.inputs import list_keys, open_inputs, split_spec
from audit.models.contract import Head, Settings
from audit.models.density import ConditionalDensity, DifferentiableMap, Values
from audit.models.differences import FiniteDifferenceMap
from audit.models.gates import Subject
from audit.models.head import resolve_head
from audit.models.logits import read_logits
from audit.models.maps import IdentityMap
from audit.models.network import Network
from audit.models.opened import OpenModel
from audit.models.probing import Probe, split_held
from audit.models.roles import resolve_roles

_OTHERS = ("target", "noise", "sampler", "draws", "input_layout", "target_space")


def open_parametric(settings: Settings, data: str, network: Network) -> OpenModel:
    """Open the data, resolve the contract and put the density together.

    Raises:
        AuditError: one of its kinds, for whatever is missing or ambiguous.
    """
    _refuse_others(settings)
    roles = resolve_roles(settings, network, list_keys(split_spec(data)[0]))
    constants, keys = split_held(roles, data)
    wanted = {roles.condition: settings.model.condition_key, **keys}
    inputs = open_inputs(data, wanted, settings.memory)
    probe = Probe(network, inputs, roles, constants)
    if settings.finite_differences:
        probe = _precise(probe)
    head = resolve_head(settings, network, list(probe.outputs))
    head, probe = read_logits(settings, head, probe)
    space, differences = settings.model.space, settings.finite_differences
    return _assemble(head, space, differences, probe)


def _precise(probe: Probe) -> Probe:
    """Return the file in float64, where differences are sharp; else as it is."""
    try:
        wide = replace(probe, network=probe.network.double())
        runs = bool(wide.outputs)
    except (AuditError, RuntimeError):
        return probe
    return wide if runs else probe


def _refuse_others(settings: Settings) -> None:
    """Refuse options of the other contracts; they must not be ignored in silence.

    Raises:
        ConfigError: one of them was given.
    """
    for name in _OTHERS:
        if getattr(settings.model, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} was given",
                "It belongs to the contracts density and transport; this file is read "
                "as the parameters of a family",
                "Leave it out, or pass --contract density or transport",
            )


def _assemble(head: Head, space: str, differences: bool, probe: Probe) -> OpenModel:
    """Put a density together."""
    values = _parameters(head, probe.outputs)
    shapes = {name: tuple(value.shape[1:]) for name, value in values.items()}
    family = build_family(head.family, shapes, **head.options)
    look_at(family, values)
    subject = _subject(probe, head, family)
    outer = subject.map_of(subject.call, probe.network.dtype)
    own = FiniteDifferenceMap(outer) if differences else outer
    inner: DifferentiableMap = own
    event = probe.event
    if space == "parameters":
        inner, event = IdentityMap(), (family.size,)
    density = ConditionalDensity(inner, family, int(np.prod(event, dtype=int)))
    return OpenModel(
        probe,
        head,
        density,
        event,
        own,
        subject,
        partial(_assemble, head, space, differences),
        space,
        differences,
        items=(*head.items, *probe.roles.items),
    )


def _subject(probe: Probe, head: Head, family: Family) -> Subject:
    """Return what the gates look at; the family packs its parameters into φ."""

    def parameters(outputs: Values) -> Tensor:
        return family.pack(_parameters(head, outputs))

    names = {name for text in head.parameters.values() for name in text.names}
    read = names | {name.removeprefix("@") for name in names}
    return Subject(
        probe.network,
        probe.roles.condition,
        probe.values,
        probe.outputs,
        probe.call,
        parameters,
        tuple(name for name in probe.outputs if name in read),
    )


def _parameters(head: Head, outputs: Values) -> dict[str, Tensor]:
    wide = {name: value.double() for name, value in outputs.items()}
    return {name: expression(wide) for name, expression in head.parameters.items()}
