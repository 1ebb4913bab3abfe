"""The table of options as command-line parameters.

`config.options.OPTIONS` says how each option is named, read and explained; here a
command function with `**flags` gets one parameter for each of them. Values arrive as
text and the table's own readers judge them, so that an error reads the same whether a
value came from the command line, the environment or a file.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from audit.config import ScanConfig, from_environment, override, read_config
from audit.config.options import OPTIONS, POSITIONAL, flag_names

Command = TypeVar("Command", bound=Callable[..., None])
DEFAULT_FILES = ("robaudit.yaml", "pyproject.toml")

ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings; default: robaudit.yaml, else pyproject.toml, if there.",
        show_default=False,
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
    path = config or os.environ.get("ROBAUDIT_CONFIG")
    found = path or next((name for name in DEFAULT_FILES if Path(name).is_file()), None)
    settings = read_config(found) if found else ScanConfig()
    return override(from_environment(settings), "command line", **flags)


def _parameter(name: str) -> inspect.Parameter:
    option = OPTIONS[name]
    shown: dict[str, Any] = {"help": option.meaning, "show_default": False}
    if option.metavar:
        shown["metavar"] = option.metavar
    if name in POSITIONAL:
        information: object = typer.Argument(**shown)
    else:
        information = typer.Option(
            *flag_names(name), rich_help_panel=option.panel, **shown
        )
    kind: object = list[str] if option.many else str if option.metavar else bool
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[kind | None, information],  # type: ignore[operator]
    )
