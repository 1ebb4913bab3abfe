"""Opening the file, and what draws for it: another file, or draws in the data."""

from __future__ import annotations

import math
from dataclasses import replace

from audit.ground.errors import ConfigError
from audit.inputs import Inputs, list_keys, open_inputs, split_spec
from audit.models.contract import Roles, Settings
from audit.models.files import open_network
from audit.models.implicit.joint import Sampler, join
from audit.models.implicit.laws import Slot
from audit.models.implicit.layout import split_stated
from audit.models.implicit.roles import resolve_implicit_head, resolve_implicit_roles
from audit.models.kinds import NOISES, role_of
from audit.models.network import Network


def open_files(
    settings: Settings, data: str, network: Network, contract: str
) -> tuple[Network, Roles]:
    """Return the network with all its parts, and what its inputs are.

    Raises:
        AuditError: one of its kinds, for whatever is missing or ambiguous.
    """
    _refuse(settings, contract)
    keys = list_keys(data)
    network, layout = split_stated(settings, network)
    if settings.model.sampler is None:
        roles = resolve_implicit_roles(settings, network, keys, contract)
        return network, replace(roles, items=(*roles.items, *layout))
    if contract != "density":
        raise ConfigError(
            "--sampler was given for a file that is a sampler itself",
            "It belongs to a file that computes log q(θ|x)",
            "Leave it out, or pass --contract density",
        )
    joined, roles = _with_sampler(settings, network, keys)
    return joined, replace(roles, items=(*roles.items, *layout))


def _refuse(settings: Settings, contract: str) -> None:
    """Refuse what only a file of another contract can do."""
    for name in ("target", "draws") if contract == "transport" else ():
        if getattr(settings.model, name) is not None:
            raise ConfigError(
                f"--{name} was given for a sampler θ = T(x, z)",
                "It belongs to a file that computes log q(θ|x)",
                "Leave it out, or pass --contract density",
            )
    for name, none in (("batch_axis", (None, 0)), ("rows", (None, "any"))):
        if getattr(settings.model, name) not in none:
            raise ConfigError(
                f"--{name.replace('_', '-')} was given for a {contract} file",
                "It belongs to files whose outputs are parameters of a family",
                "Export the file with the rows on the first axis of every tensor",
            )
    if settings.model.members is not None:
        raise ConfigError(
            f"--members was given for a {contract} file",
            "It belongs to files whose outputs are parameters of a family, one set of "
            "them for each member",
            "Leave it out, or export the ensemble as one density or sampler",
        )
    if settings.model.space == "parameters":
        raise ConfigError(
            "--space parameters was given",
            "A density or a sampler names no parameters that could be perturbed",
            "Leave it out",
        )
    if settings.finite_differences:
        raise ConfigError(
            "--method finite-difference was given",
            "Scores are needed at every draw, by backward passes",
            "Leave it out, or export the model with differentiable operators",
        )


def _with_sampler(
    settings: Settings, network: Network, keys: tuple[str, ...]
) -> tuple[Network, Roles]:
    model = settings.model
    own = replace(settings, model=replace(model, noise=None))
    noise = role_of("noise", None, own, network, NOISES)
    if noise is not None:
        raise ConfigError(
            f"--sampler was given, and the model has a sampler of its own (its input "
            f"'{noise.value}' is base noise)",
            "θ is drawn by one of them",
            "Leave --sampler out",
        )
    density = resolve_implicit_roles(own, network, keys, "density")
    other = _sampler(settings, keys, density.condition)
    joined = join(network, density.condition, other)
    roles = other.roles
    held = {**roles.held, **density.held}
    known = {"condition", *(item.name for item in density.items)}
    items = tuple(item for item in roles.items if item.name not in known)
    return joined, replace(
        density,
        held=held,
        noise=roles.noise,
        base=roles.base,
        items=(*density.items, *items),
    )


def _sampler(settings: Settings, keys: tuple[str, ...], condition: str) -> Sampler:
    """Open the sampler file; of what was said of outputs, `sample` is of its."""
    assert settings.model.sampler is not None
    model = replace(
        settings.model,
        path=settings.model.sampler,
        parameters={
            n: t for n, t in settings.model.parameters.items() if n == "sample"
        },
        target=None,
        held={},
        condition=None,
    )
    network = open_network(replace(settings, model=model))
    names = [port.name for port in network.inputs]
    if condition in names and "condition" not in network.metadata:
        model = replace(model, condition=condition)
    own = replace(settings, model=model)
    roles = resolve_implicit_roles(own, network, keys, "transport")
    outputs = [port.name for port in network.outputs] or ["output"]
    return Sampler(network, roles, resolve_implicit_head(own, network, outputs, roles))


def given_draws(data: str, key: str | None, rows: int, memory: int) -> Inputs | None:
    """Return draws that lie in the data under a key, [N, S, ...].

    Raises:
        ConfigError: the array has no axis of draws, or not one row for each input.
    """
    if key is None:
        return None
    path = split_spec(data)[0]
    if key not in list_keys(path):
        raise ConfigError(
            f"The data have no key '{key}'",
            f"Their keys are {', '.join(list_keys(path))}",
            "Name one of them with --draws KEY, or --noise NAME:KEY",
        )
    found = open_inputs(path, {key: key}, memory)
    shape = found.arrays[key].shape
    if shape[0] != rows:
        raise ConfigError(
            f"The draws '{key}' of the data have {shape[0]} rows",
            f"The condition has {rows}; each of its rows has draws of its own",
            "Reshape them, or name another key",
        )
    if len(shape) < 3 or shape[1] < 8:
        raise ConfigError(
            f"The draws '{key}' of the data have the shape {list(shape)}",
            "Expected [inputs, draws, coordinates], with at least 8 draws",
            "Reshape them, or name another key",
        )
    return found


def check_size(slot: Slot | None, given: Inputs | None) -> None:
    """Refuse draws that are no values of what they are given for.

    Raises:
        ConfigError: they have another number of coordinates.
    """
    if slot is None or given is None:
        return
    ((key, array),) = given.arrays.items()
    if math.prod(array.shape[2:]) != slot.size:
        raise ConfigError(
            f"The draws '{key}' of the data have the shape {list(array.shape)}",
            f"'{slot.name}' has {slot.size} coordinates: expected [inputs, draws, "
            f"{slot.size}]",
            "Reshape them, or name another key",
        )
