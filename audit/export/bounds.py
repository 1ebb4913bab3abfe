"""A prior with bounds, and what of a trained density lies outside them.

sbi trains q(θ|x) without its prior's bounds, and its posterior is the part inside:

    p(θ|x) = q(θ|x) 1[θ in B] / Z(x),   Z(x) = ∫_B q(θ|x) dθ

(Greenberg, Nonnenmacher & Macke 2019, "leakage"). −log Z(x) depends on x and so enters
the Fisher information: with the score s = ∇ₓ log q the posterior's is the covariance of
s under p, where the mean of s is ∇ₓ log Z and not zero. A file holds q as it was
trained, or, asked for it, q with B as θ's range: normalised on a grid over B by the
scan (`--unnormalised`), which is the posterior.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.export.densities import Density, Foreign
from audit.export.mixtures import Components
from audit.ground.errors import ConfigError

DRAWS = 256  # for each condition that is compared
SEEN = 8  # conditions
_SMALL = 2  # coordinates that a scan integrates over on a grid


@dataclass(frozen=True)
class Inside:
    """The share of q's mass inside the prior's bounds, over some conditions."""

    least: float
    most: float


def inside(prior: Foreign, module: Density | Components, x: Tensor) -> Inside | None:
    """Return what lies inside a prior's bounds; None where nothing tells them.

    Args:
        prior: a distribution whose support can be asked.
        module: the density, which draws.
        x: conditions [N, ...].
    """
    support = getattr(prior, "support", None)
    if support is None:
        return None
    seen = x[:SEEN].repeat_interleave(DRAWS, dim=0)
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        theta = _drawn(module, seen)
    held = support.check(theta)
    shares = held.reshape(len(held), -1).all(1).reshape(-1, DRAWS).float().mean(1)
    return Inside(float(shares.min()), float(shares.max()))


def _drawn(module: Density | Components, x: Tensor) -> Tensor:
    """Return one θ for each x."""
    if isinstance(module, Density):
        return module.draw(x)
    return module.law_of(module(x)).sample()


def box_of(prior: Foreign) -> list[tuple[float, float]]:
    """Return the ends of each coordinate of θ.

    Raises:
        ConfigError: the prior is no box.
    """
    support: Foreign = getattr(prior, "support", None)
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    ends = [getattr(support, name, None) for name in ("lower_bound", "upper_bound")]
    if any(end is None for end in ends):
        raise ConfigError(
            f"truncated=True was given, and the prior is {_named(prior)}",
            "Expected a DirectPosterior whose prior is a box (BoxUniform)",
            "Leave it out, and scan the density as it was trained",
        )
    low, high = (torch.as_tensor(end, dtype=torch.float64) for end in ends)
    pairs = torch.stack([low + 0 * high, high + 0 * low], dim=-1).reshape(-1, 2)
    return [(float(a), float(b)) for a, b in pairs]


def _named(prior: Foreign) -> str:
    return "not there" if prior is None else f"a {type(prior).__name__} without bounds"


def space_of(prior: Foreign, size: int) -> str:
    """Return the prior's box as a `target_space`, "a0:interval(-1,1),a1:…".

    Raises:
        ConfigError: the prior is no box of this many coordinates.
    """
    box = box_of(prior)
    if len(box) == 1:
        box *= size
    if len(box) != size:
        raise ConfigError(
            f"The prior has {len(box)} coordinates, and the density {size}",
            "Expected a prior of the same θ",
            "Pass the posterior that sbi built",
        )
    names = (f"theta{k}:interval({a!r},{b!r})" for k, (a, b) in enumerate(box))
    return ",".join(names)


def warn_of_leakage(
    prior: Foreign, module: Density | Components, x: Tensor, name: str
) -> None:
    """Say where some of the mass lies outside the prior's bounds."""
    found = None if prior is None else inside(prior, module, x)
    if found is None or found.least == 1:
        return
    way = (
        "export with truncated=True and scan with --unnormalised"
        if isinstance(module, Density) and module.size <= _SMALL
        else "train with θ unbounded (z_score_theta='transform_to_unconstrained')"
    )
    warnings.warn(
        f"'{name}' holds the density that was trained, of which "
        f"{100 * found.least:.0f} % to {100 * found.most:.0f} % lie inside the prior's "
        "bounds at the conditions tried. "
        "sbi's posterior.log_prob adds −log of that share, which depends on x and so "
        f"changes the Fisher information; to audit it, {way}",
        stacklevel=4,
    )
