"""The table of options: one row for each, whatever layer sets it.

An option's name is its key in `robaudit.yaml`, `ROBAUDIT_<NAME>` in the environment
and the keyword of `override`. A new option is a field in `settings` and a row here.
"""

from __future__ import annotations

from dataclasses import dataclass

from audit.config import gate_readers, readers
from audit.config.readers import Reader


@dataclass(frozen=True)
class Option:
    """How one option is read, shown on the command line and explained."""

    read: Reader
    meaning: str
    metavar: str = ""
    """What its value looks like; "" for a flag without a value."""
    panel: str = "Model and contract"
    """The heading under which `--help` shows it."""
    flag: str = ""
    """Its names on the command line where they are not `--its-name`."""
    many: bool = False
    """Whether it may be given more than once."""
    file_only: bool = False
    """Whether it is written in a file, where changes are reviewed, and nowhere else."""
    names_file: bool = False
    """Whether its value may name a file, whose bytes count and not its name."""

    only_words: bool = False
    """Whether its value is what something is called, and no number hangs on it."""

    @property
    def changes(self) -> str:
        """What another value changes: a `number`, `limit`, `run` or only `words`."""
        if self.only_words:
            return "words"
        return {RUN: "run", GATE: "limit"}.get(self.panel, "number")


MODEL, MEASURE, ESTIMATOR = "Model and contract", "What is measured", "Estimation"
SUBSET, RUN, GATE = "Which inputs", "Resources", "Gate"
POSITIONAL = ("model", "data")

