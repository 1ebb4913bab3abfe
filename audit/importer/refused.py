"""Operators that are refused on purpose, each with its reason.

A random graph gives another answer at each call and a training graph mixes its rows:
neither is a function of the input that could be differentiated.
"""

from __future__ import annotations

from audit.ground.errors import NotInference, UnsupportedOperator
from audit.importer.program import Node

RANDOM = (
    "it draws random numbers",
    "Expected a deterministic graph",
    "Pass --noise-in-graph SEED: the numbers it draws become an input, drawn by that "
    "seed; or export the noise as a graph input and name it with --noise",
)
CHOSEN = (
    "it draws random numbers",
    "Expected a deterministic graph: which category is drawn is a step in their "
    "scores, through which no derivative passes",
    "Read the scores as the law they are: --family categorical --param logits=NAME",
)
TRAINING = (
    "it belongs to a training step",
    "Expected an inference graph",
    "Export the model in eval mode",
)
BYTES = (
    "it decodes files",
    "Expected numbers as input",
    "Decode the images before, and cut the graph after this node",
)
LAID_OUT = (
    "it is laid out for the processor that the file was optimised on",
    "Expected operators that mean the same everywhere",
    "Give the file as it was before, or save it again with the graph optimisation "
    "level ORT_ENABLE_EXTENDED",
)
ROUNDED = (
    "its accuracy_level=4 lets onnxruntime round what it multiplies to 8 bits",
    "Expected real arithmetic: a backward pass sees nothing of what is rounded",
    "Quantise with accuracy_level=0: weights of few bits alone can be audited; or use "
    "--method finite-difference",
)
REASONS: dict[tuple[str, str], tuple[str, str, str]] = {
    ("", "Bernoulli"): RANDOM,
    ("", "Multinomial"): CHOSEN,
    ("", "RandomNormal"): RANDOM,
    ("", "RandomNormalLike"): RANDOM,
    ("", "RandomUniform"): RANDOM,
    ("", "RandomUniformLike"): RANDOM,
    ("", "ImageDecoder"): BYTES,
    ("ai.onnx.preview.training", "Adagrad"): TRAINING,
    ("ai.onnx.preview.training", "Adam"): TRAINING,
    ("ai.onnx.preview.training", "Gradient"): TRAINING,
    ("ai.onnx.preview.training", "Momentum"): TRAINING,
}


def refusal(node: Node) -> UnsupportedOperator | None:
    """Return the error for an operator that is refused on purpose, or None."""
    reason = REASONS.get((node.domain, node.op))
    if node.domain == "com.microsoft.nchwc":
        reason = LAID_OUT
    if node.op == "MatMulNBits" and node.attributes.get("accuracy_level") == 4:
        reason = ROUNDED
    if reason is None:
        return None
    what, expected, next_step = reason
    runs = reason in (BYTES, LAID_OUT, ROUNDED)
    kind = UnsupportedOperator if runs else NotInference
    return kind(f"{node.label}: {what}", expected, next_step)
