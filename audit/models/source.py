"""The data of a file whose outputs are parameters: which arrays, and how they are read.

Roles are decided first; inputs that are perturbed together are joined, held ones are
constants or arrays. Numbers [N] are the rows of an input of [n, 1]. Further keys, which
expressions read, may be asked for later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from audit.ground.errors import ConfigError
from audit.inputs import Inputs, list_keys, open_inputs
from audit.inputs.joined import Joined
from audit.models.batch_axis import row_by_row, with_batch_axis
from audit.models.contract import Roles, Settings
from audit.models.members import rows_axis
from audit.models.network import Network
from audit.models.probing import Probe, split_held
from audit.models.roles import resolve_roles
from audit.models.texts import held_texts, spelling, text_inputs
from audit.models.together import joined_data, named_together, together
from audit.models.trying import settled


@dataclass(frozen=True)
class Source:
    """Where the arrays of a model come from.

    Args:
        data: the file, as the user named it.
        memory: bytes that compressed arrays may take.
        names: the inputs that are perturbed together; () where it is one.
        roles: of the inputs.
        wanted: input -> key, None where it is to be found.
        columns: the inputs of one number, with an axis for it.
        texts: the inputs of text.
        aside: keys of the data that are no input.
    """

    data: str
    memory: int
    names: tuple[str, ...]
    roles: Roles
    wanted: Mapping[str, str | None]
    columns: frozenset[str]
    texts: frozenset[str] = frozenset()
    aside: tuple[str, ...] = ()

    def opened(self, beside: Sequence[str] = ()) -> Inputs:
        """Return the arrays, and those of further keys."""
        wanted = {**self.wanted, **dict.fromkeys(beside)}
        if not self.names:
            found = open_inputs(self.data, wanted, self.memory, self.texts, self.aside)
            return _upright(found, self.columns)
        del wanted[self.roles.condition]
        every = {name: name for name in self.names} | wanted
        found = open_inputs(self.data, every, self.memory, self.texts)
        return joined_data(_upright(found, self.columns), self.names)


def probed(settings: Settings, data: str, network: Network) -> tuple[Probe, Source]:
    """Return the file on the data, and where they come from.

    Raises:
        AuditError: one of its kinds, for whatever is missing or ambiguous.
    """
    names = _together(settings, data, network)
    events: dict[str, tuple[int, ...]] = {}
    columns = frozenset(
        port.name for port in network.inputs if (port.shape or ())[1:] == (1,)
    )
    if names:
        found = open_inputs(data, {name: name for name in names}, settings.memory)
        found = _upright(found, columns)
        events = {name: tuple(found.arrays[name].shape[1:]) for name in names}
        settings, network = together(settings, network, events)
    roles = resolve_roles(settings, network, list_keys(data))
    constants, wanted = split_held(settings, roles, data)
    texts = text_inputs(network)
    source = Source(
        data, settings.memory, names, roles, wanted, columns, texts, settings.aside
    )
    opened = source.opened()
    constants, held = held_texts(texts, constants)
    spelt = {**opened.texts, **held}
    network = spelling(network, spelt)

    def alike(other: Network) -> Network:
        whole = together(settings, other, events)[1] if events else other
        return _arranged(settings, spelling(whole, spelt), roles.condition, probe)

    probe = Probe(network, opened, roles, constants, alike=alike)
    known = _arranged(settings, network, roles.condition, probe)
    return (probe if known is network else replace(probe, network=known)), source


def _upright(inputs: Inputs, columns: frozenset[str]) -> Inputs:
    """Return the arrays, those of numbers [N] for some inputs as columns [N, 1]."""
    arrays = {
        name: array[:, None]
        if name in columns and not isinstance(array, Joined) and array.ndim == 1
        else array
        for name, array in inputs.arrays.items()
    }
    return replace(inputs, arrays=arrays)


def _arranged(
    settings: Settings, network: Network, condition: str, probe: Probe
) -> Network:
    """Return the network with its rows where they were said to be, or are found.

    Raises:
        ConfigError: they are not there.
    """
    axis = rows_axis(settings)
    if settings.model.rows == "one":
        return row_by_row(network)
    if axis:
        return with_batch_axis(network, axis, condition, probe.values)
    return settled(network, condition, probe.values)


def _together(settings: Settings, data: str, network: Network) -> tuple[str, ...]:
    """Return the inputs that are perturbed together, without those of integers."""
    names = named_together(settings, network)
    undeclared = [name for name in names if not network.input(name).dtype]
    if undeclared:
        found = open_inputs(data, {name: name for name in undeclared}, settings.memory)
        whole = {n for n in undeclared if found.arrays[n].dtype.kind != "f"}
        names = tuple(name for name in names if name not in whole)
    if not names and settings.model.condition == "all":
        raise ConfigError(
            "--condition all was given",
            "Expected inputs of real numbers; the file's are "
            + ", ".join(str(port) for port in network.inputs),
            "Name the input with --condition",
        )
    return names
