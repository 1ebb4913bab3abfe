"""What two rules know together, folded once.

A Gemm after a Reshape of an image [C, H, W]: its cotangents become an image again, and
a convolution wants these with the channels last. The weight's columns are put in that
order once, and no cotangent is turned.
"""

from __future__ import annotations

from audit.importer.sweep.moved import Moved
from audit.importer.sweep.path import Path
from audit.importer.sweep.products import Weighted
from audit.importer.sweep.rules import Rule

_IMAGE = 3  # axes of a row: channels, height, width


def looked_through(path: Path, rules: dict[int, Rule]) -> dict[int, Rule]:
    """Return the rules, those of neighbours put together where that is cheaper."""
    found = dict(rules)
    readers: dict[int, list[int]] = {}
    for index in rules:
        for slot in path.plan.steps[index].inputs:
            readers.setdefault(slot, []).append(index)
    for index, reshape in rules.items():
        if not isinstance(reshape, Moved) or not reshape.reshapes:
            continue
        step, site = path.plan.steps[index], path.sites[index]
        ((_, place),) = site.active.items()
        (made,) = (step.outputs[position] for position in site.outputs)
        after = readers.get(made, [])
        alone = len(after) == 1 and made not in path.outputs
        image = len(place.shape) == _IMAGE and place.axis == 0
        if not (alone and image and len(path.places[made].shape) == 1):
            continue
        product = found[after[0]]
        if isinstance(product, Weighted):
            found[after[0]] = product.of_image(place.shape)
    return found
