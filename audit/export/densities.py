"""Densities, and maps from noise, as one module with named outputs.

    (x, theta[, z]) -> log_prob[, sample],  sample = T(x, z)

sbi's own steps that standardise θ and x, and its embedding net, are inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributions as td

from audit.export.bisection import to_the_last_digit
from audit.export.routes import NOT_HERE
from audit.export.splines import cache_inverses
from audit.ground.errors import ModelError

Foreign = Any  # an object of a library that is not required here


class Density(nn.Module):
    """log q(θ|x), and where it can be had θ = T(x, z).

    Args:
        title: what the map is called in a report.
        law: the law of z, "normal" or "uniform"; "" if there is no map.
        obstacle: why there is none.
    """

    def __init__(self, title: str, law: str = "", obstacle: str = "") -> None:
        super().__init__()
        self.title, self.law, self.obstacle, self.size = title, law, obstacle, 0
        self.space = ""  # the range of θ, as target_space takes it; "": not known

    def log_prob(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return log q(θ|x) [N]."""
        raise NotImplementedError

    def sample(self, x: Tensor, z: Tensor) -> Tensor:
        """Return T(x, z) [N, n]."""
        raise NotImplementedError

    def draw(self, x: Tensor) -> Tensor:
        """Return one θ for each x, however the library draws it."""
        raise NotImplementedError

    def forward(
        self, x: Tensor, theta: Tensor, z: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return log_prob, and sample where z is given."""
        outputs = {"log_prob": self.log_prob(x, theta)}
        return outputs if z is None else outputs | {"sample": self.sample(x, z)}


class Distributional(Density):
    """A module that turns x into a distribution: zuko's flows, or one's own."""

    def __init__(self, module: nn.Module, x: Tensor, title: str) -> None:
        distribution = distribution_of(module, x)
        law, obstacle = _base(distribution)
        super().__init__(title, law, obstacle)
        self.module = module
        self.size = int(distribution.event_shape[0])

    def log_prob(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return log q(θ|x) [N]."""
        return self.module(x).log_prob(theta)  # type: ignore[no-any-return]

    def sample(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the base draw made of z, through the inverse transform."""
        distribution = self.module(x)
        draw = base_draw(innermost(distribution.base), z)
        with to_the_last_digit():
            return distribution.transform.inv(draw)  # type: ignore[no-any-return]

    def draw(self, x: Tensor) -> Tensor:
        """Return one draw of the distribution for each x."""
        return self.module(x).sample()  # type: ignore[no-any-return]


class Nflows(Density):
    """A Flow of nflows, which is what sbi trains by default."""

    def __init__(self, flow: Foreign, title: str, x: Tensor) -> None:
        base = flow._distribution
        known = type(base).__name__ == "StandardNormal"
        obstacle = "" if known else f"its base is a {type(base).__name__}"
        super().__init__(title, "normal" if known else "", obstacle)
        self.flow: Foreign = cache_inverses(flow)
        if known:
            self.size = int(base._shape[0])
            return
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            self.size = self.draw(x[:1]).shape[1]

    def log_prob(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return log q(θ|x) [N]."""
        return self.flow.log_prob(theta, context=x)  # type: ignore[no-any-return]

    def sample(self, x: Tensor, z: Tensor) -> Tensor:
        """Return z through the inverse transform."""
        context = self.flow._embedding_net(x)
        inverse = self.flow._transform.inverse
        return inverse(z, context=context)[0]  # type: ignore[no-any-return]

    def draw(self, x: Tensor) -> Tensor:
        """Return one draw of the flow for each x."""
        return self.flow.sample(1, context=x)[:, 0]  # type: ignore[no-any-return]


@contextmanager
def unvalidated() -> Iterator[None]:
    """Let distributions take what they are given, as zuko does and pyro undoes.

    Checks that look at numbers are branches, which no exporter can write.
    """
    before = td.Distribution._validate_args
    td.Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        td.Distribution.set_default_validate_args(before)


def distribution_of(module: nn.Module, x: Tensor) -> Foreign:
    """Return what forward(x) gives, which must be a distribution over a vector."""
    result = module(x)
    if isinstance(result, td.Distribution) and len(result.event_shape) == 1:
        return result
    raise ModelError(
        f"{type(module).__name__}.forward(x) returns a {type(result).__name__}"
        f" with events of shape {tuple(getattr(result, 'event_shape', ()))}",
        NOT_HERE,
        _one_event(result),
    )


def _one_event(result: object) -> str:
    """Return how to make one event, θ, of what forward gave."""
    if isinstance(result, td.Distribution) and len(result.batch_shape) > 1:
        axes = len(result.batch_shape) - 1
        return (
            f"Wrap it: return torch.distributions.Independent({type(result).__name__}"
            f"(…), {axes}); or return its parameters as tensors, whose closed forms "
            "need no draws"
        )
    return "Return a distribution whose event is one axis, θ"


def innermost(base: Foreign) -> Foreign:
    """Return the distribution inside Independent and its like."""
    while hasattr(base, "base_dist"):
        base = base.base_dist
    return base


def _base(distribution: Foreign) -> tuple[str, str]:
    """Return the law of z, or why there is no map from it."""
    if not hasattr(distribution, "transform"):
        return "", f"{type(distribution).__name__} brings no map from noise"
    base = innermost(distribution.base)
    if isinstance(base, td.Normal):
        return "normal", ""
    if isinstance(base, td.Uniform):
        return "uniform", ""
    return "", f"its base is a {type(base).__name__}"


def base_draw(base: Foreign, z: Tensor) -> Tensor:
    """Return the draw of a Normal or Uniform base that noise z makes."""
    if isinstance(base, td.Normal):
        return base.loc + base.scale * z
    return base.low + (base.high - base.low) * z  # type: ignore[no-any-return]


def base_noise(law: str, rows: int, size: int, generator: torch.Generator) -> Tensor:
    """Draw base noise [rows, size]."""
    if law == "normal":
        return torch.randn(rows, size, generator=generator)
    uniform = torch.rand(rows, size, generator=generator)
    return torch.logit(uniform, eps=1e-6) if law == "logistic" else uniform
