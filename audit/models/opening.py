"""From settings to a density ready to be audited: open, probe, resolve, check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.density import ConditionalDensity, DifferentiableMap, Values
from audit.families import build_family
from audit.inputs import Inputs, list_keys, open_inputs, split_spec
from audit.models.contract import Head, Item, Roles, Settings
from audit.models.differences import FiniteDifferenceMap
from audit.models.files import open_network
from audit.models.gates import Findings, Subject, examine
from audit.models.head import resolve_head
from audit.models.maps import AutogradMap, IdentityMap
from audit.models.network import Network, Port
from audit.models.probing import Constants, Probe, finite_rows, held_values, take
from audit.models.roles import resolve_roles

__all__ = ["OpenModel", "open_model", "open_network"]


@dataclass(frozen=True)
class OpenModel:
    """A file, its data and its contract, ready to be measured.

    Args:
        network: the file, in the precision of the audit.
        inputs: the data, by the model's input names.
        roles: which input is perturbed.
        head: how outputs become parameters.
        constants: held inputs that are one value for all rows.
        density: q(θ|x) on what is perturbed: the flattened condition, or φ.
        event: the shape of one of them.
        parameters_of: the network's own map, condition -> φ.
        space: what is perturbed, "input" or "parameters".
        outputs: the file's outputs as they came out of the probe.
        gates: what the gates measured.
    """

    network: Network
    inputs: Inputs
    roles: Roles
    head: Head
    constants: Constants
    density: ConditionalDensity
    event: tuple[int, ...]
    parameters_of: DifferentiableMap
    space: str
    outputs: tuple[Port, ...]
    gates: Findings = field(default_factory=Findings)

    @property
    def items(self) -> tuple[Item, ...]:
        """Every decision of the contract, with who made it."""
        return (*self.head.items, *self.roles.items)

    @property
    def forward_error(self) -> float | None:
        """The largest relative difference from another run of the file."""
        return self.gates.forward_error

    @property
    def derivative(self) -> str:
        """How derivatives are taken."""
        by_differences = isinstance(self.parameters_of, FiniteDifferenceMap)
        return "finite_difference" if by_differences else "batched reverse mode"

    def rows(self, index: NDArray[np.int64]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what is perturbed [n, d] and the held inputs of some rows.

        Not-finite numbers become zero: those rows are skipped, and must not disturb
        the others.
        """
        values = take(self.network, self.inputs, self.constants, index)
        x = torch.nan_to_num(values.pop(self.roles.condition), posinf=0.0, neginf=0.0)
        x = x.reshape(len(index), -1)
        in_parameters = self.space == "parameters"
        return (self.parameters_of(x, values) if in_parameters else x), values

    def probe_index(self) -> NDArray[np.int64]:
        """Return the first rows without NaN or infinity."""
        return finite_rows(self.inputs)

    def in_float64(self) -> OpenModel:
        """Return the same model run in float64, where the file allows it.

        Raises:
            ModelError: it does not.
        """
        return self if self.network.dtype == torch.float64 else self._double

    @cached_property
    def _double(self) -> OpenModel:
        by_differences = isinstance(self.parameters_of, FiniteDifferenceMap)
        network = self.network.double()
        probe = Probe(network, self.inputs, self.roles, self.constants)
        opened = _assemble(probe, self.head, self.space, by_differences)
        return replace(opened, gates=self.gates)


def open_model(settings: Settings, data: str) -> OpenModel:
    """Open a model and its data, resolve the contract and pass every gate.

    Raises:
        AuditError: one of its kinds, for whatever is missing, ambiguous or broken.
    """
    network = open_network(settings)
    roles = resolve_roles(settings, network, list_keys(split_spec(data)[0]))
    constants, keys = held_values(network, roles, data)
    inputs = open_inputs(data, {roles.condition: settings.model.condition_key, **keys})
    probe = Probe(network, inputs, roles, constants)
    head = resolve_head(settings, network, list(probe.outputs))
    space, differences = settings.model.space, settings.finite_differences
    opened = _assemble(probe, head, space, differences)
    by_gradient = space == "input" and not differences
    opened = replace(opened, gates=examine(_subject(probe, head), by_gradient))
    return opened.in_float64() if settings.model.dtype == "float64" else opened


def _assemble(probe: Probe, head: Head, space: str, differences: bool) -> OpenModel:
    """Put a density together, without passing a gate."""
    outer = _map(_subject(probe, head), differences)
    family = build_family(head.family, _shapes(head, probe.outputs), **head.options)
    inner: DifferentiableMap = outer
    event = probe.event
    if space == "parameters":
        inner, event = IdentityMap(), (family.size,)
    return OpenModel(
        probe.network,
        probe.inputs,
        probe.roles,
        head,
        probe.constants,
        ConditionalDensity(inner, family, int(np.prod(event, dtype=int))),
        event,
        outer,
        space,
        tuple(_port(name, value) for name, value in probe.outputs.items()),
    )


def _map(subject: Subject, differences: bool) -> AutogradMap | FiniteDifferenceMap:
    outer = subject.map_of(subject.call, subject.network.dtype)
    if differences:
        return FiniteDifferenceMap(outer.function, outer.event, outer.dtype)
    return outer


def _subject(probe: Probe, head: Head) -> Subject:
    """Return what the gates look at; the family packs its parameters into φ."""
    family = build_family(head.family, _shapes(head, probe.outputs), **head.options)

    def parameters(outputs: Values) -> Tensor:
        return family.pack(_parameters(head, outputs))

    read = {name for text in head.parameters.values() for name in text.names}
    used = tuple(name for name in probe.outputs if name in read)
    condition = probe.roles.condition
    return Subject(
        probe.network,
        condition,
        probe.values,
        probe.outputs,
        probe.call,
        parameters,
        used,
    )


def _shapes(head: Head, outputs: Values) -> dict[str, tuple[int, ...]]:
    values = _parameters(head, outputs)
    return {name: tuple(value.shape[1:]) for name, value in values.items()}


def _parameters(head: Head, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    wide = {name: value.double() for name, value in outputs.items()}
    return {name: expression(wide) for name, expression in head.parameters.items()}


def _port(name: str, value: Tensor) -> Port:
    return Port(name, str(value.dtype).removeprefix("torch."), (None, *value.shape[1:]))
