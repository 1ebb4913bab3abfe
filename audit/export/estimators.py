"""Which library an estimator comes from, and what of it is to be written.

Recognised by the names of its classes, so that nothing has to be imported.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn
from torch import distributions as td

from audit.export.densities import (
    Density,
    Distributional,
    Foreign,
    Nflows,
    distribution_of,
    innermost,
)
from audit.export.mixtures import Components, Mixture, SbiMixture
from audit.export.routes import refusal

GAUSSIAN = (td.Normal, td.MultivariateNormal)
LogProb = Callable[[Tensor, Tensor], Tensor]


def take_apart(estimator: Foreign, x: Tensor) -> tuple[Density | Components, LogProb]:
    """Return what is to be written, and the estimator's own log q(θ|x).

    Raises:
        ModelError: nothing here knows such an estimator.
    """
    if not isinstance(estimator, nn.Module):
        raise refusal(estimator)
    model: Foreign = copy.deepcopy(estimator).eval()
    kinds = {kind.__name__ for kind in type(model).__mro__}
    if any(kind.__module__.startswith("sbi.") for kind in type(model).__mro__):
        return _of_sbi(model, x), lambda x, theta: model.log_prob(theta[None], x)[0]
    if "Flow" in kinds and hasattr(model, "_distribution"):
        inside = Nflows(model, transform_title(model), x)
        return inside, lambda x, theta: model.log_prob(theta, context=x)
    return _of_distribution(model, x), lambda x, theta: model(x).log_prob(theta)


def _of_distribution(module: nn.Module, x: Tensor) -> Density | Components:
    distribution = distribution_of(module, x)
    base = innermost(getattr(distribution, "base", None))
    if hasattr(distribution, "logits") and isinstance(base, GAUSSIAN):
        return Mixture(module, x)
    return Distributional(module, x, zuko_title(module))


def _of_sbi(model: Foreign, x: Tensor) -> Density | Components:
    name = type(model).__name__
    if name == "MixtureDensityEstimator":
        return SbiMixture(model)
    if name == "NFlowsFlow":
        return Nflows(model.net, "sbi, " + transform_title(model.net), x)
    if name == "ZukoFlow":
        chain = nn.Sequential(model.embedding_net, model.net)
        return Distributional(chain, x, "sbi, " + zuko_title(model.net))
    raise refusal(model)


def zuko_title(module: nn.Module) -> str:
    """Return for example "zuko NSF, 3 transforms"."""
    flow = next(
        (m for m in module.modules() if type(m).__module__.startswith("zuko.flows")),
        module,
    )
    chain = getattr(getattr(flow, "transform", None), "transforms", ())
    count = sum("Transform" in type(part).__name__ for part in chain)
    name = f"zuko {type(flow).__name__}"
    return f"{name}, {count} transforms" if count else name


def transform_title(flow: nn.Module) -> str:
    """Return for example "nflows 5 x MaskedAffineAutoregressiveTransform"."""
    names = [
        type(part).__name__
        for part in flow.modules()
        if "Autoregressive" in type(part).__name__ or "Coupling" in type(part).__name__
    ]
    names = [name for name in names if name.endswith("Transform")]
    return f"nflows {len(names)} x {names[0]}" if names else "nflows Flow"
