"""The commands that open a model: `scan` and `inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from audit.cli.flags import (
    OUTPUT,
    ConfigFile,
    configured,
    configured_scans,
    option,
    output_option,
    with_options,
)
from audit.config.option import MODEL
from audit.config.options import OPTIONS, command_line_options
from audit.ground import collector, streams
from audit.ground.errors import ConfigError

CONTRACT = [name for name, option in OPTIONS.items() if option.panel == MODEL]
LEAST_WIDTH = 60
WITNESS = "witness.npz"

Scans = Annotated[
    list[str] | None,
    option(
        "--scan",
        metavar="NAME",
        help="Only this scan of the configuration's `scans`; may be repeated.",
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "-f",
        "--format",
        metavar="FORMAT",
        help="What stdout carries: table, json, md, github, html, csv, junit, sarif or "
        "metrics.",
        rich_help_panel=OUTPUT,
    ),
]
Outputs = Annotated[
    list[str] | None,
    output_option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write .json .html .md .xml (JUnit) .sarif .csv .npz .parquet .pdf .svg "
        ".png .txt .metrics.json (DVC); NAME.witness.npz as --witness does.",
    ),
]
AsJson = Annotated[bool, option("--json", help="Print JSON.")]
Quiet = Annotated[
    bool, output_option("-q", "--quiet", help="Print nothing but errors.")
]
Verbose = Annotated[bool, output_option("-v", "--verbose", help="Show every quantity.")]


def wide_enough(width: int | None) -> int | None:
    """Return the columns that were asked for, if a table has room in them.

    Raises:
        ConfigError: they are fewer than the narrowest table takes.
    """
    if width is not None and width < LEAST_WIDTH:
        raise ConfigError(
            f"--width {width} is too narrow for the tables",
            f"Expected {LEAST_WIDTH} columns or more",
            f"Give --width {LEAST_WIDTH}, or -f json for a program to read",
        )
    return width


Width = Annotated[
    int | None,
    output_option(
        "--width",
        metavar="N",
        callback=wide_enough,
        help="Columns of what is printed (the terminal's, or COLUMNS, at most 100).",
    ),
]
NoProgress = Annotated[bool, output_option("--no-progress", help="No progress bar.")]


@with_options(command_line_options())
def scan(
    context: typer.Context,
    config: ConfigFile = None,
    scans: Scans = None,
    format_: Format = "table",
    output: Outputs = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    width: Width = None,
    no_progress: NoProgress = False,
    **flags: Any,  # noqa: ANN401
) -> None:
    """Audit a model on data: how far can its predictions be moved?

    Exit codes: 0 every limit held; 1 a limit failed; 2 usage error;
    3 could not audit; 4 incomplete; 5 nothing audited; 130 interrupted.

    With --run-dir a scan can be interrupted and resumed (--resume), or shared among
    processes (--shard 1/8, ..., 8/8) and put together (robaudit merge).
    """
    streams.divert()
    with collector.resting():
        from audit.cli.output import Destinations
        from audit.cli.running import plan, run_all, summarise

    show = not (quiet or no_progress)
    files = without_witness(output or [], flags)
    destinations = Destinations(format_, files, quiet, verbose, show=show, width=width)
    wanted = configured_scans(config, flags, scans or [])
    command = context.find_root().obj or []
    plans = {
        name: plan(settings, destinations, name, len(wanted), command)
        for name, settings in wanted.items()
    }
    reports = run_all(plans, show)
    raise typer.Exit(summarise(reports, quiet, width))


def without_witness(files: list[str], flags: dict[str, Any]) -> list[str]:
    """Take a file of witnesses among those to write as what --witness asks for.

    Raises:
        ConfigError: there is another one.
    """
    kept = [path for path in files if Path(path).name.endswith(WITNESS)]
    if not kept:
        return files
    given = [*kept, flags["witness"]] if flags.get("witness") else kept
    if len(given) > 1:
        raise ConfigError(
            f"Witnesses were to be kept in {' and in '.join(given)}",
            "Expected one file for them",
            "Leave the others out",
        )
    flags["witness"] = kept[0]
    return [path for path in files if path not in kept]


@with_options([*CONTRACT, "memory", "plan", "open_timeout"])
def inspect(
    config: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    width: Width = None,
    **flags: Any,  # noqa: ANN401
) -> None:
    """Show what a model file is, how it would be read and why, without auditing it."""
    streams.divert()
    from audit.cli.running import require
    from audit.cli.terminal import emit, style
    from audit.formats.inspection import render, to_json

    settings = configured(config, flags)
    require(settings, "model")
    from audit.run.inspection import inspect as run

    found = run(settings)
    emit(to_json(found) if json else render(found, style(width=width)))


COMMANDS = (scan, inspect)
