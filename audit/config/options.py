"""The table of options: one row for each, whatever layer sets it.

An option's name is its key in `robaudit.yaml`, `ROBAUDIT_<NAME>` in the environment
and the keyword of `override`. A new option is a field in `settings` and a row here,
or in `questions`: what is asked of which model.
"""

from __future__ import annotations

from dataclasses import replace

from audit.config import gate_readers, lists, readers
from audit.config.option import ESTIMATOR, GATE, RUN, SUBSET, Option
from audit.config.questions import QUESTIONS

POSITIONAL = ("model", "data")
_ESTIMATOR: dict[str, Option] = {
    "draws_per_input": Option(
        readers.integer(8), "Monte-Carlo draws where needed.", "M"
    ),
    "sampling": Option(
        readers.choice("auto", "random", "antithetic", "sobol"),
        "Base noise: random, antithetic or scrambled Sobol points.",
        "KIND",
    ),
    "rel_error": Option(
        readers.positive,
        "Draw until trace and eigenvalue are known to this fraction.",
        "FRACTION",
    ),
    "max_draws": Option(
        readers.integer(8), "The most draws for --rel-error (16384).", "M"
    ),
    "bottleneck": Option(
        readers.choice("auto", "off"),
        "Run what depends on x alone once per input (auto), or per draw (off).",
        "KIND",
    ),
    "seed": Option(readers.integer(0), "Seed of every random number.", "N"),
    "dtype": Option(
        readers.choice("auto", "float32", "float64"),
        "Precision of the network: auto, float32 or float64.",
        "DTYPE",
    ),
    "method": Option(
        readers.choice(
            "auto", "exact", "dense", "krylov", "finite-difference", "straight-through"
        ),
        "Derivatives: auto or exact (reverse mode), dense (all of the Jacobian), "
        "krylov (its products alone), finite-difference, or straight-through "
        "(quantised ONNX).",
        "METHOD",
    ),
    "verify": Option(
        readers.integer(0, "auto", "all"),
        "Inputs that are checked against exact values (32 worst and 32 random; fewer "
        "where a pass of the model is long).",
        "N",
    ),
}
_SUBSET: dict[str, Option] = {
    "limit": Option(readers.integer(1), "Audit the first N inputs.", "N"),
    "sample": Option(readers.integer(1), "Audit N random inputs.", "N"),
    "index": Option(lists.integers, "Audit these inputs.", "I,J,...", many=True),
}
_RUN: dict[str, Option] = {
    "device": Option(readers.text, "Where the network runs (cpu).", "DEVICE"),
    "batch_size": Option(
        readers.integer(1, "auto"), "Inputs in one chunk (auto).", "N"
    ),
    "memory": Option(
        readers.memory,
        "Memory for what is computed (half of what is free, at most 1GiB).",
        "BYTES",
    ),
    "plan": Option(
        lists.plan,
        "How it is computed, e.g. rows=autograd,side=features, or a report's way.",
        "KEY=VALUE,...|REPORT",
    ),
    "threads": Option(
        readers.integer(1, "auto"), "Threads of a process (its cores).", "N"
    ),
    "workers": Option(readers.integer(1), "Processes (1).", "N"),
    "engine": Option(readers.text, "What runs the jobs (local).", "NAME"),
    "ray_address": Option(
        readers.text,
        "Cluster of --engine ray: its head, or auto (this machine alone).",
        "HOST:PORT",
    ),
    "gpus_per_worker": Option(
        readers.positive,
        "Accelerators of each worker of --engine ray (1 with --device cuda).",
        "G",
    ),
    "open_timeout": Option(
        readers.positive,
        "Seconds to load the model and pass its gates (300).",
        "SECONDS",
    ),
    "witness": Option(readers.path, "Keep the witnesses here, to replay.", "FILE"),
    "run_dir": Option(
        readers.path, "Keep finished parts here, to resume from.", "FOLDER"
    ),
    "resume": Option(readers.flag, "Go on with the run in --run-dir.", ""),
    "shard": Option(readers.text, "Do part i of n only, into --run-dir.", "I/N"),
}
_GATE: dict[str, Option] = {
    "max": Option(
        gate_readers.thresholds("<="),
        "Fail when a number is above V, e.g. kl.gaussian.p95=0.05.",
        "KEY=V",
        many=True,
    ),
    "min": Option(
        gate_readers.thresholds(">="),
        "Fail when a number is below V, e.g. kl.critical_radius.p05=0.2.",
        "KEY=V",
        many=True,
    ),
    "baseline": Option(
        readers.path, "An older report, for limits on a change.", "REPORT"
    ),
    "max_increase": Option(
        gate_readers.steps,
        "Fail when a number grew by more, e.g. kl.gaussian.p95=5%.",
        "KEY=STEP",
        many=True,
    ),
    "max_decrease": Option(
        gate_readers.steps,
        "Fail when a number shrank by more, e.g. kl.radius.p05=5%.",
        "KEY=STEP",
        many=True,
    ),
    "waivers": Option(
        gate_readers.waivers,
        "Limits that may be broken until a day: [{key, until, reason}].",
        "LIST",
        file_only=True,
    ),
    "max_skipped": Option(
        readers.integer(0),
        "Inputs that may be skipped, or lack a limited number (0).",
        "N",
    ),
    "gate": Option(
        readers.choice("point", "upper"),
        "Judge the value (point) or the far end of its interval (upper).",
        "KIND",
    ),
    "accept_unverified": Option(
        readers.flag,
        "Let limits decide on predictions that were not checked, or found wrong.",
        "",
    ),
    "exit_zero": Option(readers.flag, "Exit 0 even when a limit fails.", ""),
}
OPTIONS: dict[str, Option] = {
    name: replace(option, panel=panel)
    for panel, options in {
        **QUESTIONS,
        ESTIMATOR: _ESTIMATOR,
        SUBSET: _SUBSET,
        RUN: _RUN,
        GATE: _GATE,
    }.items()
    for name, option in options.items()
}


def command_line_options() -> list[str]:
    """Return the options that have a place on the command line."""
    return [name for name, option in OPTIONS.items() if not option.file_only]


def flag_names(name: str) -> list[str]:
    """Return an option's names on the command line, e.g. ["-a", "--attack"]."""
    if name in POSITIONAL:
        return [name.upper()]
    option = OPTIONS.get(name)
    given = option.flag if option else ""
    return given.split("/") if given else ["--" + name.replace("_", "-")]
