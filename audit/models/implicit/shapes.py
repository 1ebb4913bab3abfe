"""How long θ and z are: as the file declares, or as something else tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from audit.ground.errors import ConfigError
from audit.inputs import Inputs
from audit.models.batching import layout_of
from audit.models.contract import Item, Roles, Settings
from audit.models.implicit.laws import Shape, Slot
from audit.models.implicit.roles import LAWS
from audit.models.kinds import stated
from audit.models.network import Network, carried
from audit.nodes.space import TargetSpace, parse_space, real_space


def stated_space(
    settings: Settings, network: Network
) -> tuple[TargetSpace | None, tuple[Item, ...]]:
    """Return the target space somebody stated and who did, None if nobody did.

    Raises:
        ConfigError: the text is no target space.
    """
    item = stated("target_space", settings, network)
    return (None, ()) if item is None else (parse_space(item.value), (item,))


def target_slot(
    network: Network,
    roles: Roles,
    event: Shape,
    space: TargetSpace | None,
    draws: Inputs | None,
) -> Slot | None:
    """Return θ's input and the shape of one of them; None in a sampler.

    Raises:
        ConfigError: nothing tells its length.
    """
    if roles.target is None:
        return None
    if network.input(roles.target).is_integer and space is None:
        raise ConfigError(
            f"θ is the integer input {network.input(roles.target)}",
            "Whole numbers are enumerated, not integrated over",
            "Pass its values with --target-space 'choice:{0,1,2}'",
        )
    shape = row_shape(network, roles, event, roles.target)
    if shape is None and space is not None:
        shape = (space.n,)
    if shape is None and draws is not None:
        (array,) = draws.arrays.values()
        shape = tuple(array.shape[2:])
    if shape is None:
        raise ConfigError(
            f"The file does not say how many coordinates θ ('{roles.target}') has",
            "Formats other than ONNX and .pt2 declare no shapes",
            "Pass --target-space theta:real*3, for three real coordinates",
        )
    return Slot(roles.target, shape)


def noise_slot(
    network: Network,
    roles: Roles,
    event: Shape,
    target: Slot | None,
    given: Inputs | None,
) -> Slot | None:
    """Return z's input and the shape of one of them; None where there is no sampler.

    Raises:
        ConfigError: nothing tells its length.
    """
    if roles.noise is None:
        return None
    shape = row_shape(network, roles, event, roles.noise)
    if shape is None and given is not None:
        (array,) = given.arrays.values()
        shape = tuple(array.shape[2:])
    count = (roles.base or "").partition("*")[2]
    if shape is None and count.isdigit():
        shape = (int(count),)
    if shape is None and target is not None:
        shape = target.shape  # a flow has as many numbers of noise as θ has
    if shape is None:
        raise ConfigError(
            f"The file does not say how many numbers the noise '{roles.noise}' has",
            "Formats other than ONNX and .pt2 declare no shapes",
            f"Pass --noise '{roles.noise}:{roles.base}*5', for five numbers",
        )
    return Slot(roles.noise, shape)


def one_by_one(network: Network, roles: Roles) -> Network:
    """Return a network of one row a call where θ or z have one row, and x any number.

    An exporter that saw one draw fixes its first axis at 1, beside a dynamic condition:
    such a draw is one row's, not one for all rows.
    """
    condition = network.input(roles.condition)
    drawn = [n for n in (roles.target, roles.noise) if n is not None]
    ports = [network.input(name) for name in drawn]
    fixed = any(port.fixed_batch == 1 for port in ports)
    if not condition.shape or condition.fixed_batch is not None or not fixed:
        return network
    shape = (1, *condition.shape[1:])

    def change(each: Network) -> Network:
        inputs = (
            replace(port, shape=shape) if port.name == condition.name else port
            for port in each.inputs
        )
        return replace(each, inputs=tuple(inputs))

    return carried(network, change)


def row_shape(network: Network, roles: Roles, event: Shape, name: str) -> Shape | None:
    """Return the shape of one row of an input, None where the file leaves it open."""
    port = network.input(name)
    if port.shape is None:
        return None
    rows = layout_of(network, roles.condition, event).rows
    axes = port.shape if rows == 0 else port.shape[1:]
    return tuple(a for a in axes if isinstance(a, int)) if _known(axes) else None


def _known(axes: tuple[int | str | None, ...]) -> bool:
    return all(isinstance(axis, int) for axis in axes)


def fitting_space(space: TargetSpace | None, n: int) -> TargetSpace:
    """Return the stated space, or all of R^n.

    Raises:
        ConfigError: the stated one has another number of coordinates.
    """
    if space is None:
        return real_space(n)
    if space.n == n:
        return space
    raise ConfigError(
        f"--target-space has {space.n} coordinates",
        f"θ has {n}",
        "Name each coordinate of θ once",
    )


def base_key(roles: Roles, keys: tuple[str, ...]) -> str | None:
    """Return the key of the data that holds draws of z; None for a named law.

    Raises:
        ConfigError: the law is neither known nor a key.
    """
    if roles.base is None or law_name(roles) in LAWS:
        return None
    if roles.base in keys:
        return roles.base
    raise ConfigError(
        f"The base noise '{roles.noise}' was given the law '{roles.base}'",
        f"Expected {', '.join(LAWS)}, or a key of the data: {', '.join(keys)}",
        f"Pass --noise {roles.noise}:normal",
    )


def law_name(roles: Roles) -> str:
    """Return the base law without its count."""
    return (roles.base or "").partition("*")[0]


def zeros(slot: Slot, rows: int) -> Tensor:
    """Return a stand-in for draws, before any can be drawn."""
    return torch.zeros(rows, *slot.shape, dtype=torch.float64)


def event_of(inputs: Inputs, roles: Roles) -> Shape:
    """Return the shape of one condition."""
    return tuple(int(size) for size in np.shape(inputs.arrays[roles.condition])[1:])
