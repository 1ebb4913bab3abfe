"""The commands that need no model: they read reports."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from audit.cli.flags import (
    ConfigFile,
    argument,
    config_file,
    configured,
    option,
    with_options,
)
from audit.cli.scanning import AsJson, Format, Outputs, Verbose, Width

ReportFile = Annotated[str, argument(metavar="REPORT")]
GATE = ["max", "min", "baseline", "max_increase", "max_decrease", "gate"]
CODE = ["max_skipped", "accept_unverified", "exit_zero"]


@with_options([*GATE, *CODE])
def check(
    paths: Annotated[list[str], argument(metavar="REPORT...")],
    config: ConfigFile = None,
    json_: AsJson = False,
    output: Outputs = None,
    width: Width = None,
    **flags: Any,  # noqa: ANN401
) -> None:
    """Hold saved reports against limits: those given, else those of the scan.

    A .yaml or .toml file among them is a configuration, which is read and validated.
    """
    from audit.cli.output import Destinations, single_report
    from audit.cli.terminal import emit, style
    from audit.cli.validating import refuse_unapplied, sort_out, validate
    from audit.formats.table import render_checks
    from audit.reports.baseline import with_baseline
    from audit.reports.checks import recheck, to_json, worst_code
    from audit.reports.json import believed, read_report

    reports, settings_files = sort_out(paths)
    said = [validate(path) for path in settings_files]
    if not reports:
        emit("\n".join(said))
        return
    settings = with_baseline(configured(config, flags))
    files = Destinations("", single_report(reports, output), rows=False)
    judged = {}
    for path in reports:
        with believed(path):
            judged[path] = recheck(read_report(path), settings, path)
    refuse_unapplied(settings_files, config_file(config), judged)
    code = worst_code(report.exit_code for report in judged.values())
    with believed(", ".join(reports)):
        for report in judged.values():
            files.deliver(report, code)
        text = to_json(judged) if json_ else render_checks(judged, style(width=width))
    emit(text if json_ else "\n".join([*said, text]))
    raise typer.Exit(code)


@with_options(
    ["max_increase", "max_decrease", "gate", "accept_unverified", "exit_zero"]
)
def diff(
    old: Annotated[str, argument(metavar="OLD")],
    new: Annotated[str, argument(metavar="NEW")],
    json_: AsJson = False,
    verbose: Verbose = False,
    width: Width = None,
    **flags: Any,  # noqa: ANN401
) -> None:
    """Compare two reports on the same data, input by input.

    A report of more than 10,000 inputs needs its rows file (-o rows.npz):
    the one its scan wrote, or one of the report's name beside it. Another
    is named as OLD.json::ROWS.npz.

    Exits 1 only when a limit on a change fails (--max-increase, --max-decrease).
    """
    from audit.cli.terminal import emit, progress, style
    from audit.config import ScanConfig, override
    from audit.formats import diff as shown
    from audit.ground.storage import split_spec
    from audit.reports.against import judged_by_change
    from audit.reports.compare import compare
    from audit.reports.json import believed, read_report
    from audit.reports.stored import stored

    config = override(ScanConfig(), "command line", **flags)
    render = (
        shown.to_json if json_ else partial(shown.render, style=style(verbose, width))
    )
    with progress(), believed(f"{old}' or '{new}"):
        names = [split_spec(one) for one in (old, new)]
        before, after = (stored(path, read_report(path), rows) for path, rows in names)
        found = compare(before, after)
        judged = judged_by_change(before, after, config)
        text = render(found, judged)
    emit(text)
    raise typer.Exit(judged.exit_code)


def render(
    report: ReportFile,
    output: Outputs = None,
    format_: Format = "",
    verbose: Verbose = False,
    width: Width = None,
    figure: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Of -o x.svg .pdf .png: radius, band, worst, spectrum, compare.",
        ),
    ] = "radius",
    index: Annotated[
        int | None,
        option(help="Which input the figure worst is of: one that the report lists."),
    ] = None,
) -> None:
    """Turn a saved report into other formats: -o x.md -o x.csv, or -f to stdout.

    A figure (-o x.pdf) has its numbers beside it, in x.pdf.csv.
    """
    from audit.cli.output import Destinations
    from audit.reports.json import believed, read_report

    format_ = format_ or ("" if output else "table")
    destinations = Destinations(
        format_,
        output or [],
        False,
        verbose,
        rows=False,
        figure=figure,
        index=index,
        width=width,
    )
    with believed(report):
        destinations.deliver(read_report(report))


def show(
    report: ReportFile,
    index: Annotated[int, option(help="Which input.")],
    json_: AsJson = False,
    width: Width = None,
    output: Annotated[
        list[str] | None,
        option(
            "-o",
            "--output",
            metavar="FILE",
            help="Instead: a figure .png .svg .pdf, or arrays .npz, of a worst input.",
        ),
    ] = None,
) -> None:
    """Show one input of a report beside all the others.

    -o draws one of the worst inputs (worst.png) as it is, moved by its critical
    radius, and what the model predicts of both; worst.npz holds x, δ and both
    predictions.
    """
    from audit.cli.output import write_portrait
    from audit.cli.terminal import emit, style
    from audit.formats import single
    from audit.reports.json import believed, finite, indented, read_report

    with believed(report):
        found = read_report(report)
        if output:
            write_portrait(found, index, output)
            return
        if json_:
            text = indented(finite(single.values_of(found, index)))
        else:
            text = single.render(found, index, style(width=width))
    emit(text)


def log(
    report: ReportFile,
    mlflow: Annotated[bool, option("--mlflow", help="To MLflow.")] = False,
    uri: Annotated[
        str | None,
        option(
            "--tracking-uri",
            metavar="URI",
            help="The server or store; default: MLFLOW_TRACKING_URI.",
        ),
    ] = None,
    experiment: Annotated[
        str | None, option(metavar="NAME", help="Its experiment.")
    ] = None,
    run_id: Annotated[
        str | None,
        option(metavar="ID", help="Add to this run, for example that of the training."),
    ] = None,
) -> None:
    """Log a saved report to an experiment tracker: metrics, settings and files.

    Exits 0 when it is logged, whatever the verdict: `robaudit check` is the gate.
    """
    from audit.cli.terminal import emit
    from audit.formats.logged import log as run
    from audit.ground.errors import ConfigError
    from audit.ground.printable import printable
    from audit.reports.json import believed, read_report

    if not mlflow:
        raise ConfigError(
            f"Nothing says where '{report}' is to be logged",
            "Expected --mlflow, the only tracker so far",
            "Add --mlflow",
        )
    with believed(report):
        found = run(read_report(report), uri, experiment, run_id)
    emit(f"Logged to MLflow as the run {printable(found)}")


def init(
    report: Annotated[
        str | None,
        option(
            "--from", metavar="REPORT", help="Take settings and limits from a report."
        ),
    ] = None,
    margin: Annotated[
        str, typer.Option(metavar="SHARE", help="How much worse a number may get.")
    ] = "25%",
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where to write.")
    ] = "robaudit.yaml",
    force: Annotated[bool, option("--force", help="Overwrite.")] = False,
) -> None:
    """Write a commented robaudit.yaml, with limits if a report is given."""
    from audit.cli.output import write_new
    from audit.cli.terminal import emit
    from audit.formats.starter import read_margin, starter
    from audit.ground.printable import printable
    from audit.reports.json import believed, read_report

    share = read_margin(margin)
    with believed(report or ""):
        text = starter(read_report(report) if report else None, share)
    write_new(output, text, force)
    emit(f"Wrote {printable(output)}")


COMMANDS = (check, diff, render, show, log, init)
