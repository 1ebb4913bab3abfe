"""The table of divergences: a constant c, a metric tensor, an exact value.

Every f-divergence has the Fisher information as its metric tensor, with c = f''(1)/2;
Rényi's has α/2. The quantile distance and W₂² have a transport tensor and c = 1.

    kl                c = 1/2    f = −log t, with t = q'/q
    reverse_kl        c = 1/2    f = t log t
    renyi:alpha=a     c = a/2    log ∫ p^a q^(1−a) / (a − 1)
    hellinger         c = 1/8    1 − ∫√(pq)
    jensen_shannon    c = 1/8    half of each KL to the mean of both, in nats
    chi_squared       c = 1      ∫ (p − q)²/q
    quantile          c = 1      E‖T_φ(z) − T_φ'(z)‖² for the family's map T
    wasserstein       c = 1      W₂²

The exact values of the last columns follow from Rényi's: 1 − ∫√(pq) =
1 − exp(−D_{1/2}/2), and χ²(p‖q) = exp(D₂(p‖q)) − 1.

Reverse KL is an integral over the mass of q'. Draws of q do not see what q' has beyond
them: their E_q[t log t − t + 1] is near 1 where q' lies apart, whatever the truth, with
a small error. So it is KL with its roles exchanged: where nodes of one law are looked
at, a mean over q', E_q'[t' − 1 − log t'] with t' = q/q'. A mass that q' has and q has
not shows there, and is infinite.

References:
    Amari, Information Geometry and its Applications (2016), section 3.5.
    van Erven & Harremoës, Rényi divergence and KL divergence (2014), section III.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from inspect import signature

import torch
from torch import Tensor

from audit.families.interface import Family
from audit.families.tensors import Tensors
from audit.geometry.contract import checked, lacks
from audit.geometry.divergence import Divergence
from audit.ground.errors import ConfigError
from audit.ground.registry import Registry


def kl() -> Divergence:
    """Return the Kullback-Leibler divergence."""
    return Divergence(
        "kl",
        "nat",
        1 / 2,
        Tensors.FISHER,
        lambda q, a, b: q.kl(a, b),
        _relative_entropy_of_ratio,
        slope=lambda q, a, b: q.kl_slope(a, b),
        finite=True,
    )


def reverse_kl() -> Divergence:
    """Return the Kullback-Leibler divergence of the other direction, KL(q' ‖ q)."""
    return Divergence(
        "reverse_kl",
        "nat",
        1 / 2,
        Tensors.FISHER,
        lambda q, a, b: q.kl(b, a),
        exchanged=_relative_entropy_of_ratio,
        finite=True,
    )


def _relative_entropy_of_ratio(log_t: Tensor) -> Tensor:
    """Return t − 1 − log t; infinite at t = 0."""
    return torch.expm1(log_t) - log_t


def renyi(alpha: float) -> Divergence:
    """Return the Rényi divergence of order alpha.

    Raises:
        ConfigError: alpha is not positive, or is 1 (the limit, which is KL).
    """
    if not 0 < alpha < float("inf") or alpha == 1:
        raise ConfigError(
            f"The Rényi divergence was given alpha={alpha:g}",
            "Expected a positive order other than 1",
            "Use -d kl for the limit at 1",
        )
    return Divergence(
        f"renyi:alpha={alpha:g}",
        "nat",
        alpha / 2,
        Tensors.FISHER,
        lambda q, a, b: q.renyi(a, b, alpha),
        finite=alpha < 1,
    )


def hellinger() -> Divergence:
    """Return the squared Hellinger distance 1 − ∫√(pq)."""

    def exact(family: Family, phi: Tensor, other: Tensor) -> Tensor | None:
        half = family.renyi(phi, other, 0.5)
        if half is None:
            return None
        below = torch.nextafter(torch.ones_like(half), torch.zeros_like(half))
        apart = -torch.expm1(-half / 2)  # 1 by rounding, long before it is reached
        return torch.where(torch.isinf(half), apart, torch.minimum(apart, below))

    def pointwise(log_t: Tensor) -> Tensor:
        return torch.expm1(log_t / 2).square() / 2

    return Divergence(
        "hellinger",
        "1",
        1 / 8,
        Tensors.FISHER,
        exact,
        pointwise,
        supremum=1.0,
        finite=True,
    )


def jensen_shannon() -> Divergence:
    """Return the Jensen-Shannon divergence, in nats."""
    return Divergence(
        "jensen_shannon",
        "nat",
        1 / 8,
        Tensors.FISHER,
        lambda q, a, b: q.jensen_shannon(a, b),
        _jensen_shannon_of_ratio,
        supremum=math.nextafter(math.log(2), 0.0),  # log 2 itself is rounding's too
        finite=True,
    )


def _jensen_shannon_of_ratio(log_t: Tensor) -> Tensor:
    """Return ½[log 2/(1+t) + t log 2t/(1+t)] with the mean m = (q + q')/2."""
    log_mean = torch.nn.functional.softplus(log_t) - math.log(2)
    moved = log_t.exp() * (log_t - log_mean)
    return (torch.where(torch.isneginf(log_t), 0.0, moved) - log_mean) / 2


def chi_squared() -> Divergence:
    """Return Pearson's χ² divergence ∫ (p − q)²/q."""

    def exact(family: Family, phi: Tensor, other: Tensor) -> Tensor | None:
        second = family.renyi(phi, other, 2.0)
        return None if second is None else torch.expm1(second)

    def pointwise(log_t: Tensor) -> Tensor:
        return torch.expm1(log_t).square() * torch.exp(-log_t)

    return Divergence("chi_squared", "1", 1.0, Tensors.FISHER, exact, pointwise)


def quantile() -> Divergence:
    """Return the quantile distance E‖T_φ(z) − T_φ'(z)‖²."""
    return Divergence(
        "quantile",
        "θ²",
        1.0,
        Tensors.TRANSPORT,
        lambda q, a, b: q.transport_distance(a, b),
    )


def wasserstein() -> Divergence:
    """Return the squared 2-Wasserstein distance."""
    return Divergence(
        "wasserstein",
        "θ²",
        1.0,
        Tensors.WASSERSTEIN,
        lambda q, a, b: q.wasserstein_distance(a, b),
    )


_OURS = (
    *("kl", "reverse_kl", "renyi", "hellinger", "jensen_shannon", "chi_squared"),
    *("quantile", "wasserstein"),
)
DIVERGENCES: Registry[Callable[..., Divergence]] = Registry(
    "divergences",
    {name: f"{__name__}:{name}" for name in _OURS},
    lacks,
)


def build_divergence(text: str) -> Divergence:
    """Return the divergence a text names: "kl", "renyi:alpha=0.5".

    Raises:
        UnknownName: there is no such divergence.
        ConfigError: its arguments are wrong.
        BrokenPlugin: it is a third party's, and lacks something.
    """
    name, _, arguments = text.partition(":")
    make = DIVERGENCES[name]
    try:
        pairs = [pair.split("=") for pair in arguments.split(",") if pair]
        made = make(**{key.strip(): float(value) for key, value in pairs})
    except (TypeError, ValueError):
        taken = ",".join(f"{key}=…" for key in signature(make).parameters)
        raise ConfigError(
            f"The divergence '{text}' has the wrong arguments",
            f"Expected {name}:{taken}" if taken else "Expected none",
            f"See robaudit explain {name}",
        ) from None
    return replace(checked(made, make, Divergence), name=text)
