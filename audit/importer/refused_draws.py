"""Why a draw of a graph cannot come from an input."""

from __future__ import annotations

from onnx import NodeProto

from audit.ground.errors import NotInference

Axes = tuple[int | str | None, ...]


def label(node: NodeProto) -> str:
    """Return how messages name a node."""
    return f"{node.op_type} (node '{node.name or node.output[0]}')"


def mode(node: NodeProto) -> NotInference:
    """Return the refusal of a Dropout that draws or not as a value says."""
    return NotInference(
        f"{label(node)}: whether it drops is computed, from '{node.input[2]}'",
        "Expected a training mode that is a constant of the graph",
        "Export the model with its mode fixed: model.train() for masks that "
        "are drawn, model.eval() for none",
    )


def share(node: NodeProto, ratio: float) -> NotInference:
    """Return the refusal of a ratio that is no share below one."""
    return NotInference(
        f"{label(node)}: it drops a share of {ratio:g}",
        "Expected a ratio of at least 0 and below 1",
        "Export the model with another ratio",
    )


def shape(node: NodeProto, axes: Axes | None) -> NotInference:
    """Return the refusal of a shape with more open axes than the first."""
    shown = "of unknown rank" if axes is None else _shown(axes)
    return NotInference(
        f"{label(node)}: it draws a tensor {shown}",
        "Expected a shape whose first axis alone, the rows, may be open: base "
        "noise as an input has so many numbers for each row",
        "Export the model with fixed sizes beside the batch, and with constant "
        "folding; or give the noise as an input of the model and name it with "
        "--noise",
    )


def step(node: NodeProto, name: str) -> NotInference:
    """Return the refusal of a threshold that depends on an input."""
    is_coin = node.op_type == "Bernoulli"
    what = "probability" if is_coin else "ratio"
    return NotInference(
        f"{label(node)}: its {what} '{name}' depends on an input of the graph",
        f"Expected a {what} that is a constant: a draw is a step in it, through which "
        "no derivative passes, and the local form would miss what it does",
        "Where it is what the model says, read it: --family bernoulli --param "
        f"probs='@{name}'"
        if is_coin
        else "Export the model with a ratio that is a number",
    )


def compared(node: NodeProto) -> NotInference:
    """Return the refusal of a step that is written with a comparison."""
    return NotInference(
        f"{label(node)}: it compares noise with what depends on an input, and "
        "becomes the number 0 or 1",
        "Expected draws that move with the condition: this one is a step in "
        "it, through which no derivative passes",
        "Where it is a Bernoulli draw, read its probability: --family bernoulli "
        "--param probs='@NAME'",
    )


def in_body(node: NodeProto) -> NotInference:
    """Return the refusal of a draw in the body of an If, Loop or Scan."""
    return NotInference(
        f"{label(node)}: it draws inside the body of an If, Loop or Scan",
        "Expected random operators in the graph itself: how often a body "
        "runs decides how much noise there is",
        "Draw the noise before the loop, or give it as an input of the "
        "model and name it with --noise",
    )


def _shown(axes: Axes) -> str:
    return "[" + ", ".join(str(axis or "?") for axis in axes) + "]"
