"""Configuration files, read with the line of each key."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from audit.errors import ConfigError

_TOML_TABLE = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_TOML_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*'|\.|\s)+?)\s*=""")


@dataclass(frozen=True)
class Document:
    """The settings of one file, and where each was written."""

    path: str
    values: dict[str, Any]
    lines: dict[tuple[str, ...], int]
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
            raise ConfigError(f"{place}: {'.'.join(keys)} holds no settings")
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
    try:
        content = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"There is no configuration file '{path}'",
            next_step="Check --config, or leave it out",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The configuration file '{path}' cannot be read: {error}",
            next_step="Give a readable text file in UTF-8",
        ) from None
    return _toml(path, content) if path.endswith(".toml") else _yaml(path, content)


def _toml(path: str, content: str) -> Document:
    try:
        values = tomllib.loads(content).get("tool", {}).get("robaudit", {})
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"'{path}' is not TOML: {error}") from None
    named = {option_name(key): values[key] for key in values}
    return Document(path, named, _toml_lines(content))


def _toml_lines(content: str) -> dict[tuple[str, ...], int]:
    """Return the line of every key below [tool.robaudit], by table and key."""
    found: dict[tuple[str, ...], int] = {}
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
        value: Any = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    parts = []
    while isinstance(value, dict):
        ((part, value),) = value.items()
        parts.append(part)
    return tuple(parts)


def _yaml(path: str, content: str) -> Document:
    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
        values = yaml.safe_load(content)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else path
        problem = getattr(error, "problem", None) or error
        raise ConfigError(f"{place}: not YAML: {problem}") from None
    if values is None:
        return Document(path, {}, {})
    if not isinstance(values, dict):
        raise ConfigError(
            f"'{path}' holds {type(values).__name__}, not settings",
            "Expected lines such as 'family: normal'",
        )
    lines = _lines(path, root)
    return Document(path, {option_name(key): values[key] for key in values}, lines)


def _lines(
    path: str, node: yaml.Node | None, above: tuple[str, ...] = ()
) -> dict[tuple[str, ...], int]:
    """Return the line of every key; refuse a key written twice."""
    found: dict[tuple[str, ...], int] = {}
    if not isinstance(node, yaml.MappingNode):
        return found
    for key, value in node.value:
        name = str(key.value) if above else option_name(key.value)
        keys, line = (*above, name), key.start_mark.line + 1
        if keys in found:
            raise ConfigError(
                f"{path}:{line}: '{key.value}' is set twice",
                next_step=f"Keep this line or line {found[keys]}",
            )
        found |= {keys: line} | _lines(path, value, keys)
    return found
