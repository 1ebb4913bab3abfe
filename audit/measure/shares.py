"""What the top direction moves: location or scale, which coordinate of θ, which data.

A step along v moves φ by dφ = J v, and costs ‖B dφ‖² = vᵀ G v. With P_g the entries
of φ of one role (location, scale, shape, weights) the step is a sum of parts, and so is
its image: B dφ = Σ b_g with b_g = B P_g dφ. Where the blocks of BᵀB between roles are
zero (location and scale of a normal law) the b_g are orthogonal, and

    share_g = ‖b_g‖² / ‖Σ b_g‖²                              exact, they add up to one

Elsewhere the parts are substituted one after the other, location, scale, shape and
weights, and a share is what its substitution adds to the cost of those before it:

    share_g = (‖b_1 + … + b_g‖² − ‖b_1 + … + b_{g−1}‖²) / ‖Σ b_g‖²

which adds up to one as well, is the same number where the b_g are orthogonal, and may
be negative where a part undoes another. `role_overlap` = Σ_{g≠h} b_gᵀ b_h / ‖Σ b_g‖²
says which it is: zero where the shares are exact. For a normal law with a step of unit
norm that moves μ by μ' and log σ by ρ', the shares are as μ'²/σ² to 2 ρ'².

Coordinates of θ that are independent have no blocks between them, so coordinate i has
the share (P_i dφ)ᵀ BᵀB dφ / ‖B dφ‖². Where B is sampled such blocks are noise about
zero, and a share that they push below zero is zero.

The share of v in the principal space of the data, ‖Q v‖² with Q the projection on the
leading principal components, is 1 for a direction along which the data vary themselves,
and (dimension of the space) / m on average for a random one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from audit.families.roles import roles_of
from audit.geometry.comparison import ISOTROPIC
from audit.linalg.averaged import Sampled
from audit.linalg.operators import Product
from audit.measure.columns import (
    INFINITE,
    NO_DIRECTION,
    NOT_RESOLVED,
    OPEN,
    Found,
    values_of,
)
from audit.measure.point import Point
from audit.measure.questions import Questions
from audit.reports.values import Values

MOST_COORDINATES = 64
DECIMALS = 9  # of a share of the principal space, whose last digits depend on threads


def role_shares(found: Found, point: Point) -> dict[str, Values]:
    """Return the share of each role in the top direction's cost [n], and overlaps.

    Nothing where the law has fewer than two roles, or its root is not stored.
    """
    root = found.form.root
    roles = roles_of(point.family) if point.family.parametric else None
    if roles is None or len(roles) < 2 or not isinstance(root, Product):
        return {}
    step = found.step
    masks = torch.stack([*roles.values()], dim=1).to(step)  # [p, g]
    parts = root.outer.matmat(step * masks)  # b_g [n, r, g]
    so_far = parts.cumsum(dim=2).square().sum(dim=1)
    whole = so_far[:, -1:]
    before = torch.nn.functional.pad(so_far[:, :-1], (1, 0))
    shares = (so_far - before) / whole
    between = 1 - torch.eye(len(roles)).to(parts)
    overlap = (parts.mT @ parts * between).sum(dim=(1, 2)) / whole[:, 0]
    columns = {f"{role.value}_share": shares[:, g] for g, role in enumerate(roles)} | {
        "role_overlap": overlap
    }
    return _along(found, columns)


def coordinate_shares(found: Found, point: Point) -> Tensor | None:
    """Return the share of each coordinate of θ in the top direction's cost [n, C].

    Returns:
        NaN where no single direction is the worst. None where there is one coordinate,
        more than `MOST_COORDINATES`, or they are not independent.
    """
    root = found.form.root
    if not (point.family.parametric and isinstance(root, Product)):
        return None
    places = point.family.coordinate_of_each()
    count = 0 if places is None else int(places.max()) + 1
    if places is None or not 2 <= count <= MOST_COORDINATES:
        return None
    step = found.step
    image = root.outer.rmatmat(root.outer.matmat(step))
    cost = (step * image).squeeze(2)  # of each entry of φ [n, p]
    own = cost.new_zeros(len(cost), count)
    own.index_add_(1, places.to(cost.device), cost)
    if isinstance(root.outer, Sampled):
        own = own.clamp_min(0.0)
    shares = own / own.sum(dim=1, keepdim=True)
    return torch.where(_unique(found).unsqueeze(1), shares, torch.nan)


def manifold_share(
    questions: Questions, direction: Tensor, found: Found | None = None
) -> dict[str, Values]:
    """Return the share of the top direction in the data's principal space [n].

    Args:
        questions: with the space, if there is one.
        direction: v [n, m], unit; zero where none is the worst.
        found: the form; None: of a linear law, whose directions are as they are.
    """
    space = questions.principal
    if space is None:
        return {}
    if space.basis is None:
        return {"principal_share": Values.unmeasured(len(direction), space.reason)}
    inside = (direction @ space.basis.to(direction)).square().sum(dim=1)
    inside = inside.clamp(0.0, 1.0).round(decimals=DECIMALS)
    if found is not None:
        return _along(found, {"principal_share": inside})
    still = direction.abs().sum(dim=1) == 0
    inside = inside.masked_fill(still, torch.nan)
    return {"principal_share": values_of(inside, None, {NO_DIRECTION: still})}


def _along(found: Found, columns: Mapping[str, Tensor]) -> dict[str, Values]:
    """Return what is said of the top direction, where there is a single one [n]."""
    spectrum, unique = found.spectrum, _unique(found)
    reasons = {
        NO_DIRECTION: spectrum.at_rest,
        INFINITE: spectrum.infinite,
        NOT_RESOLVED: spectrum.unknown,
        OPEN: torch.ones_like(spectrum.at_rest),
    }
    return {
        name: values_of(torch.where(unique, values, torch.nan), None, reasons)
        for name, values in columns.items()
    }


def _unique(found: Found) -> Tensor:
    """Return where a single direction is the worst [n]."""
    return found.spectrum.gap > ISOTROPIC
