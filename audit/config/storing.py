"""What has been read of an option, put into its place in the settings.

Nearly every option is the field of its name. A model's own are fields of
`ScanConfig.model`, limits of all layers add up, and an input comes with its key.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from audit.config.settings import ModelConfig, ScanConfig, Threshold

_MODEL_FIELDS = frozenset(field.name for field in fields(ModelConfig))


def store(config: ScanConfig, name: str, value: Any) -> ScanConfig:  # noqa: ANN401
    """Return `config` with the option `name` set to the value its reader gave."""
    if name in ("max", "min"):
        return replace(config, thresholds=_merge(config.thresholds, value))
    if name in ("max_increase", "max_decrease"):
        value = {**getattr(config, name), **value}
    if name == "condition":
        changes = {"condition": value[0], "condition_key": value[1]}
    else:
        changes = {"path" if name == "model" else name: value}
    if set(changes) <= _MODEL_FIELDS:
        return replace(config, model=replace(config.model, **changes))
    return replace(config, **changes)


def _merge(
    below: tuple[Threshold, ...], above: tuple[Threshold, ...]
) -> tuple[Threshold, ...]:
    """Add limits to those of a lower layer; the same key and side is replaced.

    A list given on the command line replaces the file's, but a gate is not undone by
    adding a limit to it: neither one on a number nor one on a change.
    """
    merged = {(limit.key, limit.op): limit for limit in (*below, *above)}
    return tuple(merged.values())
