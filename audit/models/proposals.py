"""A configuration that a scan could go on with, where the user's own leaves it open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from audit.config import ModelConfig, ScanConfig
from audit.ground.errors import AuditError
from audit.inputs import list_keys, open_inputs
from audit.models.contract import Settings
from audit.models.network import Network
from audit.models.roles import CONDITION_NAMES, resolve_roles
from audit.models.source import probed
from audit.models.suggestions import suggest


def suggested_config(
    network: Network, config: ScanConfig
) -> tuple[ScanConfig, str] | None:
    """Return the settings with what is open filled in, and why so; None if nothing is.

    Args:
        network: the opened file.
        config: as the user gave it; what it states is kept.
    """
    try:
        model, reasons = _with_condition(network, config)
        if model.family is None and model.contract in (None, "parameters"):
            probe, _ = probed(_settings(config, model), config.data, network)
            found = suggest(probe.outputs)
            if found is None:
                return None
            parameters = dict(found.parameters)
            model = replace(model, family=found.family, parameters=parameters)
            reasons.append(f"{found.family} by {found.why}")
    except AuditError:
        return None
    if not reasons:
        return None
    said = dict.fromkeys(("family", "parameters", "condition", "held"), "suggestion")
    kept = {n: o for n, o in config.origins.items() if getattr(config.model, n, None)}
    changed = replace(config, model=model, origins={**said, **kept})
    return changed, "; ".join(reasons)


def _settings(config: ScanConfig, model: ModelConfig) -> Settings:
    return Settings(
        model,
        config.origins,
        config.method,
        False,
        1024,
        memory=config.memory,
        aside=config.aside,
    )


def _with_condition(
    network: Network, config: ScanConfig
) -> tuple[ModelConfig, list[str]]:
    """Return the model's settings with a condition, and the others held."""
    model = config.model
    keys = list_keys(config.data)
    try:
        resolve_roles(_settings(config, model), network, keys)
    except AuditError:
        if model.condition is not None:
            raise
    else:
        return model, []
    sizes = _sizes(network, config, keys)
    if not sizes:
        return model, []
    usual = [name for name in sizes if name.lower() in CONDITION_NAMES]
    if not usual and len(sizes) > 1 and set(sizes.values()) == {1}:
        why = "all inputs of real numbers are perturbed: each is one column"
        return replace(model, condition="all"), [why]
    chosen = usual[0] if usual else max(sizes, key=lambda name: sizes[name])
    held = {
        port.name: "0"
        for port in network.required
        if port.name not in (chosen, *keys, *model.held)
    }
    why = f"'{chosen}' is perturbed: the largest input of real numbers"
    return replace(model, condition=chosen, held={**model.held, **held}), [why]


def _sizes(
    network: Network, config: ScanConfig, keys: tuple[str, ...]
) -> Mapping[str, int]:
    """Return how many real numbers a row of each input has in the data."""
    names = [port.name for port in network.required if port.name in keys]
    if not names:
        return {}
    found = open_inputs(config.data, {name: name for name in names}, config.memory)
    return {
        name: int(array[:1].size)
        for name, array in found.arrays.items()
        if array.dtype.kind == "f" and not network.input(name).is_integer
    }
