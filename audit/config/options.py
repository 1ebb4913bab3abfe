"""The table of options: one row for each, whatever layer sets it.

An option's name is its key in `robaudit.yaml`, `ROBAUDIT_<NAME>` in the environment
and the keyword of `override`. A new option is a field in `settings` and a row here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from audit.config import readers
from audit.config.readers import Reader
from audit.config.settings import ScanConfig, Threshold


@dataclass(frozen=True)
class Option:
    """How one option is read and what it is for."""

    read: Reader
    meaning: str
    group: str = "scan"
    """`model`: a field of `ModelConfig`; `scan`: of `ScanConfig`."""


def _model(read: Reader, meaning: str) -> Option:
    return Option(read, meaning, "model")


OPTIONS: dict[str, Option] = {
    "model": _model(readers.text, "the model file"),
    "contract": _model(
        readers.choice("parameters", "density", "transport"), "what the file computes"
    ),
    "family": _model(readers.text, "the distribution the outputs parameterise"),
    "parameters": _model(readers.pairs, "parameter -> expression over the outputs"),
    "options": _model(readers.literals, "options of the family, such as levels"),
    "condition": _model(readers.condition, "the perturbed input, NAME or NAME=KEY"),
    "held": _model(readers.pairs, "other inputs -> key in the data, or a value"),
    "target": _model(readers.text, "the input that holds θ"),
    "noise": _model(readers.text, "the input that holds base noise, NAME:LAW"),
    "sampler": _model(readers.text, "a second file that draws θ"),
    "draws": _model(readers.text, "key of ready draws of θ in the data"),
    "input_layout": _model(readers.text, "how one input splits, theta:0:4,x:4:6"),
    "space": _model(readers.choice("input", "parameters"), "what is perturbed"),
    "trust_model": _model(readers.flag, "load files that can run code"),
    "dtype": _model(
        readers.choice("auto", "float32", "float64"), "precision of the network"
    ),
    "device": _model(readers.text, "where the network runs"),
    "data": Option(readers.text, "the inputs, FILE or FILE::KEY"),
    "divergences": Option(readers.texts, "what is measured"),
    "attacks": Option(readers.attacks, "laws of the perturbation"),
    "units": Option(readers.text, "units of a perturbation: input, std or a file"),
    "mask": Option(readers.text, "features that may be perturbed"),
    "top": Option(readers.integer(1), "directions kept for each input"),
    "tau": Option(readers.positive, "the move that radius asks for"),
    "draws_per_input": Option(readers.integer(2), "Monte-Carlo draws"),
    "seed": Option(readers.integer(0), "seed of every random number"),
    "method": Option(readers.choice("auto", "exact", "lanczos"), "eigen-solver"),
    "verify": Option(
        readers.integer(0, auto=True), "inputs whose prediction is checked"
    ),
    "limit": Option(readers.integer(1), "audit the first inputs only"),
    "sample": Option(readers.integer(1), "audit a random subset"),
    "index": Option(readers.integers, "audit these inputs"),
    "batch_size": Option(readers.integer(1, auto=True), "inputs in one chunk"),
    "memory": Option(readers.memory, "bytes one chunk may take"),
    "workers": Option(readers.integer(1), "processes"),
    "max": Option(readers.thresholds("<="), "upper limits, KEY -> limit"),
    "min": Option(readers.thresholds(">="), "lower limits, KEY -> limit"),
    "max_skipped": Option(readers.integer(0), "inputs that may be skipped"),
    "exit_zero": Option(readers.flag, "exit 0 even when a threshold fails"),
}


def store(config: ScanConfig, name: str, value: Any) -> ScanConfig:  # noqa: ANN401
    """Return `config` with the option `name` set to the value its reader gave."""
    if name in ("max", "min"):
        return replace(config, thresholds=_merge(config.thresholds, value))
    if OPTIONS[name].group == "scan":
        return replace(config, **{name: value})
    if name == "condition":
        fields = {"condition": value[0], "condition_key": value[1]}
    else:
        fields = {"path" if name == "model" else name: value}
    return replace(config, model=replace(config.model, **fields))


def _merge(
    below: tuple[Threshold, ...], above: tuple[Threshold, ...]
) -> tuple[Threshold, ...]:
    """Add limits to those of a lower layer; the same key and side is replaced.

    A list given on the command line replaces the file's, but a gate is not undone by
    adding a limit to it.
    """
    merged = {(limit.key, limit.op): limit for limit in (*below, *above)}
    return tuple(merged.values())
