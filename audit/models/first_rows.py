"""The first rows of the data, as a model would get them, before a contract is known."""

from __future__ import annotations

from torch import Tensor

from audit.ground.errors import ConfigError
from audit.inputs import list_keys as list_keys
from audit.inputs import open_inputs
from audit.models.contract import Settings
from audit.models.network import Network
from audit.models.probing import Probe, split_held
from audit.models.roles import resolve_roles


def first_rows(
    settings: Settings, data: str, network: Network
) -> tuple[str, dict[str, Tensor]] | None:
    """Return the condition's name and up to 32 finite rows of every input.

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
    constants, keys = split_held(roles, data)
    wanted = {roles.condition: settings.model.condition_key, **keys}
    inputs = open_inputs(data, wanted, settings.memory, aside=settings.aside)
    return roles.condition, Probe(network, inputs, roles, constants).values
