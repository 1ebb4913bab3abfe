"""What two rules know together, folded once.

A Gemm after a Reshape of an image [C, H, W]: its cotangents become an image again, and
a convolution wants these with the channels last. The weight's columns are put in that
order once, and no cotangent is turned.

A Gemm after a Concat of what moves and what does not, (x, z): only x's columns of the
weight are ever needed.
"""

from __future__ import annotations

from audit.importer.sweep.moved import Folded, Moved
from audit.importer.sweep.path import Path
from audit.importer.sweep.products import Weighted
from audit.importer.sweep.rules import Rule, Site

_IMAGE = 3  # axes of a row: channels, height, width


def looked_through(path: Path, rules: dict[int, Rule]) -> dict[int, Rule]:
    """Return the rules, those of neighbours put together where that is cheaper."""
    found = dict(rules)
    readers: dict[int, list[int]] = {}
    for index in rules:
        for slot in path.plan.steps[index].inputs:
            readers.setdefault(slot, []).append(index)
    for index, movement in rules.items():
        if not isinstance(movement, Moved) or len(path.sites[index].outputs) != 1:
            continue
        (position,) = path.sites[index].outputs
        made = path.plan.steps[index].outputs[position]
        after = readers.get(made, [])
        if len(after) != 1 or made in path.outputs:
            continue
        product = found[after[0]]
        if isinstance(product, Weighted) and len(path.places[made].shape) == 1:
            _put_together(path.sites[index], movement, product, index, after[0], found)
    return found


def _put_together(
    site: Site,
    movement: Moved,
    product: Weighted,
    index: int,
    after: int,
    found: dict[int, Rule],
) -> None:
    """Put a movement and the product that reads it together, where that helps."""
    if len(site.active) != 1:
        return
    ((_, place),) = site.active.items()
    if movement.reshapes:
        if len(place.shape) == _IMAGE and place.plain:
            found[after] = product.of_image(place.shape)
        return
    inverse = movement.inverse
    if inverse is not None:
        found[after] = product.of_columns(inverse)
        found[index] = Folded(movement, place)
