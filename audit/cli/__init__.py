"""The command line: `robaudit scan`, `inspect`, `check`, ...

Every command is a few lines and imports what is heavy when it runs: `robaudit --help`
loads neither torch nor numpy, and nothing but `scan`, `merge`, `inspect`, `selftest`
and `replay` ever loads torch.
"""

from __future__ import annotations

from typing import Annotated

import typer

from audit.cli import (
    explaining,
    merging,
    replaying,
    reporting,
    scanning,
    selftesting,
)
from audit.cli.door import Door
from audit.cli.flags import option
from audit.cli.supervisor import supervised
from audit.cli.versions import say_versions
from audit.ground import streams

app = typer.Typer(
    name="robaudit",
    cls=Door,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def start(
    version: Annotated[
        bool,
        option(
            "--version",
            callback=say_versions,
            is_eager=True,
            help="Print the version of robaudit and of what it stands on.",
        ),
    ] = False,
) -> None:
    """Audit the local robustness of saved conditional density models."""


def _flowed(text: str) -> str:
    """Return a docstring with each paragraph on one line, for any width to break."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


for room in (scanning, selftesting, replaying, merging, reporting, explaining):
    for command in room.COMMANDS:
        app.command(help=_flowed(command.__doc__ or ""))(command)


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    streams.open_missing()
    streams.claim()
    supervised(app)
