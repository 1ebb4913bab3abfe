"""A few real rows through the file, before anything is decided.

What an output means can depend on its name and shape, which some formats tell only
when they run. Every later decision and every gate looks at what came out here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.ground.errors import (
    AuditError,
    ConfigError,
    InputError,
    ModelError,
    NothingAudited,
    cause,
)
from audit.inputs import Inputs, open_inputs
from audit.inputs import list_keys as list_keys
from audit.models.batching import any_batch, layout_of
from audit.models.contract import Roles, Settings, hold
from audit.models.gates.subject import Subject
from audit.models.network import Call, Network, Port, Values, to_tensors
from audit.models.roles import resolve_roles

PROBE_ROWS = 32


def _as_it_is(network: Network) -> Network:
    return network


@dataclass(frozen=True)
class Probe:
    """The file on the first finite rows of the data.

    Args:
        network: the file.
        inputs: the data.
        roles: what its inputs are.
        held: held inputs that are one value for all rows, as text.
        drawn: inputs that belong to a draw (θ, z), one value for each probed row.
        alike: another cut of the file -> the same with its inputs and rows arranged as
            those of `network` are.
    """

    network: Network
    inputs: Inputs
    roles: Roles
    held: Mapping[str, str]
    drawn: Mapping[str, Tensor] = field(default_factory=dict)
    alike: Callable[[Network], Network] = _as_it_is

    @cached_property
    def values(self) -> dict[str, Tensor]:
        """The inputs of up to `PROBE_ROWS` rows, in the file's own types."""
        taken = self.take(finite_rows(self.inputs))
        network = self.network
        drawn = {
            name: value.to(network.device, network.dtype_of(name))
            for name, value in self.drawn.items()
        }
        return taken | drawn

    def take(self, index: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the inputs of some rows, in the types the file declares."""
        arrays = {name: self.inputs.take(name, index) for name in self.inputs.arrays}
        for name, constant in self.constants.items():
            rows = np.broadcast_to(constant, (len(index), *constant.shape))
            arrays[name] = rows.copy()
        return to_tensors(arrays, self.network)

    @property
    def event(self) -> tuple[int, ...]:
        """The shape of one condition."""
        return tuple(self.inputs.arrays[self.roles.condition].shape[1:])

    @cached_property
    def constants(self) -> dict[str, NDArray[np.generic]]:
        """The held values of one row."""
        layout = layout_of(self.network, self.roles.condition, self.event)
        ports = {name: self.network.input(name) for name in self.held}
        return {
            name: _constant(port, self.held[name], layout.row_shape(port))
            for name, port in ports.items()
        }

    @cached_property
    def call(self) -> Call:
        """The file on any number of rows."""
        return any_batch(self.network, self.roles.condition, self.event)

    @cached_property
    def outputs(self) -> dict[str, Tensor]:
        """What the file makes of the rows.

        Raises:
            ModelError: it cannot be run on them.
        """
        try:
            with torch.no_grad():
                return self.call(self.values)
        except AuditError:
            raise
        except Exception as error:  # a saved program raises whatever it likes
            raise self._cannot_run(error) from None

    def subject(
        self, parameters: Callable[[Values], Tensor], used: Iterable[str]
    ) -> Subject:
        """Return what the gates look at.

        Args:
            parameters: outputs -> what is read of them [n, p].
            used: the outputs that are read.
        """
        return Subject(
            self.network,
            self.roles.condition,
            self.values,
            self.outputs,
            self.call,
            parameters,
            tuple(used),
        )

    def _cannot_run(self, error: Exception) -> ModelError:
        shapes = ", ".join(f"{n} {list(v.shape)}" for n, v in self.values.items())
        device = baked_device(str(error))
        if device and device != self.network.device.type:
            return ModelError(
                f"The file makes tensors on the device {device}, which was baked in "
                f"when it was saved ({cause(error)})",
                f"It was run on {self.network.device}",
                "Save it again after model.cpu(), with tensors made on the device of "
                f"an input (device=x.device), or audit it with --device {device}",
            )
        return ModelError(
            f"The model cannot be run on the data ({cause(error)})",
            f"It was given {shapes}, the first axis the rows; a Reshape or view whose "
            "size the exporter saw as fixed takes that size only",
            "Check the data's shape and type, --condition and --held; export the "
            "model with a dynamic batch axis",
        )


_DEVICES = re.compile(
    r"from the '(cuda|mps|xpu)' backend|not compiled with (cuda|mps|xpu)\b"
    r"|\b(cuda|mps|xpu)(?::\d+)?\b",
    re.IGNORECASE,
)


def baked_device(words: str) -> str:
    """Return the device that a failure is about, other than the CPU; "" for none."""
    found = _DEVICES.search(words)
    return next(part for part in found.groups() if part).lower() if found else ""


def finite_rows(inputs: Inputs) -> NDArray[np.int64]:
    """Return the first rows that hold neither NaN nor infinity.

    Raises:
        NothingAudited: there is none.
    """
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


def split_held(
    settings: Settings, roles: Roles, data: str
) -> tuple[dict[str, str], dict[str, str | None]]:
    """Return the constants held, as text, and the inputs with their keys in the data.

    The condition comes first; without a key it is looked for.
    """
    known = list_keys(data)
    keys = {name: key for name, key in roles.held.items() if key in known}
    constants = {n: value for n, value in roles.held.items() if n not in keys}
    return constants, {roles.condition: settings.model.condition_key, **keys}


def first_rows(
    settings: Settings, data: str, network: Network
) -> tuple[str, dict[str, Tensor]] | None:
    """Return the condition's name and up to 32 finite rows of every input.

    A live model says what its outputs are only when it runs on some.

    Returns:
        None where the inputs alone do not tell which one is perturbed.

    Raises:
        InputError: the data cannot be read.
        NothingAudited: no row is finite.
    """
    try:
        roles = resolve_roles(settings, network, list_keys(data))
    except ConfigError:
        return None
    constants, wanted = split_held(settings, roles, data)
    inputs = open_inputs(data, wanted, settings.memory, aside=settings.aside)
    return roles.condition, Probe(network, inputs, roles, constants).values


def _constant(port: Port, value: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Return a held value for one row, in the shape the file declares."""
    array = np.asarray(hold(value, port))
    try:
        return np.array(np.broadcast_to(array, shape) if shape else array)
    except ValueError:
        raise InputError(
            f"The held input '{port.name}' was given a value of shape {array.shape}",
            f"The model declares {port}",
            f"Pass --held {port.name}=NUMBER, or a key of the data",
        ) from None
