"""Readers of what the gate needs: limits, steps and waivers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from audit.config.lists import items, pieces
from audit.config.readers import Reader, choice, finite, reader, text
from audit.config.settings import Threshold, Waiver

KINDS = ("max", "min", "max_increase", "max_decrease")
"""The options that set limits."""
_NEEDED = {"key", "until", "reason"}
_LIMITS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [
            {"type": "number"},
            {
                "type": "object",
                "required": ["limit"],
                "additionalProperties": False,
                "properties": {
                    "limit": {"type": "number"},
                    "level": {"enum": ["error", "warn"]},
                },
            },
        ]
    },
}


def thresholds(op: str) -> Reader:
    """Return a reader of KEY -> limit, for limits of one side (`<=` or `>=`)."""

    @reader(**_LIMITS)
    def read(value: object) -> tuple[Threshold, ...]:
        return tuple(_threshold(op, key, item) for key, item in items(value, "KEY=V"))

    return read


@reader(
    type="array",
    items={
        "type": "object",
        "required": ["key", "until", "reason"],
        "additionalProperties": False,
        "properties": {
            "key": {"type": "string"},
            "until": {"type": "string", "format": "date"},
            "reason": {"type": "string", "minLength": 1},
            "limit": {"enum": list(KINDS)},
        },
    },
)
def waivers(value: object) -> tuple[Waiver, ...]:
    """Read a list of {key, until, reason}; `until` is a day such as 2026-12-31.

    And perhaps `limit`: which of the limits of that key.
    """
    found = []
    for item in pieces(value):
        if not isinstance(item, Mapping) or set(item) - {"limit"} != _NEEDED:
            raise ValueError("expected a list of key, until and reason")
        try:
            until = date.fromisoformat(str(item["until"]))
        except ValueError:
            raise ValueError("expected until as a day, 2026-12-31") from None
        if not str(item["reason"] or "").strip():
            raise ValueError("expected a reason")
        limit = choice(*KINDS)(item["limit"]) if "limit" in item else ""
        key, reason = str(item["key"]), str(item["reason"])
        found.append(Waiver(key, until.isoformat(), reason, limit=limit))
    return tuple(found)


@reader(type="object", additionalProperties={"type": ["string", "number"]})
def steps(value: object) -> dict[str, str]:
    """Read KEY -> how much a number may change: a share such as "5%", or an amount."""
    found = {key: text(item).strip() for key, item in items(value, "KEY=STEP")}
    for step in found.values():
        if finite(step.removesuffix("%")) < 0:
            raise ValueError("expected a step that is not negative")
    return found


def _threshold(op: str, key: str, item: object) -> Threshold:
    if not isinstance(item, Mapping):
        return Threshold(key, op, finite(item))
    surplus = set(item) - {"limit", "level"}
    if surplus or "limit" not in item:
        raise ValueError(f"expected 'limit' and perhaps 'level' under {key}")
    level = choice("error", "warn")(item.get("level", "error"))
    return Threshold(key, op, finite(item["limit"]), level=level)
