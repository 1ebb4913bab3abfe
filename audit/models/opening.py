"""From settings to an audited-ready density: open, run a probe, resolve, check.

What an output means can depend on its name and shape, which some formats tell only
when they run. So a few real rows go through the file first; every later decision and
every gate looks at what came out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.density import ConditionalDensity, Values
from audit.errors import ConfigError, InputError, ModelError, NothingAudited
from audit.families import build_family
from audit.families.interface import Family
from audit.inputs import Inputs, list_keys, open_inputs, split_spec
from audit.models import LOADERS
from audit.models.batching import Call, any_batch, legal_batches
from audit.models.checks import forward_parity, row_independence, to_tensors
from audit.models.contract import (
    Head,
    Item,
    Roles,
    Settings,
    hold,
    resolve_head,
    resolve_roles,
)
from audit.models.expressions import Expression
from audit.models.maps import AutogradMap, IdentityMap
from audit.models.network import Network, Port

PROBE_ROWS = 32
Function = Callable[[Tensor, Values], Tensor]


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
        forward_error: largest relative difference from onnxruntime; None if the
            format has no referee.
    """

    network: Network
    inputs: Inputs
    roles: Roles
    head: Head
    constants: Mapping[str, NDArray[np.generic]]
    density: ConditionalDensity
    event: tuple[int, ...]
    parameters_of: AutogradMap
    space: str
    outputs: tuple[Port, ...]
    forward_error: float | None

    @property
    def items(self) -> tuple[Item, ...]:
        """Every decision of the contract, with who made it."""
        return (*self.head.items, *self.roles.items)

    def rows(self, index: NDArray[np.int64]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what is perturbed [n, d] and the held inputs of some rows.

        Not-finite numbers become zero: those rows are skipped, and must not disturb
        the others.
        """
        arrays = {name: self.inputs.take(name, index) for name in self.inputs.arrays}
        for name, constant in self.constants.items():
            arrays[name] = np.broadcast_to(constant, (len(index), *constant.shape))
        values = to_tensors(arrays, self.network)
        x = torch.nan_to_num(values.pop(self.roles.condition), posinf=0.0, neginf=0.0)
        x = x.reshape(len(index), -1)
        return (self.parameters_of(x, values) if self._in_parameters else x), values

    def probe_index(self) -> NDArray[np.int64]:
        """Return the first rows without NaN or infinity."""
        return finite_rows(self.inputs)

    @property
    def _in_parameters(self) -> bool:
        return self.space == "parameters"

    def in_float64(self) -> OpenModel:
        """Return the same model run in float64, where the file allows it."""
        if self.network.dtype == torch.float64:
            return self
        return _assemble(
            self.network.double(),
            self.inputs,
            self.roles,
            self.head,
            self.constants,
            self.space,
        )


def open_model(settings: Settings, data: str) -> OpenModel:
    """Open a model and its data, resolve the contract and pass every gate.

    Raises:
        AuditError: one of its kinds, for whatever is missing, ambiguous or broken.
    """
    network = open_network(settings)
    roles = resolve_roles(settings, network, list_keys(split_spec(data)[0]))
    constants, keys = _held_values(network, roles, data)
    inputs = open_inputs(data, {roles.condition: settings.model.condition_key, **keys})
    probe = _Probe(network, inputs, roles, constants)
    head = resolve_head(settings, network, list(probe.outputs))
    opened = _assemble(network, inputs, roles, head, constants, settings.model.space)
    if settings.model.dtype == "float64" and network.dtype != torch.float64:
        return replace(opened.in_float64(), forward_error=opened.forward_error)
    return opened


def open_network(settings: Settings) -> Network:
    """Open the model file alone.

    Raises:
        ConfigError: no loader knows the suffix.
        ModelError: the file is missing, empty, damaged or not trusted.
    """
    path = Path(settings.model.path)
    if not path.is_file():
        raise ModelError(
            f"There is no model file '{path}'",
            "Expected " + ", ".join(LOADERS),
            "Check the path of MODEL",
        )
    if path.stat().st_size == 0:
        raise ModelError(
            f"The model file '{path}' is empty (0 bytes)", "", "Save it again"
        )
    if path.suffix not in LOADERS:
        raise ConfigError(
            f"'{path.name}' ends in '{path.suffix}'",
            "The formats are told by the suffix: " + ", ".join(LOADERS),
            "Rename the file to what it is, or export it to ONNX",
        )
    load = LOADERS[path.suffix]
    device = _device(settings.model.device)
    return load(path, device, settings.model.trust_model, _cuts(settings))


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"The device '{name}' cannot be used ({reason})",
            "Expected cpu, cuda or cuda:0",
            "Leave --device out to run on the CPU",
        ) from None
    return device


def _cuts(settings: Settings) -> frozenset[str]:
    """Return the internal tensors that --param expressions read as @name."""
    texts = map(Expression, settings.model.parameters.values())
    return frozenset(
        name[1:] for text in texts for name in text.names if name.startswith("@")
    )


def _held_values(
    network: Network, roles: Roles, data: str
) -> tuple[dict[str, NDArray[np.generic]], dict[str, str | None]]:
    """Split held inputs into constants and keys of the data file."""
    known = list_keys(split_spec(data)[0])
    keys: dict[str, str | None] = {n: v for n, v in roles.held.items() if v in known}
    constants = {}
    for name, value in roles.held.items():
        if name not in keys:
            constants[name] = _constant(network.input(name), value)
    return constants, keys


def _constant(port: Port, value: str) -> NDArray[np.generic]:
    """Return a held value for one row, in the shape the file declares."""
    array = np.asarray(hold(value, port))
    shape = [axis if isinstance(axis, int) else 1 for axis in (port.shape or ())[1:]]
    try:
        return np.array(np.broadcast_to(array, shape) if shape else array)
    except ValueError:
        raise InputError(
            f"The held input '{port.name}' was given a value of shape {array.shape}",
            f"The model declares {port}",
            f"Pass --held {port.name}=NUMBER, or a key of the data",
        ) from None


class _Probe:
    """A few real rows through the file, and what came out."""

    def __init__(
        self,
        network: Network,
        inputs: Inputs,
        roles: Roles,
        constants: Mapping[str, NDArray[np.generic]],
    ) -> None:
        rows = finite_rows(inputs)
        arrays = {name: inputs.take(name, rows) for name in inputs.arrays}
        for name, constant in constants.items():
            arrays[name] = np.broadcast_to(constant, (len(rows), *constant.shape))
        self.values = to_tensors(arrays, network)
        self.event = tuple(inputs.arrays[roles.condition].shape[1:])
        self.call: Call = any_batch(network, roles.condition, self.event)
        self.outputs = self._run()

    def _run(self) -> dict[str, Tensor]:
        try:
            with torch.no_grad():
                return self.call(self.values)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            shapes = ", ".join(f"{n} {list(v.shape)}" for n, v in self.values.items())
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(
                f"The model cannot be run on the data ({reason})",
                f"It was given {shapes}",
                "Check the data's shape and type, and --condition and --held",
            ) from None


def finite_rows(inputs: Inputs) -> NDArray[np.int64]:
    """Return the first rows that hold neither NaN nor infinity."""
    for first in range(0, inputs.n, 1024):
        rows = slice(first, min(first + 1024, inputs.n))
        found = np.flatnonzero(inputs.finite(rows))[:PROBE_ROWS] + first
        if len(found):
            return found.astype(np.int64)
    raise NothingAudited(
        f"Every row of '{inputs.path}' holds NaN or infinity ({inputs.blemish(0)})",
        "Expected finite inputs",
        "Clean the data first",
    )


def _assemble(
    network: Network,
    inputs: Inputs,
    roles: Roles,
    head: Head,
    constants: Mapping[str, NDArray[np.generic]],
    space: str,
) -> OpenModel:
    probe = _Probe(network, inputs, roles, constants)
    row_independence(probe.call, probe.values, probe.outputs, network.dtype)
    error = forward_parity(
        network, legal_batches(network, roles.condition, probe.values)
    )
    family = _family(head, probe.outputs)
    function = _function(probe.call, roles.condition, head, family)
    outer = AutogradMap(function, probe.event, network.dtype)
    return OpenModel(
        network,
        inputs,
        roles,
        head,
        constants,
        _density(outer, family, space),
        (family.size,) if space == "parameters" else probe.event,
        outer,
        space,
        tuple(_port(name, value) for name, value in probe.outputs.items()),
        error,
    )


def _density(outer: AutogradMap, family: Family, space: str) -> ConditionalDensity:
    if space == "parameters":
        return ConditionalDensity(IdentityMap(), family, family.size)
    return ConditionalDensity(outer, family, int(np.prod(outer.event, dtype=int)))


def _family(head: Head, outputs: Mapping[str, Tensor]) -> Family:
    values = _parameters(head, outputs)
    shapes = {name: tuple(value.shape[1:]) for name, value in values.items()}
    return build_family(head.family, shapes, **head.options)


def _parameters(head: Head, outputs: Values) -> dict[str, Tensor]:
    wide = {name: value.double() for name, value in outputs.items()}
    return {name: expression(wide) for name, expression in head.parameters.items()}


def _function(call: Call, condition: str, head: Head, family: Family) -> Function:
    def parameters_of(x: Tensor, held: Values) -> Tensor:
        return family.pack(_parameters(head, call({condition: x, **held})))

    return parameters_of


def _port(name: str, value: Tensor) -> Port:
    return Port(name, str(value.dtype).removeprefix("torch."), (None, *value.shape[1:]))
