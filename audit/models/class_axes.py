"""Which axis holds the classes, where the outputs do not say.

Logits [T, K] of one input are T laws on K classes: the last axis is a law's own, as in
`torch.distributions`. Losses of deep learning put classes first instead ([K, H, W] of a
segmentation network). Both readings give numbers, and only one is right, so a bare
output with two axes before the last is refused, and with one it is said how it was
read. An expression that gives the axes (`reshape`, `transpose`) is believed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from audit.families.interface import Family
from audit.ground.errors import ConfigError
from audit.models.contract import Head
from audit.models.expressions import Expression
from audit.models.metadata import Notes


def refuse_images(head: Head, family: Family) -> None:
    """Refuse bare outputs [A, B, C] as vectors of numbers at places.

    Raises:
        ConfigError: with the expression for either reading.
    """
    for name, shape in at_places(head.parameters, family):
        if len(family.places) < 2:
            continue
        text = str(head.parameters[name])
        first, last = readings(text, shape)
        raise ConfigError(
            f"The {name} of one input have the shape {list(shape)}",
            f"Expected to know which axis holds the {shape[0]} or {shape[-1]} numbers "
            f"of one law: nothing says it of '{text}'",
            f'Pass --param "{name}={first}" if it is the first (as in a segmentation '
            f'network), --param "{name}={last}" if it is the last',
        )


def readings(text: str, shape: tuple[int, ...]) -> tuple[str, str]:
    """Return expressions that read the first axis, and the last, as a law's own."""
    rows, places = math.prod(shape[:-1]), math.prod(shape[1:])
    first = f"transpose(reshape({text}, {shape[0]}, {places}))"
    return first, f"reshape({text}, {rows}, {shape[-1]})"


def reading_notes(head: Head, family: Family) -> Notes:
    """Return how bare outputs [T, K] were read, for the reader of a report."""
    return tuple(
        (
            "places",
            f"{name} {list(shape)} of one input were read as {shape[0]} laws of "
            f"{shape[1]} numbers each; if the first axis holds those of one law, pass "
            f'--param "{name}=transpose({head.parameters[name]})"',
        )
        for name, shape in at_places(head.parameters, family)
    )


def at_places(
    parameters: Mapping[str, Expression], family: Family
) -> list[tuple[str, tuple[int, ...]]]:
    """Return the vectors at places that are read as the file gives them."""
    return [
        (name, shape)
        for name, shape in family.shapes.items()
        if family.places
        and len(shape) == len(family.places) + 1
        and parameters[name].output(sliced=True) is not None
    ]
