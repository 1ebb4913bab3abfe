"""The options that say which model is audited, and what is measured of it."""

from __future__ import annotations

from audit.config import lists, readers
from audit.config.option import MEASURE, MODEL, Option

_MODEL: dict[str, Option] = {
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
        readers.text, "Distribution that the outputs parameterise.", "NAME"
    ),
    "parameters": Option(
        lists.pairs,
        "Parameter of the family from the outputs, e.g. scale=exp(log_std).",
        "NAME=EXPR",
        flag="--param",
        many=True,
    ),
    "options": Option(
        lists.literals,
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
        lists.condition, "The perturbed input and its key in DATA.", "NAME[=KEY]"
    ),
    "held": Option(
        lists.pairs, "An input that is held fixed.", "NAME=KEY|VALUE", many=True
    ),
    "target": Option(readers.text, "The input that holds θ (density files).", "NAME"),
    "noise": Option(readers.text, "The input that holds base noise.", "NAME:LAW"),
    "noise_in_graph": Option(
        readers.integer(0),
        "Seed for the random operators of an ONNX graph, whose noise becomes an input.",
        "SEED",
    ),
    "sampler": Option(
        readers.path, "A second file that draws θ.", "FILE", names_file=True
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
        lists.names,
        "Names of a classifier's classes in the order of its outputs, or a file of one "
        "a line.",
        "FILE|A,B,...",
        only_words=True,
    ),
    "trust_model": Option(readers.flag, "Load files that can run code."),
}
_MEASURE: dict[str, Option] = {
    "divergences": Option(
        lists.texts,
        "What is measured, e.g. kl, quantile, renyi:alpha=0.5.",
        "NAME",
        "-d/--divergence",
        many=True,
    ),
    "attacks": Option(
        lists.attacks,
        "A law of the perturbation, e.g. gaussian:sigma=0.1.",
        "[LABEL=]KIND:ARG=VALUE",
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
        names_file=True,
    ),
    "mask": Option(
        readers.text,
        "Features that may move: a file or slice.",
        "MASK",
        names_file=True,
    ),
    "top": Option(readers.integer(1), "Directions kept for each input.", "K"),
    "tau": Option(readers.move, "The move that radius asks for (1 nat).", "TAU"),
    "sizes": Option(
        readers.sizes,
        "Norms at which prediction, witness and certificate are compared (auto, off).",
        "E,E,...",
        many=True,
    ),
    "norm": Option(readers.choice("2", "inf", "1"), "The norm of --sizes (2).", "P"),
    "bounds": Option(
        readers.text,
        "Valid range of the inputs, that no witness leaves: lo,hi or a file.",
        "LO,HI",
        names_file=True,
    ),
    "target_key": Option(
        readers.text,
        "Key of DATA that holds θ: likelihood and coverage, clean and under attack.",
        "KEY",
    ),
}
QUESTIONS = {MODEL: _MODEL, MEASURE: _MEASURE}
"""Heading -> its options."""
