"""The table of options as command-line parameters.

`config.options.OPTIONS` says how each option is named, read and explained; here a
command function with `**flags` gets one parameter for each of them. Values arrive as
text and the table's own readers judge them, so that an error reads the same whether a
value came from the command line, the environment or a file.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from audit.config import (
    ScanConfig,
    from_environment,
    has_settings,
    override,
    read_config,
    read_scans,
)
from audit.config.options import OPTIONS, POSITIONAL, flag_names
from audit.ground.errors import ConfigError, UnknownName
from audit.ground.registry import unknown

Command = TypeVar("Command", bound=Callable[..., None])
DEFAULT_FILES = ("robaudit.yaml", "pyproject.toml")
OUTPUT = "Output"

argument = partial(typer.Argument, show_default=False)
option = partial(typer.Option, show_default=False)
output_option = partial(option, rich_help_panel=OUTPUT)

ConfigFile = Annotated[
    str | None,
    option(
        "--config",
        metavar="FILE",
        help="Settings; default: robaudit.yaml, else pyproject.toml, if there.",
    ),
]


def with_options(names: Iterable[str]) -> Callable[[Command], Command]:
    """Return a decorator that gives a command a parameter for each option."""
    parameters = [_parameter(name) for name in names]

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True).parameters.values()
        kept = [one for one in own if one.kind is not inspect.Parameter.VAR_KEYWORD]
        required_first = sorted(
            [*parameters, *kept], key=lambda one: one.default is not one.empty
        )
        command.__signature__ = inspect.Signature(required_first)  # type: ignore[attr-defined]
        return command

    return decorate


def configured(config: str | None, flags: dict[str, Any]) -> ScanConfig:
    """Return the settings of file, environment and command line, in rising order.

    Raises:
        ConfigError: one of them makes no sense.
    """
    found = config_file(config)
    return _upper_layers(read_config(found) if found else ScanConfig(), flags)


def configured_scans(
    config: str | None, flags: dict[str, Any], chosen: Collection[str]
) -> dict[str, ScanConfig]:
    """Return the scans to run by name; a single one without a name is called "".

    Args:
        config: the configuration file, None to look for one.
        flags: what the command line says; it holds for every scan.
        chosen: names of scans; none: all of the file.

    Raises:
        UnknownName: a chosen scan is not in the file.
        ConfigError: some setting makes no sense.
    """
    found = config_file(config)
    named = read_scans(found) if found else {}
    for name in chosen:
        if name not in named:
            raise UnknownName(*unknown("scans of the configuration", name, named))
    # A model on the command line is one scan of its own, with what the scans share.
    if not named or (flags.get("model") and not chosen):
        return {"": configured(config, flags)}
    kept = {name: named[name] for name in chosen or named}
    return {name: _upper_layers(scan, flags) for name, scan in kept.items()}


def config_file(config: str | None) -> str | None:
    """Return the configuration file that was named or lies in this folder.

    Raises:
        ConfigError: one was named that cannot be read, or holds no settings: whoever
            names a file means what it holds.
    """
    path = config or os.environ.get("ROBAUDIT_CONFIG")
    if not path:
        return next((name for name in DEFAULT_FILES if Path(name).is_file()), None)
    if not has_settings(path):
        table = " in a table [tool.robaudit]" * path.endswith(".toml")
        raise ConfigError(
            f"The configuration file '{path}' holds no settings",
            f"Expected lines such as 'family: normal'{table}",
            "Add settings (robaudit init writes a file), or leave out "
            + ("--config" if config else "ROBAUDIT_CONFIG"),
        )
    return path


def _upper_layers(settings: ScanConfig, flags: dict[str, Any]) -> ScanConfig:
    return override(from_environment(settings), "command line", **flags)


def _parameter(name: str) -> inspect.Parameter:
    row = OPTIONS[name]
    shown: dict[str, Any] = {"metavar": row.metavar} if row.metavar else {}
    shown["help"] = row.meaning
    if name in POSITIONAL:
        information: object = argument(**shown)
    else:
        information = option(*flag_names(name), rich_help_panel=row.panel, **shown)
    kind: object = list[str] if row.many else str if row.metavar else bool
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[kind | None, information],  # type: ignore[operator]
    )