OPTIONS: dict[str, Option] = {
    "model": Option(
        readers.text,
        "The saved model: .onnx, .pt or .pt2; or models:/NAME/VERSION, runs:/ID/PATH.",
        "MODEL",
        names_file=True,
    ),
    "data": Option(
        readers.text,
        "The inputs, a row each: .npz, .npy, .csv, .json, .parquet, ...; FILE::KEY "
        "takes one array (FILE:: if its name has a ::).",
        "DATA",
        names_file=True,
    ),
    "family": Option(
        readers.text, "Distribution that the outputs parameterise.", "NAME", MODEL
    ),
    "parameters": Option(
        readers.pairs,
        "Parameter of the family from the outputs, e.g. scale=exp(log_std).",
        "NAME=EXPR",
        flag="--param",
        many=True,
    ),
    "options": Option(
        readers.literals,
        "Option of the family, e.g. levels=[0.1,0.5,0.9].",
        "NAME=VALUE",
        flag="--option",
        many=True,
    ),
    "contract": Option(
        readers.choice("parameters", "density", "transport", "samples"),
        "What the file computes: parameters, density, transport or samples.",
        "KIND",
    ),
    "condition": Option(
        readers.condition, "The perturbed input and its key in DATA.", "NAME[=KEY]"
    ),
    "held": Option(
        readers.pairs, "An input that is held fixed.", "NAME=KEY|VALUE", many=True
    ),
    "target": Option(readers.text, "The input that holds θ (density files).", "NAME"),
    "noise": Option(readers.text, "The input that holds base noise.", "NAME:LAW"),
    "noise_in_graph": Option(
        readers.integer(0),
        "Seed for the random operators of an ONNX graph, whose noise becomes an input.",
        "SEED",
    ),
    "sampler": Option(
        readers.text, "A second file that draws θ.", "FILE", names_file=True
    ),
    "draws": Option(readers.text, "Key of ready draws of θ in DATA.", "KEY"),
    "input_layout": Option(
        readers.text, "How one input splits, e.g. theta:0:4,x:4:6.", "LAYOUT"
    ),
    "target_space": Option(
        readers.text,
        "Coordinates of θ, e.g. rt:positive,choice:{-1,1}.",
        "NAME:KIND,...",
    ),
    "unnormalised": Option(
        readers.flag, "log q is known up to a constant that may depend on x."
    ),
    "batch_axis": Option(
        readers.integer(0),
        "Axis of the rows in the outputs: 1 for time-major ones [T, N, K].",
        "AXIS",
    ),
    "members": Option(
        readers.integer(0),
        "Axis of the outputs that counts an ensemble's members, e.g. 1 for [N, M, K].",
        "AXIS",
    ),
    "rows": Option(
        readers.choice("any", "one"),
        "Rows that a call of the file gets: one, where its first axis is its own.",
        "ROWS",
    ),
    "space": Option(
        readers.choice("input", "parameters"),
        "What is perturbed: the input, or the distribution's parameters.",
        "SPACE",
    ),
    "classes": Option(
        readers.names,
        "Names of a classifier's classes in the order of its outputs, or a file of one "
        "a line.",
        "FILE|A,B,...",
        only_words=True,
    ),
    "trust_model": Option(readers.flag, "Load files that can run code."),
    "divergences": Option(
        readers.texts,
        "What is measured, e.g. kl, quantile, renyi:alpha=0.5.",
        "NAME",
        MEASURE,
        "-d/--divergence",
        many=True,
    ),
    "attacks": Option(
        readers.attacks,
        "A law of the perturbation, e.g. gaussian:sigma=0.1.",
        "[LABEL=]KIND:ARG=VALUE",
        MEASURE,
        "-a/--attack",
        many=True,
        names_file=True,
    ),
    "units": Option(
        readers.text,
        "Units of a perturbation: input, std (of each feature, over n - 1), mad "
        "(1.4826 times its median absolute deviation), row (each input's own mean |x|; "
        "row:std, row:max_abs, row:abs) or a file.",
        "UNITS",
        MEASURE,
        names_file=True,
    ),
    "mask": Option(
        readers.text,
        "Features that may move: a file or slice.",
        "MASK",
        MEASURE,
        names_file=True,
    ),
    "top": Option(readers.integer(1), "Directions kept for each input.", "K", MEASURE),
    "tau": Option(
        readers.move, "The move that radius asks for (1 nat).", "TAU", MEASURE
    ),
    "sizes": Option(
        readers.sizes,
        "Norms at which prediction, witness and certificate are compared (auto, off).",
        "E,E,...",
        MEASURE,
        many=True,
    ),
    "norm": Option(
        readers.choice("2", "inf", "1"), "The norm of --sizes (2).", "P", MEASURE
    ),
    "bounds": Option(
        readers.text,
        "Valid range of the inputs, that no witness leaves: lo,hi or a file.",
        "LO,HI",
        MEASURE,
        names_file=True,
    ),
    "target_key": Option(
        readers.text,
        "Key of DATA that holds θ: likelihood and coverage, clean and under attack.",
        "KEY",
        MEASURE,
    ),
    "draws_per_input": Option(
        readers.integer(8), "Monte-Carlo draws where needed.", "M", ESTIMATOR
    ),
    "sampling": Option(
        readers.choice("auto", "random", "antithetic", "sobol"),
        "Base noise: random, antithetic or scrambled Sobol points.",
        "KIND",
        ESTIMATOR,
    ),
    "rel_error": Option(
        readers.positive,
        "Draw until trace and eigenvalue are known to this fraction.",
        "FRACTION",
        ESTIMATOR,
    ),
    "max_draws": Option(
        readers.integer(8), "The most draws for --rel-error (16384).", "M", ESTIMATOR
    ),
    "bottleneck": Option(
        readers.choice("auto", "off"),
        "Run what depends on x alone once per input (auto), or per draw (off).",
        "KIND",
        ESTIMATOR,
    ),
    "seed": Option(readers.integer(0), "Seed of every random number.", "N", ESTIMATOR),
    "dtype": Option(
        readers.choice("auto", "float32", "float64"),
        "Precision of the network: auto, float32 or float64.",
        "DTYPE",
        ESTIMATOR,
    ),
    "method": Option(
        readers.choice(
            "auto",
            "exact",
            "dense",
            "krylov",
            "finite-difference",
            "straight-through",
        ),
        "Derivatives: auto or exact (reverse mode), dense (all of the Jacobian), "
        "krylov (its products alone), finite-difference, or straight-through "
        "(quantised ONNX).",
        "METHOD",
        ESTIMATOR,
    ),
    "verify": Option(
        readers.integer(0, "auto", "all"),
        "Inputs that are checked against exact values (32 worst and 32 random).",
        "N",
        ESTIMATOR,
    ),
    "limit": Option(readers.integer(1), "Audit the first N inputs.", "N", SUBSET),
    "sample": Option(readers.integer(1), "Audit N random inputs.", "N", SUBSET),
    "index": Option(
        readers.integers, "Audit these inputs.", "I,J,...", SUBSET, many=True
    ),
    "device": Option(readers.text, "Where the network runs (cpu).", "DEVICE", RUN),
    "batch_size": Option(
        readers.integer(1, "auto"), "Inputs in one chunk (auto).", "N", RUN
    ),
    "memory": Option(
        readers.memory,
        "Memory for what is computed (half of what is free, at most 1GiB).",
        "BYTES",
        RUN,
    ),
    "plan": Option(
        readers.plan,
        "How it is computed, e.g. rows=autograd,side=features, or a report's way.",
        "KEY=VALUE,...|REPORT",
        RUN,
    ),
    "threads": Option(
        readers.integer(1, "auto"), "Threads of a process (its cores).", "N", RUN
    ),
    "workers": Option(readers.integer(1), "Processes (1).", "N", RUN),
    "engine": Option(readers.text, "What runs the jobs (local).", "NAME", RUN),
    "ray_address": Option(
        readers.text,
        "Cluster of --engine ray: its head, or auto (this machine alone).",
        "HOST:PORT",
        RUN,
    ),
    "gpus_per_worker": Option(
        readers.positive,
        "Accelerators of each worker of --engine ray (1 with --device cuda).",
        "G",
        RUN,
    ),
    "open_timeout": Option(
        readers.positive,
        "Seconds to load the model and pass its gates (300).",
        "SECONDS",
        RUN,
    ),
    "witness": Option(readers.text, "Keep the witnesses here, to replay.", "FILE", RUN),
    "run_dir": Option(
        readers.text, "Keep finished parts here, to resume from.", "FOLDER", RUN
    ),
    "resume": Option(readers.flag, "Go on with the run in --run-dir.", "", RUN),
    "shard": Option(readers.text, "Do part i of n only, into --run-dir.", "I/N", RUN),
    "max": Option(
        gate_readers.thresholds("<="),
        "Fail when a number is above V, e.g. kl.gaussian.p95=0.05.",
        "KEY=V",
        GATE,
        many=True,
    ),
    "min": Option(
        gate_readers.thresholds(">="),
        "Fail when a number is below V, e.g. kl.critical_radius.p05=0.2.",
        "KEY=V",
        GATE,
        many=True,
    ),
    "baseline": Option(
        readers.text, "An older report, for limits on a change.", "REPORT", GATE
    ),
    "max_increase": Option(
        gate_readers.steps,
        "Fail when a number grew by more, e.g. kl.gaussian.p95=5%.",
        "KEY=STEP",
        GATE,
        many=True,
    ),
    "max_decrease": Option(
        gate_readers.steps,
        "Fail when a number shrank by more, e.g. kl.radius.p05=5%.",
        "KEY=STEP",
        GATE,
        many=True,
    ),
    "waivers": Option(
        gate_readers.waivers,
        "Limits that may be broken until a day: [{key, until, reason}].",
        "LIST",
        GATE,
        file_only=True,
    ),
    "max_skipped": Option(
        readers.integer(0),
        "Inputs that may be skipped, or lack a limited number (0).",
        "N",
        GATE,
    ),
    "gate": Option(
        readers.choice("point", "upper"),
        "Judge the value (point) or the far end of its interval (upper).",
        "KIND",
        GATE,
    ),
    "accept_unverified": Option(
        readers.flag,
        "Let limits decide on predictions that were not checked, or found wrong.",
        "",
        GATE,
    ),
    "exit_zero": Option(readers.flag, "Exit 0 even when a limit fails.", "", GATE),
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
