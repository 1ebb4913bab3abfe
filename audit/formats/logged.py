"""A report as a run of MLflow: its numbers as metrics, its settings, its files.

What a name of MLflow may not hold (`=` of "renyi:alpha=0.5", `@` of a size) becomes a
blank, `@` the word "at"; two names that would become one are refused. A number that is
infinite or was not measured is no metric, since a store would clamp or drop it without
a word: the tag `robaudit.left_out` counts them, and the report, logged as a file, holds
each with its reason.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from audit.formats import rendered
from audit.ground.errors import ConfigError, InputError, boundary
from audit.ground.tracking import mlflow_for
from audit.reports.quantities import STATISTICS
from audit.reports.report import Report

FILES = {"report.json": "json", "report.html": "html", "report.md": "md"}
"""The files of a run -> the format of each."""
_LONGEST = 500  # characters of a parameter's value
_REFUSED = re.compile(r"[^\w.\- /]")


@dataclass(frozen=True)
class Logged:
    """What a run of MLflow gets of a report, as plain data.

    Args:
        metrics: key of a limit, in letters that MLflow takes -> number.
        settings: option -> its value as text.
        tags: the verdict, and of what the report is.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def logged(report: Report) -> Logged:
    """Return what a run gets of a report.

    Raises:
        ConfigError: two of its numbers would have one name.
    """
    metrics: dict[str, float] = {}
    left_out = 0
    for key, value in _numbers(report):
        name = metric_name(key)
        if value is None or not math.isfinite(value):
            left_out += 1
        elif name in metrics:
            raise ConfigError(
                f"Two numbers of the report would both be the metric '{name}'",
                "Expected names that differ by letters, digits, '.', '-' or '_'",
                "Give the attacks other labels, -a LABEL=KIND:ARG=VALUE",
            )
        else:
            metrics[name] = value
    settings = {
        metric_name(name): json.dumps(one.value, default=str)[:_LONGEST]
        for name, one in report.config.items()
    }
    return Logged(metrics, settings, {**_tags(report), LEFT_OUT: str(left_out)})


LEFT_OUT = "robaudit.left_out"


def metric_name(key: str) -> str:
    """Return a key in the letters that MLflow takes."""
    return _REFUSED.sub(" ", key.replace("@", " at "))


def _numbers(report: Report) -> Iterator[tuple[str, float | None]]:
    """Yield (key, number) of every statistic that was asked for."""
    for divergence, found in report.divergences.items():
        for quantity, summary in found.summary.items():
            for statistic in STATISTICS:
                value = getattr(summary, statistic)
                yield f"{divergence}.{quantity}.{statistic}", value


def _tags(report: Report) -> dict[str, str]:
    model = ",".join(file.sha256 for file in report.model.files)
    found = {
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "fingerprint": report.fingerprint,
        "version": report.tool.version,
        "model": ", ".join(file.path for file in report.model.files),
        "model_sha256": model,
        "data_sha256": report.data.sha256,
        "inputs": report.data.n_audited,
        "warnings": len(report.warnings),
    }
    return {f"robaudit.{name}": str(value) for name, value in found.items()}


def log(
    report: Report,
    uri: str | None = None,
    experiment: str | None = None,
    run: str | None = None,
) -> str:
    """Log a report to MLflow, and return the id of the run.

    Args:
        report: a scan's.
        uri: of the server or store; None: MLFLOW_TRACKING_URI, or MLflow's own.
        experiment: its name; None: MLFLOW_EXPERIMENT_NAME, or MLflow's own.
        run: the id of a run to add to, such as that of the training; None: a new one.

    Raises:
        ConfigError: mlflow is not installed, or two numbers would have one name.
        InputError: the store refuses, or cannot be reached.
    """
    library = mlflow_for("--mlflow was given")
    found = logged(report)
    files = {name: rendered(kind, report) for name, kind in FILES.items()}
    if uri is not None:
        library.set_tracking_uri(uri)
    where = library.get_tracking_uri()
    with boundary(
        f"The report cannot be logged to '{where}'",
        "Expected a store of MLflow that takes runs, and a run that exists",
        "Check --tracking-uri (or MLFLOW_TRACKING_URI), --experiment and --run-id",
        InputError,
    ):
        return _logged(library, found, files, experiment, run)


def _logged(
    library: Any,  # noqa: ANN401
    found: Logged,
    files: Mapping[str, str],
    experiment: str | None,
    run: str | None,
) -> str:
    if experiment is not None:
        library.set_experiment(experiment)
    with library.start_run(run_id=run) as active:
        library.set_tags(dict(found.tags))
        library.log_metrics(dict(found.metrics))
        library.log_params({f"robaudit.{k}": v for k, v in found.settings.items()})
        for name, text in files.items():
            library.log_text(text, f"robaudit/{name}")
        return str(active.info.run_id)
