"""The command that makes one report of a run's parts: `merge`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audit.cli.flags import argument, option, with_options
from audit.cli.scanning import Format, NoProgress, Outputs, Quiet, Verbose, Width
from audit.config.option import GATE
from audit.config.options import OPTIONS
from audit.ground import streams

if TYPE_CHECKING:
    from audit.config import ScanConfig

LIMITS = [n for n, o in OPTIONS.items() if o.panel == GATE and not o.file_only]


@with_options(LIMITS)
def merge(
    run_dir: Annotated[str, argument(metavar="RUN_DIR")],
    format_: Format = "table",
    output: Outputs = None,
    partial: Annotated[
        bool,
        option("--partial", help="Report what is there of an unfinished run; exits 4."),
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    width: Width = None,
    no_progress: NoProgress = False,
    **flags: Any,  # noqa: ANN401
) -> None:
    """Make the report of a run from its parts, as a single scan would have made it.

    RUN_DIR is the --run-dir of a scan or of its shards. Limits are those of the scan,
    and those given here. Exit codes are those of scan; 4 if parts are missing.
    """
    streams.divert()
    from audit.cli.output import Destinations
    from audit.cli.terminal import progress

    show = not (quiet or no_progress)
    destinations = Destinations(
        format_, output or [], quiet, verbose, show=show, width=width
    )
    settings = settings_of(run_dir, flags)
    with ExitStack() as stack:
        rows = destinations.open_rows(stack)
        tick = stack.enter_context(progress(show))
        from audit.run.scan import merge as run

        report = run(settings, progress=tick, rows=rows, partial=partial)
    destinations.deliver(report, report.exit_code)
    raise typer.Exit(report.exit_code)


def settings_of(run_dir: str, flags: dict[str, Any]) -> ScanConfig:
    """Return the settings of a run with the limits that are given now.

    Raises:
        ConfigError: there is no such run, or its paths do not lead from here.
    """
    from dataclasses import replace

    from audit.cli.running import ready
    from audit.config import override
    from audit.ground.errors import ConfigError
    from audit.ground.tracking import is_reference
    from audit.run.manifest import read_manifest

    manifest = read_manifest(run_dir)
    asked = replace(manifest.asked(), run_dir=run_dir, resume=True, shard=None)
    named = is_reference(asked.model.path) or Path(asked.model.path).exists()
    if not named and manifest.folder != str(Path.cwd()):
        raise ConfigError(
            f"There is no '{asked.model.path}' in this folder",
            f"The paths of the run lead from '{manifest.folder}', where it was started",
            "Run merge there",
        )
    return ready(override(asked, "command line", **flags))


COMMANDS = (merge,)
