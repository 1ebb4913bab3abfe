"""What a written file says of itself: the documents of densities and mixtures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audit.export.densities import Density
from audit.export.mixtures import Components
from audit.export.roles import Role


def density_contract(
    sampler: Density | None, extra: Mapping[str, str], role: Role = Role.POSTERIOR
) -> dict[str, object]:
    """Return the document of a density, with its sampler or without one."""
    roles = {"condition": role.condition, "target": role.target}
    document = {"contract": "density", **roles, **extra}
    if sampler is None:
        return document | {"outputs": {"log_prob": "log_prob"}}
    return document | {
        "noise": {"z": sampler.law},
        "outputs": {"log_prob": "log_prob", "sample": "sample"},
        "transport": sampler.title,
    }


def mixture_contract(
    module: Components, names: Sequence[str], role: Role = Role.POSTERIOR
) -> dict[str, object]:
    """Return the document of a mixture whose outputs have its parameters' names."""
    return {
        "family": module.family,
        "parameters": {name: name for name in names},
        "condition": role.condition,
    }
