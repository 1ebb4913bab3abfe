"""One input that holds both θ and x, taken apart: `theta:0:4,x:4:6`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.ground.errors import ConfigError
from audit.importer import Graph
from audit.importer.split_inputs import split_graph_input
from audit.models.contract import Item, Settings
from audit.models.kinds import stated
from audit.models.network import Call, Census, Network, Port, Values, carried


@dataclass(frozen=True)
class Part:
    """Columns first … stop − 1 of the last axis, under a name of their own."""

    name: str
    first: int
    stop: int


def parse_layout(text: str) -> tuple[Part, ...]:
    """Return the parts in the order of their columns.

    Raises:
        ConfigError: the text is no layout, or leaves gaps.
    """
    try:
        parts = tuple(
            Part(name.strip(), int(first), int(stop))
            for name, first, stop in (item.split(":") for item in text.split(","))
        )
    except ValueError:
        raise _refused(text, "it is no list of NAME:FIRST:STOP") from None
    parts = tuple(sorted(parts, key=lambda part: part.first))
    ends = (0, *(part.stop for part in parts[:-1]))
    if any(part.first != end for part, end in zip(parts, ends, strict=True)):
        raise _refused(text, "its parts leave gaps or overlap")
    if any(part.stop <= part.first or not part.name for part in parts):
        raise _refused(text, "a part is empty or has no name")
    if len({part.name for part in parts}) < len(parts):
        raise _refused(text, "a name is used twice")
    return parts


def _refused(text: str, why: str) -> ConfigError:
    return ConfigError(
        f"--input-layout {text} was given; {why}",
        "Expected the columns of the model's input, from 0 to the last, such as "
        "theta:0:4,x:4:6",
        "Correct --input-layout",
    )


def split_stated(
    settings: Settings, network: Network
) -> tuple[Network, tuple[Item, ...]]:
    """Return the file with its input taken apart as somebody states, and who does.

    Raises:
        ConfigError: the layout does not fit the file.
    """
    item = stated("input_layout", settings, network)
    if item is None:
        return network, ()
    return split_input(network, item.value), (item,)


def split_input(network: Network, text: str) -> Network:
    """Return the file with its only input taken apart by columns.

    Raises:
        ConfigError: the file has several inputs, or not as many columns.
    """
    parts = parse_layout(text)
    if len(network.required) != 1:
        raise ConfigError(
            f"--input-layout {text} was given; the model has {len(network.required)} "
            f"inputs: {', '.join(port.name for port in network.required)}",
            "It is for a model with one concatenated input",
            "Leave it out, and name the inputs with --target and --condition",
        )
    (port,) = network.required
    columns = port.shape[-1] if port.shape else None
    if isinstance(columns, int) and columns != parts[-1].stop:
        raise ConfigError(
            f"--input-layout {text} was given",
            f"The model's input is {port}, with {columns} columns",
            "Correct --input-layout",
        )
    return carried(network, lambda each: _split(each, each.input(port.name), parts))


def _split(network: Network, port: Port, parts: tuple[Part, ...]) -> Network:
    around = _Joined(port.name, parts)
    part, graph = network.part, network.graph
    census, locate = network.census, network.locate

    def split_census(condition: str, outputs: object) -> Census:
        assert census is not None
        return census(port.name, outputs)  # type: ignore[arg-type]

    def split_locate(values: Values, condition: str | None) -> str | None:
        assert locate is not None
        return locate(around.join(values), condition and port.name)

    def split_graph(example: Values) -> Graph | None:
        assert graph is not None
        found = graph(around.join(example))
        columns = {part.name: (part.first, part.stop) for part in parts}
        return found and split_graph_input(found, port.name, columns)

    return network.rewired(
        around,
        inputs=(
            *(_port(port, part) for part in parts),
            *(other for other in network.inputs if other.name != port.name),
        ),
        part=part and (lambda outputs: around(part(outputs))),
        census=census and split_census,
        locate=locate and split_locate,
        graph=graph and split_graph,
    )


def _port(port: Port, part: Part) -> Port:
    shape = None if port.shape is None else (*port.shape[:-1], part.stop - part.first)
    return Port(part.name, port.dtype, shape)


@dataclass(frozen=True)
class _Joined:
    """Puts the parts together again before a call."""

    name: str
    parts: tuple[Part, ...]

    def join(self, values: Values) -> dict[str, Tensor]:
        """Return the file's own input, with others that have a default."""
        names = [part.name for part in self.parts]
        whole = torch.cat([values[name] for name in names], dim=-1)
        return {n: v for n, v in values.items() if n not in names} | {self.name: whole}

    def __call__(self, call: Callable[[Values], dict[str, Tensor]]) -> Call:
        """Return the call on the parts."""
        return lambda values: call(self.join(values))
