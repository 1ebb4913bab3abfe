"""The table of options: one row for each, whatever layer sets it.

An option's name is its key in `robaudit.yaml`, `ROBAUDIT_<NAME>` in the environment
and the keyword of `override`. A new option is a field in `settings`, a reader here and
a row of `tables/options.txt`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from audit.config import gate_readers, readers
from audit.config.readers import Reader
from audit.config.settings import ModelConfig, ScanConfig, Threshold
from audit.ground.tables import table


@dataclass(frozen=True)
class Option:
    """How one option is read, shown on the command line and explained."""

    read: Reader
    meaning: str
    metavar: str
    """What its value looks like; "" for a flag without a value."""
    panel: str
    """The heading under which `--help` shows it."""
    flag: str = ""
    """Its names on the command line where they are not `--its-name`."""
    many: bool = False
    """Whether it may be given more than once."""
    file_only: bool = False
    """Whether it is written in a file, where changes are reviewed, and nowhere else."""
    names_file: bool = False
    """Whether its value may name a file, whose bytes count and not its name."""

    @property
    def changes(self) -> str:
        """What another value changes: a `number`, what a `limit` says, or the `run`."""
        return {RUN: "run", GATE: "limit"}.get(self.panel, "number")


MODEL, SUBSET = "Model and contract", "Which inputs"
RUN, GATE = "Resources", "Gate"
POSITIONAL = ("model", "data")

_READERS: dict[str, Reader] = {
    "model": readers.text,
    "data": readers.text,
    "family": readers.text,
    "parameters": readers.pairs,
    "options": readers.literals,
    "contract": readers.choice("parameters", "density", "transport", "samples"),
    "condition": readers.condition,
    "held": readers.pairs,
    "target": readers.text,
    "noise": readers.text,
    "noise_in_graph": readers.integer(0),
    "sampler": readers.text,
    "draws": readers.text,
    "input_layout": readers.text,
    "target_space": readers.text,
    "unnormalised": readers.flag,
    "batch_axis": readers.integer(0),
    "members": readers.integer(0),
    "rows": readers.choice("any", "one"),
    "space": readers.choice("input", "parameters"),
    "trust_model": readers.flag,
    "divergences": readers.texts,
    "attacks": readers.attacks,
    "units": readers.text,
    "mask": readers.text,
    "top": readers.integer(1),
    "tau": readers.positive,
    "sizes": readers.sizes,
    "norm": readers.choice("2", "inf", "1"),
    "bounds": readers.text,
    "target_key": readers.text,
    "draws_per_input": readers.integer(8),
    "sampling": readers.choice("auto", "random", "antithetic", "sobol"),
    "rel_error": readers.positive,
    "max_draws": readers.integer(8),
    "bottleneck": readers.choice("auto", "off"),
    "seed": readers.integer(0),
    "dtype": readers.choice("auto", "float32", "float64"),
    "method": readers.choice(
        "auto", "exact", "dense", "krylov", "finite-difference", "straight-through"
    ),
    "verify": readers.integer(0, "auto", "all"),
    "limit": readers.integer(1),
    "sample": readers.integer(1),
    "index": readers.integers,
    "device": readers.text,
    "batch_size": readers.integer(1, "auto"),
    "memory": readers.memory,
    "threads": readers.integer(1, "auto"),
    "workers": readers.integer(1),
    "engine": readers.text,
    "ray_address": readers.text,
    "gpus_per_worker": readers.positive,
    "open_timeout": readers.positive,
    "witness": readers.text,
    "run_dir": readers.text,
    "resume": readers.flag,
    "shard": readers.text,
    "max": gate_readers.thresholds("<="),
    "min": gate_readers.thresholds(">="),
    "baseline": readers.text,
    "max_increase": gate_readers.steps,
    "max_decrease": gate_readers.steps,
    "waivers": gate_readers.waivers,
    "max_skipped": readers.integer(0),
    "gate": readers.choice("point", "upper"),
    "accept_unverified": readers.flag,
    "exit_zero": readers.flag,
}
"""Option -> what reads it; `tables/options.txt` says the rest, in its order."""


def _option(read: Reader, row: tuple[str, ...]) -> Option:
    """Return the option of a row: looks, heading, names, marks and meaning."""
    metavar, panel, flag, marks, meaning = row
    many, file_only, names_file = (
        mark in marks.split(", ") for mark in ("many", "file only", "names file")
    )
    return Option(read, meaning, metavar, panel, flag, many, file_only, names_file)


OPTIONS = {
    name: _option(_READERS[name], tuple(row))
    for name, *row in table(__file__, "options")
}
_MODEL_FIELDS = frozenset(field.name for field in fields(ModelConfig))


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


def store(config: ScanConfig, name: str, value: Any) -> ScanConfig:  # noqa: ANN401
    """Return `config` with the option `name` set to the value its reader gave."""
    if name in ("max", "min"):
        return replace(config, thresholds=_merge(config.thresholds, value))
    if name == "condition":
        changes = {"condition": value[0], "condition_key": value[1]}
    else:
        changes = {"path" if name == "model" else name: value}
    if set(changes) <= _MODEL_FIELDS:
        return replace(config, model=replace(config.model, **changes))
    return replace(config, **changes)


def _merge(
    below: tuple[Threshold, ...], above: tuple[Threshold, ...]
) -> tuple[Threshold, ...]:
    """Add limits to those of a lower layer; the same key and side is replaced.

    A list given on the command line replaces the file's, but a gate is not undone by
    adding a limit to it.
    """
    merged = {(limit.key, limit.op): limit for limit in (*below, *above)}
    return tuple(merged.values())
