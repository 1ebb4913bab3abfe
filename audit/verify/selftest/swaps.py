"""A location and a scale whose outputs were exchanged.

A file with two outputs of one shape computes a law all the same where each is read as
the other. If `scale` is g(a) of an output a, and `loc` the output b itself, what was
meant is known:

    loc = a = g⁻¹(scale),     scale = g(b) = g(loc),     g = exp, softplus or none
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import softplus

from audit.families.interface import Family
from audit.verify.selftest.pairs import Rows

Link = Callable[[Tensor], Tensor]


def _before_softplus(scale: Tensor) -> Tensor:
    return scale + torch.log(-torch.expm1(-scale))


def _itself(values: Tensor) -> Tensor:
    return values


LINKS: tuple[tuple[Link, Link], ...] = (
    (torch.exp, torch.log),
    (softplus, _before_softplus),
    (_itself, _itself),
)
"""g and its inverse."""
WHAT = "it is computed from the output of '{}', and the reverse"
TODO = "exchange the outputs: --param {0}=… and --param {1}=… name them"


def swaps_of(family: Family) -> Iterator[tuple[str, str]]:
    """Yield the names of a location and of its scale."""
    for name in family.parameters:
        owner, dot, last = name.rpartition(".")
        scale = f"{owner}{dot}scale"
        if last == "loc" and scale in family.parameters:
            yield name, scale


def exchanged(rows: Rows, loc: str, scale: str) -> Iterator[Tensor]:
    """Yield φ with both exchanged, for each link that they may have."""
    values = rows.family.unpack(rows.phi)
    if values[loc].shape != values[scale].shape:
        return
    for link, inverse in LINKS:
        meant = {loc: inverse(values[scale]), scale: link(values[loc])}
        phi = rows.family.pack(values | meant)
        if bool(torch.isfinite(phi).all()):
            yield phi
