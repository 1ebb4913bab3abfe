"""Nested Clenshaw-Curtis rules of 17 and 9 points, and their products on a plane.

The ends of [-1, 1] are looked at from inside, by 1e-6: a kink that lies on an end is
then seen from the side that is meant. The weights are those that integrate the
interpolating polynomial of these points.

Source: Trefethen, Is Gauss quadrature better than Clenshaw-Curtis? SIAM Review 50
(2008).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial import legendre
from numpy.typing import NDArray
from torch import Tensor

ORDER = 17
INSET = 1e-6


class Rule(NamedTuple):
    """Nodes in [-1, 1] [17], ascending, and the weights of both rules."""

    nodes: Tensor
    fine: Tensor
    coarse: Tensor  # zero at every other node


@cache
def rule() -> Rule:
    """Return the pair of rules: polynomials of degree 16 and 8 are exact."""
    nodes = -np.cos(np.arange(ORDER) * np.pi / (ORDER - 1)) * (1 - INSET)
    coarse = np.zeros(ORDER)
    coarse[::2] = _interpolatory(nodes[::2])
    parts = (nodes, _interpolatory(nodes), coarse)
    return Rule(*(torch.from_numpy(part) for part in parts))


def _interpolatory(nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights that integrate the Legendre polynomials."""
    basis = legendre.legvander(nodes, len(nodes) - 1)
    return np.linalg.solve(basis.T, 2.0 * (np.arange(len(nodes)) == 0))


@cache
def weights(axes: int) -> tuple[Tensor, ...]:
    """Return the fine rule, then the coarse one on one axis at a time, [k] each."""
    _, fine, coarse = rule()
    if axes == 1:
        return fine, coarse
    return tuple(
        torch.outer(a, b).flatten()
        for a, b in ((fine, fine), (coarse, fine), (fine, coarse))
    )
