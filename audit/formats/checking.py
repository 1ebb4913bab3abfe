"""The laws of every format, to run over a new one.

    check_render(render)

It is given a report with all that one can hold (a limit that fails, one that warns, a
skipped input, values that were not measured), and one with little in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

from audit.formats import Render
from audit.ground.checking import answering, demand
from audit.reports.json import read_report, to_json
from audit.reports.report import Report


def examples() -> Iterator[Report]:
    """Yield a rich report and a plain one."""
    with as_file(files("audit.formats") / "example.json") as path:
        rich = read_report(str(path))
    yield rich
    plain: dict[str, object] = {"verdict": "none", "exit_code": 0}
    plain |= {name: [] for name in ("checks", "skipped", "warnings", "worst")}
    yield rich.model_copy(update=plain)


def check_render(render: Render, *reports: Report | str | Path) -> None:
    """Hold a format to the laws of robaudit's own suite.

    Args:
        render: report -> text.
        reports: saved reports to show, beside two of robaudit's own.

    Raises:
        LawBroken: names the law, what was expected and what found.
    """
    given = [r if isinstance(r, Report) else read_report(str(r)) for r in reports]
    name = getattr(render, "__qualname__", repr(render))
    for report in (*examples(), *given):
        with answering(name, "every report is shown, with much in it or little"):
            _check(name, render, report)


def _check(name: str, render: Render, report: Report) -> None:
    before = to_json(report)
    text = render(report)
    law, kind = "a report is shown as text", type(text).__name__
    demand(isinstance(text, str), name, law, "str", kind)
    demand(bool(text.strip()), name, law, "some", repr(text))
    demand(_encodes(text), name, "the text is UTF-8", "no surrogates", repr(text))
    demand(render(report) == text, name, "equal reports are equal text", text, "other")
    same = to_json(report) == before
    demand(same, name, "a report is not changed", "the report as it was", "another")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
