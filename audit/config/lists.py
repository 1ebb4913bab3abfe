"""Readers of lists and mappings: names, numbers, pairs and attacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from audit.config.planned import checked, read_plan
from audit.config.readers import integer, reader, text
from audit.config.settings import AttackConfig
from audit.ground.documents import Unreadable, read_yaml

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def pieces(value: object) -> list[Any]:
    """Read a list; one text is a list of the parts between its semicolons."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(";") if part.strip()]
    if isinstance(value, Iterable) and not isinstance(value, Mapping | bytes):
        return list(value)
    raise ValueError("expected a list")


@reader(type="array", items={"type": "string"})
def texts(value: object) -> tuple[str, ...]:
    """Read a list of texts."""
    return tuple(text(piece) for piece in pieces(value))


@reader(
    anyOf=[
        {"type": "string"},
        {"type": "object", "additionalProperties": {"type": ["string", "integer"]}},
    ]
)
def plan(value: object) -> dict[str, str]:
    """Read KEY=VALUE,..., a mapping of them, or the path of a report."""
    return checked(value) if isinstance(value, Mapping) else read_plan(text(value))


@reader(type=["array", "string"], items={"type": ["string", "number"]})
def names(value: object) -> str | tuple[str, ...]:
    """Read one text, whose commas part names or which names a file; or a list."""
    if isinstance(value, list | tuple):
        return tuple(str(text(piece)) for piece in value)
    return str(text(value))


@reader(type="array", items={"type": "integer", "minimum": 0})
def integers(value: object) -> tuple[int, ...]:
    """Read a list of whole numbers, "1,5,9" or [1, 5, 9]."""
    numbers: list[int] = []
    for piece in pieces([value] if isinstance(value, int) else value):
        parts = piece.split(",") if isinstance(piece, str) else [piece]
        numbers += [integer(0)(part) for part in parts]
    return tuple(numbers)


@reader(type="object", additionalProperties={"type": ["string", "number"]})
def pairs(value: object) -> dict[str, str]:
    """Read NAME -> text: a mapping, or a list of NAME=TEXT."""
    return {name: text(item) for name, item in items(value, "NAME=TEXT")}


@reader(type="object")
def literals(value: object) -> dict[str, object]:
    """Read NAME -> any value: a mapping, or a list of NAME=YAML."""
    return {name: _literal(item) for name, item in items(value, "NAME=VALUE")}


@reader(type="string")
def condition(value: object) -> tuple[str, str | None]:
    """Read NAME or NAME=KEY, the perturbed input and its key in the data."""
    name, equals, key = text(value).partition("=")
    if not name or (equals and not key):
        raise ValueError("expected NAME or NAME=KEY")
    return name, key or None


@reader(type="array", items={"type": "string"})
def attacks(value: object) -> tuple[AttackConfig, ...]:
    """Read a list of [LABEL=]KIND:ARG=VALUE,...; labels have to differ."""
    found = tuple(attack(piece) for piece in pieces(value))
    labels = [one.label for one in found]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(
                f"two attacks are labelled '{label}'; expected a label for each, "
                f"such as weak={found[labels.index(label)]}"
            )
    return found


def attack(value: object) -> AttackConfig:
    """Read one attack."""
    if isinstance(value, AttackConfig):
        return value
    head, colon, tail = text(value).partition(":")
    label, equals, kind = head.partition("=")
    kind = kind if equals else label
    parts = [part.partition("=") for part in tail.split(",")] if colon else []
    good = all(name.strip() and given.strip() for name, _, given in parts)
    if not (_LABEL.fullmatch(label) and _LABEL.fullmatch(kind) and good):
        raise ValueError("expected [LABEL=]KIND:ARG=VALUE,..., as gaussian:sigma=0.1")
    return AttackConfig(
        label, kind, {name.strip(): given.strip() for name, _, given in parts}
    )


def items(value: object, form: str) -> list[tuple[str, Any]]:
    """Read NAME -> something, not yet typed: a mapping, or a list of NAME=TEXT.

    Who names one twice, as --max K=1 --max K=9, means both; only one could be kept.
    """
    if isinstance(value, Mapping):
        return [(str(name), item) for name, item in value.items()]
    found: dict[str, Any] = {}
    for piece in pieces(value):
        # A key may hold an equals sign (renyi:alpha=0.5.trace.mean), a limit may not.
        name, equals, item = (
            str(piece).rpartition("=")
            if form.startswith("KEY")
            else str(piece).partition("=")
        )
        if not (name.strip() and equals and item.strip()):
            raise ValueError(f"expected {form}")
        if name.strip() in found:
            raise ValueError(f"expected {form} once for '{name.strip()}'")
        found[name.strip()] = item.strip()
    return list(found.items())


def _literal(item: object) -> object:
    try:
        return _numbers(read_yaml(item)[0] if isinstance(item, str) else item)
    except Unreadable as error:
        raise ValueError(f"expected a YAML value; {error.problem}") from None


def _numbers(value: object) -> object:
    """Turn texts that are numbers into numbers: YAML 1.1 reads 1e-3 as text."""
    if isinstance(value, list):
        return [_numbers(part) for part in value]
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
