"""Which input of the file is perturbed, and what the others are held at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audit.ground.errors import ConfigError, ModelError
from audit.models.contract import Item, Roles, Settings
from audit.models.kinds import no_such_input
from audit.models.network import Network, Port

DEFAULT = "default of the file"
CONDITION_NAMES = ("x", "condition", "input", "inputs", "observation", "features")


def resolve_roles(settings: Settings, network: Network, keys: Sequence[str]) -> Roles:
    """Decide which input is the condition and what the others are held at.

    Args:
        settings: what the user said.
        network: the opened file.
        keys: the keys of the data file, which may name inputs.

    Raises:
        ConfigError: a named input does not exist, or no single one can be chosen.
        ModelError: the condition is an integer input, so no gradient passes.
    """
    held, items = _held(settings, network)
    free = [port.name for port in network.required if port.name not in held]
    item = _condition(
        settings, network, [n for n in free if not network.input(n).is_text]
    )
    for port in network.inputs:
        if port.name == item.value or port.name in held:
            continue
        if port.name in keys:
            held[port.name] = port.name
            items.append(Item(f"held {port.name}", port.name, "key of the data"))
        elif port.default is not None:
            items.append(Item(f"held {port.name}", port.default, DEFAULT))
    missing = [name for name in free if name != item.value and name not in held]
    if missing:
        name = missing[0]
        value = "TEXT" if network.input(name).is_text else "0"
        raise ConfigError(
            f"The model input '{name}' has no value",
            f"The perturbed input is '{item.value}'; every other one is held",
            f"Pass --held {name}=KEY with a key of the data, or --held {name}={value}; "
            "where it is θ or base noise, --contract density or transport",
        )
    _refuse_integers(network.input(item.value))
    _refuse_text(network.input(item.value))
    return Roles(item.value, held, (item, *items))


def _held(settings: Settings, network: Network) -> tuple[dict[str, str], list[Item]]:
    stated = network.metadata.get("held", {})
    in_file = dict(stated) if isinstance(stated, Mapping) else {}
    held, items = {}, []
    for origin, source in (
        ("metadata", in_file),
        (settings.origin("held"), settings.model.held),
    ):
        for name, value in source.items():
            if name not in [port.name for port in network.inputs]:
                raise no_such_input(name, network, "held")
            held[name] = str(value)
            items.append(Item(f"held {name}", str(value), origin))
    return held, items


def _condition(settings: Settings, network: Network, free: list[str]) -> Item:
    names = [port.name for port in network.inputs]
    stated = network.metadata.get("condition")
    for value, origin in (
        (settings.model.condition, settings.origin("condition")),
        (stated, "metadata"),
    ):
        if value is None:
            continue
        if value not in names and len(free) == 1 and value == "x":
            return Item("condition", free[0], origin)
        if value not in names:
            raise no_such_input(str(value), network, "condition")
        return Item("condition", str(value), origin)
    if len(free) == 1:
        return Item("condition", free[0], "only input")
    known = [name for name in free if name.lower() in CONDITION_NAMES]
    if len(known) == 1:
        return Item("condition", known[0], "names")
    raise ConfigError(
        f"The model has {len(names)} inputs: {', '.join(names) or 'none'}",
        "One of them is the condition, the input that is perturbed",
        "Say which with --condition NAME, and the others with --held NAME=VALUE",
    )


def _refuse_text(port: Port) -> None:
    if port.is_text:
        raise ConfigError(
            f"The condition '{port.name}' holds text",
            "A perturbation needs numbers: between two texts there is nothing",
            "Choose another --condition; this one is held at a text or from the data",
        )


_PLACES = "Audit the part of the model after the embedding (cut the graph there)"
_BYTES = (
    "Export it with an input of float32 for the same numbers (0 to 255 of a picture), "
    "which the cast that it begins with leaves as they are"
)


def _refuse_integers(port: Port) -> None:
    if port.is_integer:
        raise ModelError(
            f"The condition '{port.name}' has type {port.dtype}",
            "A perturbation needs a floating-point input: no gradient passes integers",
            f"{_BYTES if port.dtype in ('uint8', 'int8') else _PLACES}, or choose "
            "another --condition",
        )
