"""Readers: from what was written (text, or a YAML value) to a typed setting.

A reader raises `ValueError` with a clause that says what was expected; the caller
knows the option and where it was written, and makes the error of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from audit.config.planned import checked, read_plan
from audit.config.settings import AttackConfig
from audit.ground.documents import Unreadable, read_yaml


@dataclass(frozen=True)
class Reader:
    """A reader and the JSON Schema of what it takes, for editors."""

    read: Callable[[Any], Any]
    schema: Mapping[str, Any]

    def __call__(self, value: object) -> Any:  # noqa: ANN401
        """Return the typed setting.

        Raises:
            ValueError: `value` makes no sense; a clause says what was expected.
        """
        return self.read(value)


def reader(**schema: object) -> Callable[[Callable[[Any], Any]], Reader]:
    """Return a decorator that makes a function a reader with this JSON Schema."""
    return lambda read: Reader(read, schema)


MOST_SIZES = 32
LARGEST_SIZE = 1e100  # its square is taken
LEAST_MOVE = 1e-20
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@reader(type="string")
def text(value: object) -> str:
    """Read one piece of text; a number is taken as it is written."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected text")  # noqa: TRY004
    return str(value)


@reader(
    anyOf=[
        {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}},
        {"type": "number", "exclusiveMinimum": 0},
        {"enum": ["auto", "off"]},
    ]
)
def sizes(value: object) -> tuple[float, ...] | None:
    """Read sizes as 0.03,0.1; "auto" reads as None and "off" as none of them."""
    if value in ("auto", ["auto"]):
        return None
    if value in ("off", ["off"]):
        return ()
    given = value if isinstance(value, list | tuple) else [value]
    words = [word for piece in given for word in str(piece).split(",")]
    found = sorted({positive(word) for word in words})
    if not found:
        raise ValueError("expected one size at least, or auto, or off")
    if found[-1] >= LARGEST_SIZE:
        raise ValueError(f"expected sizes below {LARGEST_SIZE:g}")
    if len(found) > MOST_SIZES:
        raise ValueError(f"expected at most {MOST_SIZES} sizes")
    return tuple(found)


@reader(type="boolean")
def flag(value: object) -> bool:
    """Read true or false."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False}
    known = {**words, "on": True, "off": False, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise ValueError("expected true or false")


def choice(*names: str) -> Reader:
    """Return a reader of one of `names`."""

    @reader(enum=names)
    def read(value: object) -> str:
        if value in names:
            return str(value)
        raise ValueError("expected one of: " + ", ".join(names))

    return read


def integer(minimum: int, *words: str) -> Reader:
    """Return a reader of a whole number or one of `words`; "auto" reads as None."""
    said = f"expected a whole number, at least {minimum}"
    said += "".join(f", or {word}" for word in words)
    schema: dict[str, Any] = {"type": "integer", "minimum": minimum}
    if words:
        schema = {"anyOf": [schema, {"enum": list(words)}]}

    @reader(**schema)
    def read(value: object) -> int | str | None:
        if value in words:
            return None if value == "auto" else str(value)
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if not isinstance(number, int) or isinstance(number, bool) or number < minimum:
            raise ValueError(said)
        if number >= 2**63:
            raise ValueError(f"{said} and below 2^63")
        return number

    return read


def finite(value: object) -> float:
    """Read a finite number; YAML reads 1e-3 as text, so text is taken too."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("expected a finite number")
    return number


@reader(type="number", exclusiveMinimum=0)
def positive(value: object) -> float:
    """Read a finite number above zero."""
    number = finite(value)
    if number <= 0:
        raise ValueError("expected a number above zero")
    return number


@reader(type="number", minimum=LEAST_MOVE)
def move(value: object) -> float:
    """Read a move of the prediction: one that some step of float64 can make."""
    number = positive(value)
    if number < LEAST_MOVE:
        raise ValueError(
            f"expected at least {LEAST_MOVE:g}: x and x + δ are one number before a "
            "prediction has moved by less"
        )
    return float(number)


@reader(type=["integer", "string"])
def memory(value: object) -> int:
    """Read bytes: 1073741824, "512MB" (powers of 1000) or "2GiB" (of 1024)."""
    words = 'expected bytes above zero, such as "512MB" or "2GiB"'
    match = _MEMORY.fullmatch(str(value).strip())
    if match is None or isinstance(value, bool):
        raise ValueError(words)
    base = 1024 if match[3] else 1000
    size = float(match[1]) * base ** _POWERS[match[2].lower()]
    if not 1 <= size < 2**63:
        raise ValueError(words)
    return int(size)


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
