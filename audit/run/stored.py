"""A configuration as plain data, and back: what a manifest needs to go on."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from audit.config import AttackConfig, ModelConfig, ScanConfig, Threshold, Waiver

_RECORDS: dict[str, type] = {
    "model": ModelConfig,
    "attacks": AttackConfig,
    "thresholds": Threshold,
    "waivers": Waiver,
}


def plain_config(config: ScanConfig) -> dict[str, Any]:
    """Return a configuration as JSON has it."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config), default=str))
    return plain


def stored_config(values: dict[str, Any]) -> ScanConfig:
    """Return the configuration that `plain_config` made plain.

    Raises:
        TypeError: these are not the fields of a configuration.
    """
    return ScanConfig(**{name: _setting(name, item) for name, item in values.items()})


def _setting(name: str, value: Any) -> Any:  # noqa: ANN401
    record = _RECORDS.get(name)
    if isinstance(value, list):
        return tuple(record(**item) if record else item for item in value)
    return record(**value) if record else value
