"""Settings of a family that are not parameters, read from numbers or from text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from audit.ground.errors import ConfigError


def read_numbers(name: str, value: object) -> tuple[float, ...]:
    """Return the numbers of an option: one, several, or text such as "0.1,0.5,0.9".

    Raises:
        ConfigError: the option is missing or is not made of finite numbers.
    """
    parts: Sequence[object]
    if isinstance(value, str):
        parts = value.split(",")
    elif isinstance(value, Sequence):
        parts = value
    else:
        parts = [value]
    try:
        numbers = tuple(float(part) for part in parts)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise _no_numbers(name, value) from error
    if not numbers or not all(map(math.isfinite, numbers)):
        raise _no_numbers(name, value)
    return numbers


def read_positive(name: str, value: object, *, whole: bool = False) -> float:
    """Return the one positive number of an option, a whole one if need be.

    Raises:
        ConfigError: the option is something else.
    """
    numbers = read_numbers(name, value)
    if len(numbers) > 1 or numbers[0] <= 0 or (whole and numbers[0] % 1):
        raise ConfigError(
            f"The option {name} is {value!r}",
            f"It takes one positive {'whole number' if whole else 'number'}",
            f"Set {name} to such a number",
        )
    return numbers[0]


def _no_numbers(name: str, value: object) -> ConfigError:
    return ConfigError(
        f"The option {name} is {value!r}",
        "It takes finite numbers",
        f"Set {name} to a number, or to several separated by commas",
    )
