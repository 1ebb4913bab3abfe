"""What each parameter of a law is for: where it lies, how wide it is, its shape.

A law answers for its own parameters (`Family.role`). Most names say it themselves, and
are here; a law whose parameter means something else says so in its class. What has no
role, such as the ends of an interval, which move location and scale at once, has none,
and nothing is said of its part.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Protocol

import torch
from torch import Tensor


class Role(Enum):
    """What a parameter of a law moves, in the order in which parts are substituted."""

    LOCATION = "location"
    SCALE = "scale"
    SHAPE = "shape"
    WEIGHTS = "weights"


ROLES: Mapping[str, Role] = {
    "loc": Role.LOCATION,
    "scale": Role.SCALE,
    "scale_tril": Role.SCALE,
    "covariance_matrix": Role.SCALE,
    "precision_matrix": Role.SCALE,
    "cov_factor": Role.SCALE,
    "cov_diag": Role.SCALE,
    "rate": Role.SCALE,  # of a gamma law: one over its scale
    "df": Role.SHAPE,
    "concentration": Role.SHAPE,
    "concentration0": Role.SHAPE,
    "concentration1": Role.SHAPE,
    "alpha": Role.SHAPE,
    "total_count": Role.SHAPE,
    "cutpoints": Role.SHAPE,
    "probs": Role.WEIGHTS,
    "logits": Role.WEIGHTS,
}
"""Parameter -> its role, where the law does not say another."""


class Named(Protocol):
    """A law with named parameters, as its roles are read."""

    parameters: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return φ [N, p] of parameters [N, *shape]."""

    def role(self, name: str) -> Role | None:
        """Return what a parameter is for."""


def roles_of(law: Named) -> dict[Role, Tensor] | None:
    """Return role -> which entries of φ have it, bool [p], in the order of `Role`.

    `pack` puts every number of a parameter at its place in φ, so a law that is packed
    with the place of each parameter's name in place of its numbers says which is where.

    Returns:
        None where a parameter has no role, or its numbers no places in φ.
    """
    roles = [law.role(name) for name in law.parameters]
    if None in roles:
        return None
    marks = {
        name: torch.full((1, *law.shapes[name]), float(place), dtype=torch.float64)
        for place, name in enumerate(law.parameters)
    }
    places = law.pack(marks)[0]
    found = {}
    for role in Role:
        own = [place for place, one in enumerate(roles) if one is role]
        if own:
            found[role] = torch.isin(places, places.new_tensor(own))
    marked = sum(mask.sum() for mask in found.values())
    return found if marked == len(places) else None
