"""The JSON Schema of `robaudit.yaml`, for editors."""

from __future__ import annotations

from typing import Any

from audit.config.layers import SCANS
from audit.config.options import OPTIONS


def config_schema() -> dict[str, Any]:
    """Return the schema: one property for each row of the table of options."""
    options = {
        name: {**option.read.schema, "description": option.meaning}
        for name, option in OPTIONS.items()
    }
    one = {"type": "object", "additionalProperties": False, "properties": options}
    several = {
        "type": "object",
        "additionalProperties": one,
        "description": "Several scans by name; each adds to the settings above.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "robaudit.yaml",
        "type": "object",
        "additionalProperties": False,
        "properties": {**options, SCANS: several},
    }
