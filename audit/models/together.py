"""Several inputs that are perturbed together: `--condition age,fare`, or `all`.

Exports of scikit-learn have one input for each column. They are joined to one input,
in the order in which they are named, and taken apart again before a call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from audit.ground.errors import ConfigError
from audit.inputs import Inputs
from audit.inputs.joined import Joined
from audit.models.contract import Settings
from audit.models.network import Call, Census, Network, Port, Values, carried

ALL = "all"
Event = tuple[int, ...]


def named_together(settings: Settings, network: Network) -> tuple[str, ...]:
    """Return the inputs that are perturbed together; () where it is one.

    Raises:
        ConfigError: one of the names is no input of the file, or is there twice.
    """
    text = settings.model.condition
    names = [port.name for port in network.inputs]
    if text is None or text in names:
        return ()
    if text == ALL:
        held = settings.model.held
        return tuple(
            port.name
            for port in network.required
            if not (port.is_integer or port.is_text) and port.name not in held
        )
    parts = tuple(part.strip() for part in text.split(","))
    if len(parts) < 2:
        return ()
    for name in parts:
        port = network.input(name) if name in names else None
        if port and (port.is_integer or port.is_text):
            what = "text" if port.is_text else "integers"
            raise ConfigError(
                f"--condition {text} names '{name}', which holds {what}",
                "A perturbation needs floating-point inputs: no gradient passes others",
                f"Leave it out: it is held at the data's key '{name}'",
            )
        if name not in names or parts.count(name) > 1:
            raise ConfigError(
                f"--condition {text} names '{name}'"
                + (" twice" if name in names else ", which is no input of the file"),
                f"The inputs are {', '.join(names)}",
                "Name some of them, separated by commas, or --condition all",
            )
    return parts


def together(
    settings: Settings, network: Network, events: Mapping[str, Event]
) -> tuple[Settings, Network]:
    """Return settings and a network in which some inputs are one.

    Args:
        settings: what the user said.
        network: the opened file.
        events: the inputs, in order, with the shape of one row of each.
    """
    name = ",".join(events)
    model = replace(settings.model, condition=name)
    return replace(settings, model=model), carried(
        network, lambda each: _joined(each, name, dict(events))
    )


def joined_data(inputs: Inputs, names: Sequence[str]) -> Inputs:
    """Return the data with some arrays as one, first of all."""
    array = Joined({name: inputs.arrays[name] for name in names})  # type: ignore[misc]
    name = ",".join(names)
    others = {n: a for n, a in inputs.arrays.items() if n not in names}
    keys = {n: key for n, key in inputs.keys.items() if n not in names}
    whole = ",".join(inputs.keys[each] for each in names)
    return replace(inputs, arrays={name: array, **others}, keys={name: whole, **keys})


def _joined(network: Network, name: str, events: Mapping[str, Event]) -> Network:
    ports = [network.input(each) for each in events]
    apart = _Apart(
        name, events, {port.name: network.dtype_of(port.name) for port in ports}
    )
    census, locate = network.census, network.locate

    def whole_census(condition: str, outputs: Sequence[str]) -> Census:
        assert census is not None
        if condition != name:
            return census(condition, outputs)
        return _any_of([census(each, outputs) for each in events])

    def whole_locate(values: Values, condition: str | None) -> str | None:
        assert locate is not None
        given = apart.split(values)
        if condition != name:
            return locate(given, condition)
        return next(filter(None, (locate(given, each) for each in events)), "")

    return network.rewired(
        apart,
        inputs=(
            _port(name, ports, list(events.values())),
            *(port for port in network.inputs if port.name not in events),
        ),
        census=census and whole_census,
        locate=locate and whole_locate,
    )


def _port(name: str, ports: Sequence[Port], events: Sequence[Event]) -> Port:
    """Return the one input: its batch is that of the first."""
    first, size = ports[0], sum(map(math.prod, events))
    dtypes = {port.dtype for port in ports}
    dtype = ports[0].dtype if len(dtypes) == 1 else ""
    if first.shape is None or len(first.shape) != len(events[0]) + 1:
        return Port(name, dtype)
    return Port(name, dtype, (first.shape[0], size))


def _any_of(found: Sequence[Census]) -> Census:
    """Return what lies between any of several inputs and the outputs."""
    return Census(
        any(each.connected for each in found),
        tuple(dict.fromkeys(stop for each in found for stop in each.stops)),
        tuple(dict.fromkeys(node for each in found for node in each.quantised)),
        all(each.complete for each in found),
    )


@dataclass(frozen=True)
class _Apart:
    """Takes the one input apart before a call.

    Args:
        name: of the whole.
        events: each part's shape of a row.
        dtypes: each part's type.
    """

    name: str
    events: Mapping[str, Event]
    dtypes: Mapping[str, torch.dtype]

    def split(self, values: Values) -> dict[str, Tensor]:
        """Return the file's own inputs."""
        whole = values[self.name]
        sizes = [math.prod(event) for event in self.events.values()]
        parts = torch.split(whole, sizes, dim=-1)
        found = {
            name: part.reshape(len(whole), *event).to(self.dtypes[name])
            for (name, event), part in zip(self.events.items(), parts, strict=True)
        }
        return {n: v for n, v in values.items() if n != self.name} | found

    def __call__(self, call: Call) -> Call:
        """Return the call on the whole."""
        return lambda values: call(self.split(values))
