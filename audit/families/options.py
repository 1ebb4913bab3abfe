"""Settings of a family that are not parameters, read from numbers or from text."""

from __future__ import annotations

from collections.abc import Sequence

from audit.errors import ConfigError


def read_numbers(name: str, value: object) -> tuple[float, ...]:
    """Return the numbers of an option: one, several, or text such as "0.1,0.5,0.9".

    Raises:
        ConfigError: the option is missing or is not made of numbers.
    """
    parts: Sequence[object]
    if isinstance(value, str):
        parts = value.split(",")
    elif isinstance(value, Sequence):
        parts = value
    else:
        parts = [value]
    try:
        return tuple(float(part) for part in parts)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"The option {name} is {value!r}",
            "It takes numbers",
            f"Set {name} to a number, or to several separated by commas",
        ) from error
