"""From settings to a density ready to be audited: open, probe, resolve, check."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.density import ConditionalDensity, DifferentiableMap, Values
from audit.families import build_family
from audit.families.interface import Family
from audit.inputs import Inputs, list_keys, open_inputs, split_spec
from audit.models.contract import Head, Item, Roles, Settings
from audit.models.differences import FiniteDifferenceMap
from audit.models.files import open_network
from audit.models.gates import Findings, Subject, examine
from audit.models.head import resolve_head
from audit.models.maps import AutogradMap, IdentityMap
from audit.models.network import Network, Port
from audit.models.onnx_file import STRAIGHT_THROUGH
from audit.models.probing import Probe, finite_rows, split_held
from audit.models.roles import resolve_roles

REVERSE_MODE = "batched reverse mode"
_AS_IF = (
    STRAIGHT_THROUGH,
    "derivatives are taken as if quantisation did not round: an estimate that no gate "
    "can check; trust the realised values beside the predicted ones",
)
__all__ = ["OpenModel", "open_model", "open_network"]


@dataclass(frozen=True)
class OpenModel:
    """A file, its data and its contract, ready to be measured.

    Args:
        probe: the file, in the precision of the audit, on the data.
        head: how outputs become parameters.
        density: q(θ|x) on what is perturbed: the flattened condition, or φ.
        event: the shape of one of them.
        parameters_of: the network's own map, condition -> φ.
        space: what is perturbed, "input" or "parameters".
        gates: what the gates measured.
    """

    probe: Probe
    head: Head
    density: ConditionalDensity
    event: tuple[int, ...]
    parameters_of: AutogradMap | FiniteDifferenceMap
    space: str
    gates: Findings = field(default_factory=Findings)

    @property
    def network(self) -> Network:
        """The file."""
        return self.probe.network

    @property
    def inputs(self) -> Inputs:
        """The data, by the model's input names."""
        return self.probe.inputs

    @property
    def roles(self) -> Roles:
        """Which input is perturbed."""
        return self.probe.roles

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The file's outputs as they came out of the probe."""
        return tuple(_port(name, value) for name, value in self.probe.outputs.items())

    @property
    def items(self) -> tuple[Item, ...]:
        """Every decision of the contract, with who made it."""
        return (*self.head.items, *self.roles.items)

    @property
    def forward_error(self) -> float | None:
        """The largest relative difference from another run of the file."""
        return self.gates.forward_error

    @property
    def by_differences(self) -> bool:
        """Whether derivatives are taken by finite differences."""
        return isinstance(self.parameters_of, FiniteDifferenceMap)

    @property
    def derivative(self) -> str:
        """How derivatives are taken, as the report names it."""
        if self.by_differences:
            return "finite_difference"
        return str(self.network.details.get("derivative", REVERSE_MODE))

    def rows(self, index: NDArray[np.int64]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what is perturbed [n, d] and the held inputs of some rows.

        Not-finite numbers become zero: those rows are skipped, and must not disturb
        the others.
        """
        values = self.probe.take(index)
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
        probe = replace(self.probe, network=self.network.double())
        opened = _assemble(probe, self.head, self.space, self.by_differences)
        return replace(opened, gates=self.gates)


def open_model(settings: Settings, data: str) -> OpenModel:
    """Open a model and its data, resolve the contract and pass every gate.

    Raises:
        AuditError: one of its kinds, for whatever is missing, ambiguous or broken.
    """
    opened = pass_gates(open_unchecked(settings, data))
    return opened.in_float64() if settings.model.dtype == "float64" else opened


def open_unchecked(settings: Settings, data: str) -> OpenModel:
    """Open a model and its data and resolve the contract; no gate is passed.

    Raises:
        AuditError: one of its kinds, for whatever is missing or ambiguous.
    """
    network = open_network(settings)
    roles = resolve_roles(settings, network, list_keys(split_spec(data)[0]))
    constants, keys = split_held(roles, data)
    inputs = open_inputs(data, {roles.condition: settings.model.condition_key, **keys})
    probe = Probe(network, inputs, roles, constants)
    head = resolve_head(settings, network, list(probe.outputs))
    return _assemble(probe, head, settings.model.space, settings.finite_differences)


def pass_gates(model: OpenModel) -> OpenModel:
    """Return the model with what the gates measured.

    Raises:
        ModelError: a gate is closed.
    """
    by_gradient = model.space == "input" and model.derivative == REVERSE_MODE
    found = examine(
        _subject(model.probe, model.head, model.density.family), by_gradient
    )
    if model.derivative == STRAIGHT_THROUGH:
        found = replace(found, warnings=(*found.warnings, _AS_IF))
    return replace(model, gates=found)


def _assemble(probe: Probe, head: Head, space: str, differences: bool) -> OpenModel:
    """Put a density together."""
    values = _parameters(head, probe.outputs)
    shapes = {name: tuple(value.shape[1:]) for name, value in values.items()}
    family = build_family(head.family, shapes, **head.options)
    subject = _subject(probe, head, family)
    outer = subject.map_of(subject.call, probe.network.dtype)
    own = FiniteDifferenceMap(outer) if differences else outer
    inner: DifferentiableMap = own
    event = probe.event
    if space == "parameters":
        inner, event = IdentityMap(), (family.size,)
    density = ConditionalDensity(inner, family, int(np.prod(event, dtype=int)))
    return OpenModel(probe, head, density, event, own, space)


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


def _port(name: str, value: Tensor) -> Port:
    return Port(name, str(value.dtype).removeprefix("torch."), (None, *value.shape[1:]))
