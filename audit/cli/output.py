"""Where the results of a scan go: stdout and any number of files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from audit.cli.terminal import emit, progress, style
from audit.formats import FORMATS, SUFFIXES, format_of, rendered
from audit.formats.figure import SUFFIXES as FIGURES
from audit.formats.figure import check as check_figure
from audit.formats.figure import figure, is_figure
from audit.formats.layout import Style
from audit.formats.table import render as render_table
from audit.ground import stages, watch
from audit.ground.errors import ConfigError
from audit.reports.files import ROWS, check_writable, write_bytes, write_text

if TYPE_CHECKING:
    from audit.reports.report import Report
    from audit.reports.rows import RowsWriter

SCAN = "{scan}"


@dataclass(frozen=True)
class Destinations:
    """What to print and which files to write, checked before anything is measured."""

    format: str
    files: list[str]
    quiet: bool = False
    verbose: bool = False
    rows: bool = True
    """Whether rows can be written: while scanning, not from a saved report."""
    figure: str = "radius"
    """What a figure shows."""
    index: int | None = None
    """Which input the figure of a worst input is of; None: the worst."""
    show: bool = False
    """Whether progress is shown while files are written."""
    width: int | None = None
    """Columns of what is printed; None: those of the terminal."""

    def __post_init__(self) -> None:
        if self.format:
            FORMATS[self.format]
        if len(set(self.files)) < len(self.files):
            raise ConfigError(
                "One output file is given twice",
                "Each file holds one document",
                "Give every -o a name of its own",
            )
        for path in self.files:
            if is_figure(path):
                check_figure(self.figure)
            elif not self._is_rows(path):
                self._refuse_rows(path)
                format_of(path, (*FIGURES, *(ROWS if self.rows else ())))
            if SCAN not in path:
                check_writable(path)

    def open_rows(self, stack: ExitStack) -> RowsWriter | None:
        """Open the writer of rows, if a rows file is wanted, until `stack` closes."""
        paths = [path for path in self.files if self._is_rows(path)]
        if not paths:
            return None
        from audit.reports.rows import RowsWriter

        rows = RowsWriter(*paths)
        watch.tell(temporary=str(rows.folder.absolute()))
        return stack.enter_context(rows)

    def deliver(self, report: Report, code: int | None = None) -> None:
        """Write the files that are made of the report, then print it.

        Args:
            report: to be shown.
            code: the exit code that is final with it, None while there is more to do.
        """
        with progress(self.show and bool(self.files)):
            stages.stage(stages.WRITE, len(self.files), "files")
            for done, path in enumerate(self.files):
                stages.reach(done)
                self._write(path, report)
        if self.files:
            watch.settle(code)
        if self.format and not self.quiet:
            emit(render_as(report, self.format, style(self.verbose, self.width)))
        watch.settle(code)

    def _write(self, path: str, report: Report) -> None:
        if is_figure(path):
            made = figure(report, path, self.figure, self.index)
            for name, content in made.items():
                write_bytes(name, content)
        elif not self._is_rows(path):
            write_text(path, rendered(format_of(path), report))

    @staticmethod
    def _refuse_rows(path: str) -> None:
        if path.lower().endswith(ROWS) and not path.lower().endswith(tuple(SUFFIXES)):
            raise ConfigError(
                f"'{path}' was to hold rows, and a saved report does not have them all",
                f"Expected a name that ends in {', '.join((*SUFFIXES, *FIGURES))}",
                "Write the rows while scanning: robaudit scan MODEL DATA -o rows.npz",
            )

    def _is_rows(self, path: str) -> bool:
        return self.rows and path.lower().endswith(ROWS)


def in_turn(destinations: Destinations, scan: str, scans: int) -> Destinations:
    """Return where one of several scans goes: `{scan}` in a path is its name.

    Raises:
        ConfigError: several scans would write one file, or print one document.
    """
    if scans > 1 and destinations.format not in ("table", ""):
        raise ConfigError(
            f"Stdout cannot carry {scans} scans as {destinations.format}",
            "Such a document is of one scan",
            "Write files, -o '{scan}.json'",
        )
    for path in destinations.files:
        if scans > 1 and SCAN not in path:
            raise ConfigError(
                f"{scans} scans would all write '{path}'",
                "Each scan has a file of its own",
                "Put {scan} into the path, as -o 'reports/{scan}.json'",
            )
    files = [path.replace(SCAN, scan or "scan") for path in destinations.files]
    return replace(destinations, files=files)


def write_new(path: str, text: str, force: bool) -> None:
    """Write a file that does not exist yet, or any with `force`.

    Raises:
        ConfigError: it exists.
    """
    if Path(path).exists() and not force:
        raise ConfigError(
            f"'{path}' exists",
            "Only a file that does not exist yet is written unasked",
            "Add --force to overwrite it",
        )
    check_writable(path)
    write_text(path, text)


def write_portrait(report: Report, index: int, files: Sequence[str]) -> None:
    """Write one of the worst inputs as figures (.svg .pdf .png), or arrays (.npz).

    Raises:
        ConfigError: a file has another ending, or the report lacks what is to be drawn.
    """
    from audit.formats.arrays import SUFFIX, arrays
    from audit.formats.figure.portraits import portrait_of

    made: dict[str, bytes] = {}
    for path in files:
        check_writable(path)
        if path.lower().endswith(SUFFIX):
            made[path] = arrays(report, index)
        elif is_figure(path):
            check_figure("worst")
            portrait_of(report, index)
            made |= figure(report, path, "worst", index)
        else:
            raise ConfigError(
                f"'{path}' was to show one input",
                "Expected a name that ends in .png, .svg, .pdf or .npz",
                "Rename it; robaudit render writes whole reports",
            )
    for name, content in made.items():
        write_bytes(name, content)


def single_report(reports: Sequence[str], files: Sequence[str] | None) -> list[str]:
    """Return the files to write, which hold one report.

    Raises:
        ConfigError: there are files to write and several reports.
    """
    if files and len(reports) > 1:
        raise ConfigError(
            f"'{files[0]}' cannot hold {len(reports)} reports",
            "A file holds one report",
            "Check one report at a time, or leave out -o",
        )
    return list(files or [])


def render_as(report: Report, name: str, style: Style) -> str:
    """Return the report in a format, for this terminal if it is the table.

    Raises:
        UnknownName: there is no such format.
    """
    return render_table(report, style) if name == "table" else rendered(name, report)
