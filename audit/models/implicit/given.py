"""Draws that lie in the data: of θ, or of the base noise."""

from __future__ import annotations

import math

from audit.ground.errors import ConfigError
from audit.inputs import Inputs, list_keys, open_inputs, split_spec
from audit.models.implicit.laws import Slot


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
