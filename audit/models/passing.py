"""Inputs that expressions read: they come out of the file beside what it computes.

An expression may read an input of the file (`target_scale`) or another key of the data,
where no output has that name. Such a value is held like any other, or it is the
condition itself; it passes by the network, so that a derivative flows through it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from audit.ground.errors import ConfigError
from audit.inputs import Inputs, list_keys
from audit.models.contract import Head, Item
from audit.models.expressions import quoted
from audit.models.network import Network, Port, carried
from audit.models.probing import Probe


def with_inputs(
    head: Head, probe: Probe, data: str, opened: Callable[[Sequence[str]], Inputs]
) -> Probe:
    """Return the probe with every input that the head's expressions read.

    Args:
        head: its expressions.
        probe: of the file.
        data: as the user named them.
        opened: further keys of the data -> the data with them.

    Raises:
        ConfigError: an expression reads what is neither an output, an input nor a key.
    """
    outputs = probe.outputs
    read = {name for text in head.parameters.values() for name in text.names}
    lacking = {
        n for n in read if n not in outputs and n.removeprefix("@") not in outputs
    }
    inputs = {port.name for port in probe.network.inputs}
    own = sorted(lacking & inputs)
    for name in own:
        if name not in probe.values:
            raise ConfigError(
                f"An expression reads the input '{name}', which has no value here",
                "Its default is not known to an expression",
                f"Pass --held {name}=KEY or --held {name}=VALUE",
            )
    _refuse_copies(lacking - inputs, probe)
    known = lacking - inputs
    beside = sorted(known & set(list_keys(data))) if known else []
    if not own and not beside:
        return probe
    found = opened(beside) if beside else probe.inputs
    roles = replace(
        probe.roles,
        held={**probe.roles.held, **{name: name for name in beside}},
        items=(
            *probe.roles.items,
            *(Item(f"held {name}", name, "read by an expression") for name in beside),
        ),
    )
    ports = [Port(name, found.arrays[name].dtype.name) for name in beside]
    network = passing(probe.network, own, ports)
    return replace(probe, network=network, inputs=found, roles=roles)


def _refuse_copies(names: Collection[str], probe: Probe) -> None:
    """Raise if a key is read that the condition comes from.

    What is read by the key would stay where it is while the condition is perturbed.
    """
    condition = probe.roles.condition
    for key in probe.inputs.keys.get(condition, "").split(","):
        if key in names:
            raise ConfigError(
                f"An expression reads '{key}', the key of the data that the input "
                f"'{condition}' is read from",
                "It is perturbed under the input's own name",
                f"Write {quoted(condition)} for it",
            )


def passing(network: Network, own: Collection[str], beside: list[Port]) -> Network:
    """Return a network with inputs of its own, and others, among its outputs."""
    others = tuple(port.name for port in beside)

    def change(each: Network) -> Network:
        inputs = (*each.inputs, *beside)
        return replace(each, inputs=inputs, passed=(*own, *others), beside=others)

    return carried(network, change)
