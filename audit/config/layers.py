"""Layers of settings: each overrides the one below and says who it is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from audit.config.files import Document, read_document
from audit.config.options import OPTIONS, POSITIONAL, flag_names
from audit.config.settings import ScanConfig
from audit.config.storing import store
from audit.ground.errors import ConfigError, boundary
from audit.ground.registry import unknown

PREFIX = "ROBAUDIT_"
COMMAND_LINE, ENVIRONMENT, CALL = "command line", "environment", "call"
NOT_OPTIONS = ("CONFIG", "DEBUG")
SCANS = "scans"
_SCAN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
Where = Callable[[str, str], str]
"""(option, key of a threshold or "") -> where it was written."""
_readable = boundary(
    "The configuration cannot be read",
    "Expected plain settings: text, numbers, lists",
    "Correct the file; robaudit schema config says what it may hold",
    ConfigError,
)


@_readable
def read_config(path: str | Path) -> ScanConfig:
    """Return the settings of a file on top of the defaults.

    Of a file with several scans these are the settings they share.

    Raises:
        ConfigError: the file, a key or a value makes no sense; names file and line.
    """
    return _shared(read_document(str(path)), ScanConfig())


@_readable
def has_settings(path: str | Path) -> bool:
    """Tell whether a file holds any setting, be it a default.

    Raises:
        ConfigError: the file cannot be read.
    """
    return bool(read_document(str(path)).values)


@_readable
def read_scans(path: str | Path) -> dict[str, ScanConfig]:
    """Return the scans that a file names under `scans`, on top of what they share.

    Raises:
        ConfigError: the file, a name, a key or a value makes no sense.
    """
    document = read_document(str(path))
    if SCANS not in document.values:
        return {}
    shared = _shared(document, ScanConfig())
    found = {}
    for name in map(str, document.part(SCANS).values):
        if not _SCAN_NAME.fullmatch(name):
            raise ConfigError(
                f"{document.where(SCANS, name)}: '{name}' cannot name a scan",
                "Expected letters, digits, '_', '-' and '.'",
                "Rename the scan",
            )
        found[name] = _apply(document.part(SCANS, name), shared)
    return found


def _shared(document: Document, base: ScanConfig) -> ScanConfig:
    values = {name: v for name, v in document.values.items() if name != SCANS}
    return _apply(replace(document, values=values), base)


def _apply(document: Document, config: ScanConfig) -> ScanConfig:
    for name, value in document.values.items():
        config = _set(config, name, value, Path(document.path).name, document.where)
    return config


def from_environment(
    config: ScanConfig, environment: Mapping[str, str] | None = None
) -> ScanConfig:
    """Return `config` with every `ROBAUDIT_<OPTION>` of the environment applied.

    A list is written with semicolons: `ROBAUDIT_DIVERGENCES="kl;hellinger"`.
    """
    found = os.environ if environment is None else environment
    for variable in sorted(found):
        name = variable.removeprefix(PREFIX)
        if variable.startswith(PREFIX) and name not in NOT_OPTIONS:
            config = _set(
                config,
                name.lower(),
                found[variable],
                ENVIRONMENT,
                lambda option, _: PREFIX + option.upper(),
            )
    return config


def override(config: ScanConfig, origin: str, **flags: object) -> ScanConfig:
    """Return `config` with `flags` set; None and empty lists change nothing.

    Args:
        config: the layer below.
        origin: who speaks, e.g. "command line".
        flags: option -> its value, as text or already typed.

    Raises:
        ConfigError: an option is unknown or its value makes no sense.
    """
    for name, value in flags.items():
        if value is not None and value != [] and value != ():
            config = _set(config, name, value, origin, _flag)
    return config


def from_call(
    config: ScanConfig, settings: Mapping[str, object], names: Iterable[str] = ()
) -> ScanConfig:
    """Return `config` with the keywords of a Python call applied; None is no setting.

    Args:
        config: the layer below.
        settings: option -> its value, as in `robaudit.yaml`.
        names: the options that the call takes; none: all but model and data.

    Raises:
        ConfigError: a keyword is unknown or its value makes no sense; names it.
    """
    known = {name: 0 for name in names or OPTIONS if name not in POSITIONAL}
    for name, value in settings.items():
        if name not in known:
            given, expected, hint = unknown("keywords of this call", name, known)
            raise ConfigError(given, expected, hint)
        if value is None:
            continue
        try:
            config = _set(config, name, value, CALL, _keyword)
        except ConfigError as error:
            meaning = error.next_step or f"{name}= means: {OPTIONS[name].meaning}"
            raise ConfigError(error.given, error.expected, meaning) from None
    return config


def _keyword(option: str, key: str) -> str:
    return f"{option}={{'{key}': …}}" if key else f"{option}="


def _flag(option: str, _: str) -> str:
    return flag_names(option)[-1]


def _set(
    config: ScanConfig, name: str, value: object, origin: str, where: Where
) -> ScanConfig:
    place = where(name, "")
    looks = OPTIONS[name].metavar if name in OPTIONS else "an option"
    expected = f"Expected {looks or 'true or false'}"
    step = "Correct it; robaudit schema config says what it may be"
    with boundary(f"{place}: {name} cannot be read", expected, step, ConfigError):
        return _changed(config, name, value, origin, where)


def _changed(
    config: ScanConfig, name: str, value: object, origin: str, where: Where
) -> ScanConfig:
    place = where(name, "")
    if name not in OPTIONS:
        given, expected, hint = unknown("options", name, OPTIONS)
        raise ConfigError(f"{place}: {given}", expected, hint)
    try:
        read = OPTIONS[name].read(_without_nul(value))
    except ValueError as error:
        from_file = origin not in (COMMAND_LINE, ENVIRONMENT, CALL)
        subject = f"{place}: {name}" if from_file else place
        clause, step = error.args if len(error.args) == 2 else (str(error), "")
        shown = value if isinstance(value, str) else f"{value!r}"
        raise ConfigError(
            f"{subject} is {shown}", clause[0].upper() + clause[1:], step
        ) from None
    if name in ("max", "min"):
        read = tuple(
            replace(
                limit, source=_source(where(name, limit.key), limit.key, limit.limit)
            )
            for limit in read
        )
    if name in ("max_increase", "max_decrease"):
        config = replace(config, places=_places(config, name, read, origin, where))
    if name == "waivers":
        read = tuple(replace(waiver, source=place) for waiver in read)
    origins = {**config.origins, name: origin}
    return replace(store(config, name, read), origins=origins)


def _without_nul(value: object) -> object:
    """Return a value, which is no text with a NUL: no path may hold one."""
    if isinstance(value, str) and "\0" in value:
        raise ValueError("expected text without the character NUL")
    return value


def _places(
    config: ScanConfig, name: str, keys: Iterable[str], origin: str, where: Where
) -> dict[str, str]:
    """Return where limits on a change are written; a flag speaks for itself."""
    said = {f"{name} {key}": where(name, key) for key in keys}
    others = {k: v for k, v in config.places.items() if k not in said}
    from_file = origin not in (COMMAND_LINE, ENVIRONMENT, CALL)
    return others | said if from_file else others


def _source(where: str, key: str, limit: float) -> str:
    if where.startswith("--"):
        return f"{where} {key}={limit:g}"
    return where.replace("…", f"{limit:g}")
