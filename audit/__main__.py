"""`python -m audit` is `robaudit`: the streams first, then the command."""

from __future__ import annotations

import os
import sys

from audit.ground import collector, streams
from audit.ground.frames import roomy


def main() -> None:
    """Run the command line; every way out has an exit code of ours."""
    streams.open_missing()
    roomy(_run)


def _run() -> None:
    """Run it, if it can be imported: else exit 3, which Python would make 1."""
    try:
        with collector.resting():
            from audit.cli import main as run
    except Exception as error:
        print(f"robaudit: it is not installed in full ({error})", file=sys.stderr)
        os._exit(3)
    run()


if __name__ == "__main__":
    main()
