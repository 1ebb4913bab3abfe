"""Readers: from what was written (text, or a YAML value) to a typed setting.

A reader raises `ValueError` with a clause that says what was expected; the caller
knows the option and where it was written, and makes the error of it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


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
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@reader(type="string")
def text(value: object) -> str:
    """Read one piece of text; a number is taken as it is written."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected text")  # noqa: TRY004
    return str(value)


@reader(type="string")
def path(value: object) -> str:
    """Read the path of a file or folder; a number is none, and would be made one."""
    found = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(found, str):
        raise ValueError("expected a path")  # noqa: TRY004
    return found


def spelled(value: object) -> object:
    """Return a scalar as a command line spells it; YAML makes `off` false."""
    if value is False:
        return "off"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if number else value


@reader(
    anyOf=[
        {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}},
        {"type": "number", "exclusiveMinimum": 0},
        {"enum": ["auto", "off", False]},
    ]
)
def sizes(value: object) -> tuple[float, ...] | None:
    """Read sizes as 0.03,0.1; "auto" reads as None and "off" as none of them."""
    value = "off" if value is False else value
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
    others = {"off": False, "1": 1, "2": 2}
    alike = [others[name] for name in names if name in others]

    @reader(enum=[*names, *alike])
    def read(value: object) -> str:
        word = spelled(value)
        if word in names:
            return str(word)
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
