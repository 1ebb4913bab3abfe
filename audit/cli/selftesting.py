"""The command that tests a file before it is audited: `selftest`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from audit.cli.flags import OUTPUT, ConfigFile, configured, option, with_options
from audit.cli.scanning import CONTRACT, Quiet, Verbose, Width
from audit.config.option import SUBSET
from audit.config.options import OPTIONS
from audit.ground import streams
from audit.ground.errors import UnknownName
from audit.ground.registry import unknown

FORMATS = {"table": "a line for each check", "json": "plain data"}
ASKED = [
    *CONTRACT,
    *("divergences", "units", "mask", "tau", "draws_per_input", "sampling"),
    *("bottleneck", "seed", "dtype", "method"),
    *(name for name, option in OPTIONS.items() if option.panel == SUBSET),
    *("device", "memory", "plan", "open_timeout"),
]
"""The options of a scan that say what is tested."""

TargetKey = Annotated[
    str | None,
    option(
        "--target-key",
        metavar="KEY",
        help="Key of θ in DATA (theta, where it is there).",
    ),
]
OneFormat = Annotated[
    str,
    typer.Option(
        "-f",
        "--format",
        metavar="FORMAT",
        help="What stdout carries: table or json.",
        rich_help_panel=OUTPUT,
    ),
]


@with_options(ASKED)
def selftest(
    config: ConfigFile = None,
    target_key: TargetKey = None,
    format_: OneFormat = "table",
    quiet: Quiet = False,
    verbose: Verbose = False,
    width: Width = None,
    **flags: Any,  # noqa: ANN401
) -> None:
    """Test whether a file and its reading keep what any honest model keeps.

    Equal calls, reordered batches, float64, turned coordinates, another head,
    exact divergences, and the data's own θ. Exit codes: 0 every check passed or
    does not apply; 1 a check failed; 2 usage error; 3 could not run.
    """
    streams.divert()
    if format_ not in FORMATS:
        raise UnknownName(*unknown("formats of selftest", format_, FORMATS))
    from audit.cli.running import require
    from audit.cli.terminal import emit, style
    from audit.formats.selftest import render, to_json

    settings = configured(config, flags)
    require(settings, "model", "data")
    from audit.run.selftest import selftest as run

    found = run(settings, target_key)
    if not quiet:
        as_json = format_ == "json"
        emit(to_json(found) if as_json else render(found, style(verbose, width)))
    raise typer.Exit(found.exit_code)


COMMANDS = (selftest,)
