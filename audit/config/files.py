"""Configuration files, read with the line of each key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.ground.documents import (
    MAX_CHARACTERS,
    Lines,
    Unreadable,
    read_toml,
    read_yaml,
    twice,
)
from audit.ground.errors import ConfigError, boundary, cause

_TOML_TABLE = re.compile(r"\s*+\[([^\[\]]+)\]\s*+(?:#.*)?$")
_TOML_KEY = re.compile(r"""((?:[\w-]|"[^"]*"|'[^']*'|\.|\s)++)=""")


@dataclass(frozen=True)
class Document:
    """The settings of one file, and where each was written."""

    path: str
    values: dict[str, Any]
    lines: Lines
    """(option,) or (option, key) -> line, counted from 1."""

    def part(self, *keys: str) -> Document:
        """Return the settings under some keys as a document of their own.

        Raises:
            ConfigError: there is no mapping of settings.
        """
        values: Any = self.values
        for key in keys:
            values = values[key]
        if not isinstance(values, dict) or not values:
            line = self.lines.get(keys)
            place = f"{self.path}:{line}" if line else self.path
            raise ConfigError(
                f"{place}: {'.'.join(keys)} holds no settings",
                "Expected lines such as 'family: normal' below it",
                "Add settings, or remove it",
            )
        depth = len(keys)
        lines = {
            (option_name(path[depth]), *path[depth + 1 :]): line
            for path, line in self.lines.items()
            if path[:depth] == keys and len(path) > depth
        }
        named = {option_name(key): values[key] for key in values}
        return Document(self.path, named, lines)

    def where(self, option: str, key: str = "") -> str:
        """Return "robaudit.yaml:12" for an option, or for one key under it."""
        line = self.lines.get((option, key)) or self.lines.get((option,))
        return f"{self.path}:{line}" if line else self.path


def option_name(key: object) -> str:
    """Return the option a key means: `max-skipped` is `max_skipped`."""
    return str(key).replace("-", "_")


def read_document(path: str) -> Document:
    """Read a YAML file, or the table [tool.robaudit] of a TOML file.

    Raises:
        ConfigError: the file is missing, unreadable, malformed or not a mapping.
    """
    expected = "Expected plain settings: text, numbers, lists"
    given, remedy = f"'{path}' cannot be read", "Correct the file"
    with boundary(given, expected, remedy, ConfigError):
        content = _content(path)
        try:
            read = _toml if path.endswith(".toml") else _yaml
            return read(path, content)
        except Unreadable as error:
            place = f"{path}:{error.line}" if error.line else path
            raise ConfigError(
                f"{place}: {error.problem}",
                "" if error.remedy else expected,
                error.remedy or remedy,
            ) from None


def _content(path: str) -> str:
    """Return the text of a configuration file, or more than may be of it."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.read(MAX_CHARACTERS + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"There is no configuration file '{path}'",
            "Expected a text file of settings, YAML or TOML",
            "Check --config, or leave it out",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The configuration file '{path}' cannot be read: {cause(error)}",
            "Expected a text file of settings, YAML or TOML",
            "Give a readable text file in UTF-8",
        ) from None


def _toml(path: str, content: str) -> Document:
    values: Any = read_toml(content)
    for key in ("tool", "robaudit"):
        values = values.get(key, {})
        if not isinstance(values, dict):
            raise Unreadable(f"'{key}' is no table")
    named = {option_name(key): values[key] for key in values}
    return Document(path, named, _toml_lines(content))


def _toml_lines(content: str) -> Lines:
    """Return the line of every key below [tool.robaudit], by table and key."""
    found: Lines = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(content.splitlines(), start=1):
        header, key = _TOML_TABLE.match(line), _TOML_KEY.match(line)
        if header:
            table = keys = _dotted(header[1])
        elif key:
            keys = (*table, *_dotted(key[1]))
        else:
            continue
        if keys[:2] == ("tool", "robaudit") and len(keys) > 2:
            found.setdefault((option_name(keys[2]), *keys[3:]), number)
    return found


def _dotted(text: str) -> tuple[str, ...]:
    """Return the parts of a TOML key: a."b.c" is a and b.c; () for no key."""
    try:
        value: Any = read_toml(f"{text} = 0")
    except Unreadable:
        return ()
    parts = []
    while isinstance(value, dict):
        ((part, value),) = value.items()
        parts.append(part)
    return tuple(parts)


def _yaml(path: str, content: str) -> Document:
    values, lines = read_yaml(content)
    if values is None:
        return Document(path, {}, {})
    if not isinstance(values, dict):
        raise ConfigError(
            f"'{path}' holds {type(values).__name__}, not settings",
            "Expected lines such as 'family: normal'",
            "See robaudit schema config for all settings",
        )
    named: Lines = {}
    for (first, *rest), line in lines.items():
        keys = (option_name(first), *rest)
        if keys in named:  # max-skipped is max_skipped
            raise twice(first, line, named[keys])
        named[keys] = line
    return Document(path, {option_name(key): values[key] for key in values}, named)
