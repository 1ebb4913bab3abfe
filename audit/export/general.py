"""Any torch distribution over numbers as a density, where no family has its name.

    (x, theta[, z]) -> log_prob[, sample]

θ is one event, flattened. There is a sampler where the distribution is a chain of
transforms of a Normal or Uniform base: z goes the way that a draw goes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch import distributions as td

from audit.export.densities import Density, Foreign, base_draw, unvalidated
from audit.export.named import constant, without_independent
from audit.ground.errors import ModelError

_LAWS = {td.Normal: "normal", td.Uniform: "uniform"}
_MATRIX = "a matrix whose entries are tied to each other"
_SURFACES = {
    "_Simplex": "a vector of shares that add up to one",
    "_Sphere": "a direction, a vector of length one",
    **dict.fromkeys(("_PositiveDefinite", "_PositiveSemidefinite"), _MATRIX),
    **dict.fromkeys(("_Symmetric", "_CorrMatrix", "_CorrCholesky"), _MATRIX),
    **dict.fromkeys(("_LowerCholesky", "_LowerTriangular"), _MATRIX),
}
"""Constraints of torch and pyro whose set has fewer dimensions than θ has numbers."""


class General(Density):
    """A module that turns x into any distribution whose log_prob can be had.

    Args:
        module: x -> the distribution.
        law: what it gave for some rows.

    Raises:
        ModelError: θ is discrete, or no number of it belongs to one row, or its numbers
            are tied to each other.
    """

    def __init__(self, module: Callable[..., Foreign], law: td.Distribution) -> None:
        refuse_discrete(law)
        _refuse_tied(law)
        base = base_law(law)
        obstacle = f"{type(law).__name__} brings no map from noise"
        super().__init__(type(law).__name__, base, "" if base else obstacle)
        self.module = module
        self.shape = tuple((*law.batch_shape, *law.event_shape)[1:])
        self.size = math.prod(self.shape)
        kind = "" if base else _range_of(_innermost(law))
        self.space = kind and f"theta:{kind}*{self.size}"

    def log_prob(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return log q(θ|x) [N], summed over what is independent."""
        with unvalidated():
            law = self.module(x)
            try:
                found: Tensor = law.log_prob(theta.reshape(len(theta), *self.shape))
            except NotImplementedError:
                raise _without_density(law) from None
        return found.reshape(len(found), -1).sum(1)

    def sample(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the base draw made of z [N, n], through the transforms."""
        with unvalidated():
            law: Foreign = without_independent(self.module(x))
            base, z = without_independent(law.base_dist), z.reshape(-1, *self.shape)
            draw = base_draw(base, z)
            for transform in law.transforms:
                draw = transform(draw)
        return draw.reshape(len(draw), -1)


def _innermost(law: td.Distribution) -> Foreign:
    """Return the constraint on the numbers of θ; None where the law has none."""
    try:
        support: Foreign = law.support
    except NotImplementedError:
        return None
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support


def _range_of(support: Foreign) -> str:
    """Return the kind of coordinate whose range is the same for every x, else "".

    Laws are not validated here, so that log q of one may go on outside its support.
    """
    ends = [getattr(support, name, None) for name in ("lower_bound", "upper_bound")]
    low, high = (constant(end) for end in ends)
    if low == 0 and (ends[1] is None or high == math.inf):
        return "positive"
    if low is None or high is None or not math.isfinite(high - low):
        return ""
    return "unit" if (low, high) == (0, 1) else f"interval({low!r},{high!r})"


def _without_density(law: td.Distribution) -> ModelError:
    return ModelError(
        f"The model returns a {type(law).__name__} that has no log_prob: it raises "
        "NotImplementedError",
        "Expected a distribution with a density; a transform without an inverse, or "
        "quantiles alone, give draws and no density",
        "Return the draws made of noise z, with contract='transport' and "
        "divergences=['quantile'], or the distribution of another coordinate",
    )


def _refuse_tied(law: td.Distribution) -> None:
    """Raise where θ lies on a surface: its density is of fewer numbers than it has."""
    surface = _SURFACES.get(type(_innermost(law)).__name__)
    if surface is None:
        return
    raise ModelError(
        f"The model returns a {type(law).__name__}, whose θ is {surface}",
        "Expected numbers that vary freely; a density over a surface is one of fewer "
        "numbers than θ has, and no integral over θ is one",
        "Return the law of free numbers that θ is made of, for example a Normal of the "
        "log ratios: KL is the same in any coordinates; or its parameters as tensors, "
        "with family= and parameters=",
    )


def base_law(law: Foreign) -> str:
    """Return the law of z, one number for each of θ; "" where there is no such map."""
    law = without_independent(law)
    if not isinstance(law, td.TransformedDistribution):
        return ""
    base: Foreign = without_independent(law.base_dist)
    shape = torch.Size((*law.batch_shape, *law.event_shape))
    same = torch.Size((*base.batch_shape, *base.event_shape)) == shape
    return _LAWS.get(type(base), "") if same else ""


def refuse_discrete(law: td.Distribution) -> None:
    """Raise where θ is not made of real numbers, or rows cannot be told apart.

    Raises:
        ModelError: with what to return instead.
    """
    try:
        discrete = bool(law.support.is_discrete)  # type: ignore[union-attr]
    except (NotImplementedError, AttributeError):
        discrete = False
    if not discrete and len((*law.batch_shape, *law.event_shape)) and law.batch_shape:
        return
    raise ModelError(
        f"The model returns a {type(law).__name__} with rows of shape "
        f"{tuple(law.batch_shape)} and events of shape {tuple(law.event_shape)}",
        "Expected a distribution of a family with a name here, or of real numbers, "
        "with one row for each row of x",
        "Return one such, or its parameters as tensors with family= and parameters=",
    )
