"""The commands that open a model: `scan` and `inspect`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated, Any

import typer

from audit.cli.flags import ConfigFile, configured, with_options
from audit.config import ScanConfig
from audit.config.options import MODEL, OPTIONS, command_line_options
from audit.errors import ConfigError

CONTRACT = [name for name, option in OPTIONS.items() if option.panel == MODEL]
OUTPUT = "Output"

Format = Annotated[
    str,
    typer.Option(
        "-f",
        "--format",
        metavar="FORMAT",
        help="What stdout carries: table, json, md, github, junit or sarif.",
        rich_help_panel=OUTPUT,
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write .json .html .md .xml (JUnit) .sarif .csv .npz .parquet.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "-q",
        "--quiet",
        help="Print nothing but errors.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "-v",
        "--verbose",
        help="Show every quantity.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
NoProgress = Annotated[
    bool,
    typer.Option(
        "--no-progress",
        help="No progress bar.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]


@with_options(command_line_options())
def scan(
    config: ConfigFile = None,
    format_: Format = "table",
    output: Outputs = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_progress: NoProgress = False,
    **flags: Any,  # noqa: ANN401
) -> None:
    """Audit a model on data: how far can its predictions be moved?

    Exit codes: 0 every limit held; 1 a limit failed; 2 usage error;
    3 could not audit; 4 incomplete; 5 nothing audited.
    """
    from audit.cli.output import Destinations
    from audit.cli.terminal import progress
    from audit.config import with_waivers
    from audit.reports.baseline import with_baseline
    from audit.reports.keys import check_config

    settings = with_waivers(with_baseline(configured(config, flags)))
    require(settings, "model", "data")
    check_config(settings)
    destinations = Destinations(format_, output or [], quiet, verbose)
    with ExitStack() as stack:
        rows = destinations.open_rows(stack)
        tick = stack.enter_context(progress(not (quiet or no_progress)))
        from audit.scan import scan as run

        report = run(settings, progress=tick, rows=rows)
    destinations.deliver(report)
    raise typer.Exit(report.exit_code)


@with_options([*CONTRACT])
def inspect(
    config: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    **flags: Any,  # noqa: ANN401
) -> None:
    """Show what a model file is, how it would be read and why, without auditing it."""
    from audit.cli.terminal import emit, style
    from audit.reports.inspection import render, to_json

    settings = configured(config, flags)
    require(settings, "model")
    from audit.inspection import inspect as run

    found = run(settings)
    emit(to_json(found) if json else render(found, style()))


def require(config: ScanConfig, *names: str) -> None:
    """Refuse settings without a model or without data.

    Raises:
        ConfigError: one of `names` is missing.
    """
    given = {"model": config.model.path, "data": config.data}
    for name in names:
        if not given[name]:
            raise ConfigError(
                f"No {name} is given",
                f"Expected {name.upper()} on the command line or '{name}:' in "
                "robaudit.yaml",
                "See robaudit scan --help",
            )


COMMANDS = (scan, inspect)
