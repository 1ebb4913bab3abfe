"""The transport root in use, against E[(∂T/∂φ · w)²] by the law's own quantiles.

T(u) is torch's inverse distribution function. Its derivative along w is a central
difference in φ, and the expectation over u in (0, 1) a midpoint sum in t with u = 3 t²
− 2 t³, whose points crowd quadratically at both ends, where quantiles are steep. It is
taken on two grids; where these part by more than a hundredth the tails are too heavy
for a sum, and nothing is said.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from audit.families.interface import Family
from audit.families.tensors import Tensors
from audit.ground.errors import NoTransport
from audit.nodes.noise import Noise
from audit.verify.selftest.finding import Finding, failed, inapplicable, passed
from audit.verify.selftest.subject import Subject, with_unit_image

NAME = "transport_against_quantiles"
_GRIDS = (4096, 16384)
_RESOLVED, _ALLOWED = 1e-2, 1e-2
_STEP = 1e-4  # of a parameter's own size
_STREAM, _DIRECTIONS = 17, 3


def transport_against_quantiles(it: Subject) -> Finding:
    """Compare the transport tensor with derivatives of the quantile function."""
    model = it.in_double[0]
    family = model.density.family
    asked = any(d.is_transport for d in it.questions.divergences)
    if not (asked and family.parametric and len(it.inputs)):
        return inapplicable(NAME, "no closed form of a transport tensor is in use")
    phi = it.point(model).phi
    if family.linear_root(phi) is not None:
        return inapplicable(NAME, "a discrete law has a linear law instead of a form")
    try:
        root = family.root(Tensors.TRANSPORT, phi, it.noise()).dense()
        law = _with_quantiles(family, phi)
    except NoTransport as error:
        return inapplicable(NAME, error.given)
    if law is None:
        return inapplicable(NAME, f"torch knows no quantiles of {family.name}")
    w, usable = _directions(root, phi, it.noise())
    coarse, fine = (_moment(family, phi, w, count) for count in _GRIDS)
    parted = (fine / coarse - 1).abs()
    judged = usable & torch.isfinite(fine) & (parted <= _RESOLVED)
    if not bool(judged.any()):
        return inapplicable(NAME, "the tails are too heavy for a sum over quantiles")
    off = (fine - 1).abs()[judged]
    allowed = (_ALLOWED + 20 * parted)[judged]
    worst = int((off / allowed).argmax())
    ratio = float(fine[judged][worst])
    if float(off[worst]) <= float(allowed[worst]):
        said = f"the transport tensor is that of the quantiles of {family.name}"
        return passed(NAME, said, ratio=ratio)
    return failed(
        NAME,
        f"the transport tensor of {family.name} is not that of its quantiles: they "
        f"move {ratio:.4g} times as far, squared",
        "the family's formula is wrong: report it (a family of your own: run "
        "audit.testing.check_law)",
        ratio=ratio,
    )


def _with_quantiles(family: Family, phi: Tensor) -> Distribution | None:
    """Return the law of one number whose inverse distribution function is known."""
    law = family.distribution(phi)
    base = law.base_dist if isinstance(law, Independent) else law
    try:
        half = torch.full((1, len(phi), *law.event_shape), 0.5).to(phi)
        moved = base.icdf(half)
    except NotImplementedError:
        return None
    return base if moved.shape == half.shape else None


def _directions(root: Tensor, phi: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Return random w [n, K, p] with |B w| = 1, and where there is such a w [n, K]."""
    w = noise.normals((_DIRECTIONS, phi.shape[1]), _STREAM).to(phi)
    sizes = torch.where(phi == 0, 1.0, phi.abs())
    return with_unit_image(root, w * sizes.unsqueeze(1))


def _moment(family: Family, phi: Tensor, w: Tensor, count: int) -> Tensor:
    """Return E Σ (∂T/∂φ · w)² [n, K] over the coordinates of θ."""
    t = (torch.arange(count, dtype=phi.dtype, device=phi.device) + 0.5) / count
    u, weight = t * t * (3 - 2 * t), 6 * t * (1 - t) / count
    sizes = torch.where(phi == 0, 1.0, phi.abs()).unsqueeze(1)
    step = _STEP / (w / sizes).abs().amax(dim=2, keepdim=True)  # [n, K, 1]
    columns = []
    for k in range(w.shape[1]):
        h = step[:, k]
        above, below = (
            _quantiles(family, phi + sign * h * w[:, k], u) for sign in (1.0, -1.0)
        )
        slopes = ((above - below) / (2 * h.squeeze(-1)).reshape(-1, 1)).square()
        columns.append(weight @ slopes.sum(dim=-1))
    return torch.stack(columns, dim=1)


def _quantiles(family: Family, phi: Tensor, u: Tensor) -> Tensor:
    """Return T(u) [S, n, coordinates] at levels u [S]."""
    law = family.distribution(phi)
    base = law.base_dist if isinstance(law, Independent) else law
    levels = u.reshape(-1, *[1] * (1 + len(law.event_shape)))
    levels = levels.expand(len(u), len(phi), *law.event_shape)
    return base.icdf(levels).reshape(len(u), len(phi), -1)
