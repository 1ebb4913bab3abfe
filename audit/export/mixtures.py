"""Mixtures of Gaussians as the parameters of their components."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch import distributions as td

from audit.export.densities import Foreign, innermost
from audit.ground.errors import ModelError


class Components(nn.Module):
    """x -> the parameters of a Gaussian mixture.

    Args:
        family: what the contract calls it.
        tolerance: within which its log_prob equals the estimator's.
    """

    def __init__(self, family: str, tolerance: float) -> None:
        super().__init__()
        self.family, self.tolerance = family, tolerance

    def law_of(self, values: Mapping[str, Tensor]) -> td.Distribution:
        """Return the mixture that some parameters stand for."""
        own: dict[str, Foreign] = dict(values)
        weights = td.Categorical(logits=own.pop("logits"))
        if "scale" in own:
            return td.MixtureSameFamily(weights, td.Independent(td.Normal(**own), 1))
        return td.MixtureSameFamily(weights, td.MultivariateNormal(**own))


class Mixture(Components):
    """A GMM of zuko."""

    def __init__(self, module: nn.Module, x: Tensor) -> None:
        full = isinstance(module(x).base, td.MultivariateNormal)
        family = "mixture:multivariate_normal" if full else "mixture:normal"
        super().__init__(family, 1e-4)
        self.module = module

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return logits [N, K], loc [N, K, n] and scale_tril or scale."""
        mixture = self.module(x)
        base = innermost(mixture.base)
        scale = "scale_tril" if hasattr(base, "scale_tril") else "scale"
        return {"logits": mixture.logits, "loc": base.loc, scale: getattr(base, scale)}


class SbiMixture(Components):
    """sbi's mixture density network, in the units of θ.

    sbi's own log_prob has 1e-4 more on the diagonal of each precision matrix than in
    its determinant, so it is not quite normalised (less than one by about 1e-4 per
    dimension where components are about as wide as the prior); the file's is.
    """

    shift: Tensor
    scale: Tensor
    above: Tensor
    eye: Tensor

    def __init__(self, estimator: Foreign) -> None:
        super().__init__("mixture:multivariate_normal", 1e-2)
        if estimator._prior_transform is not None:
            raise ModelError(
                "The mixture lives in a transformed space (z_score_theta="
                "'transform_to_unconstrained')",
                "There it is Gaussian; in the units of θ no family fits it",
                "Train a flow (density_estimator='maf'), or without that transform",
            )
        net: Foreign = estimator.net
        self.embedding: Foreign = estimator.embedding_net
        self.net, n = net, net.features
        shift, scale = estimator._transform_shift, estimator._transform_scale
        self.register_buffer("shift", torch.zeros(n) if shift is None else shift)
        self.register_buffer("scale", torch.ones(n) if scale is None else scale)
        above = torch.zeros(net._num_upper_params, n, n)
        above[range(len(above)), net._row_ix, net._column_ix] = 1.0
        self.register_buffer("above", above)
        self.register_buffer("eye", torch.eye(n))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return logits [N, K], loc [N, K, n], precision_matrix [N, K, n, n]."""
        net: Foreign = self.net
        hidden = net._hidden_net(self.embedding(x))
        k, n = net.num_components, net.features
        loc = net._means_layer(hidden).reshape(-1, k, n)
        diagonal = F.softplus(net._unconstrained_diagonal_layer(hidden))
        factor = diagonal.reshape(-1, k, n, 1) * self.eye
        if net._upper_layer is not None:
            entries = net._upper_layer(hidden).reshape(-1, k, len(self.above))
            factor = factor + (entries @ self.above.flatten(1)).reshape(-1, k, n, n)
        precision = factor.mT @ factor + net._epsilon * self.eye
        return {
            "logits": net._logits_layer(hidden),
            "loc": loc * self.scale + self.shift,
            "precision_matrix": precision / (self.scale[:, None] * self.scale),
        }
