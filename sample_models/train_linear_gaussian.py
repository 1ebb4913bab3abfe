"""`linear_gaussian`: the exact posterior of a linear simulator with Gaussian noise.

theta ~ N(0, P) in R³, x = A theta + e with e ~ N(0, R) in R⁶. The posterior is
N(W x + b, Sigma) with Sigma = (Aᵀ R⁻¹ A + P⁻¹)⁻¹ and W = Sigma Aᵀ R⁻¹, so nothing is
trained, and the Fisher information in x is F_x = Wᵀ Sigma⁻¹ W at every x.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from export import Results, prepare, save, save_data, start
from fisher import input_information, multivariate_normal, summary
from torch import Tensor, nn

CONTRACT = {
    "family": "multivariate_normal",
    "parameters": {"loc": "loc", "scale_tril": "scale_tril"},
}


class LinearGaussian(nn.Module):
    """loc = W x + b and one Cholesky factor for all inputs."""

    factor: Tensor  # an ONNX initializer may not share the name of an output

    def __init__(self, weight: Tensor, bias: Tensor, factor: Tensor):
        super().__init__()
        self.mean = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.mean.weight.copy_(weight)
            self.mean.bias.copy_(bias)
        self.register_buffer("factor", factor)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the parameters of q(theta | x)."""
        return {
            "loc": self.mean(x),
            "scale_tril": self.factor.expand(x.shape[0], -1, -1),
        }


def main(folder: Path) -> dict[str, Results]:
    prepare(0)
    random = np.random.default_rng(2024)
    n, d, rows = 3, 6, 200
    design = random.normal(size=(d, n)) * np.array([2.0, 1.0, 0.4])
    mixing = random.normal(size=(d, d)) * 0.3
    noise = mixing @ mixing.T + np.diag(np.linspace(0.2, 0.8, d))
    prior_mean = np.array([0.5, -1.0, 0.0])
    prior = np.diag([1.0, 2.0, 0.5])
    precision = design.T @ np.linalg.solve(noise, design) + np.linalg.inv(prior)
    covariance = np.linalg.inv(precision)
    weight = covariance @ design.T @ np.linalg.inv(noise)
    bias = covariance @ np.linalg.solve(prior, prior_mean)

    theta = random.multivariate_normal(prior_mean, prior, size=rows)
    error = random.multivariate_normal(np.zeros(d), noise, size=rows)
    x = (theta @ design.T + error).astype(np.float32)

    weight, bias = weight.astype(np.float32), bias.astype(np.float32)
    factor = np.linalg.cholesky(covariance).astype(np.float32)
    model = LinearGaussian(*(torch.from_numpy(a) for a in (weight, bias, factor)))
    save(model, "linear_gaussian", torch.from_numpy(x), CONTRACT, folder)
    save_data(folder, "linear_gaussian", x=x, theta=theta.astype(np.float32))

    # The truth of the file as saved: float64 arithmetic on its float32 weights.
    w, tril = weight.astype(np.float64), factor.astype(np.float64)
    root = np.linalg.solve(tril, w)
    information = root.T @ root
    eigenvalues, vectors = np.linalg.eigh(information)
    transport = np.linalg.eigvalsh(w.T @ w)
    save_data(
        folder,
        "linear_gaussian_truth",
        W=w,
        b=bias.astype(np.float64),
        scale_tril=tril,
        Sigma=tril @ tril.T,
        F_x=information,
        eigenvalues=eigenvalues[::-1][:n].copy(),
        directions=vectors[:, ::-1][:, :n].copy(),
        trace=np.trace(information),
        quantile_eigenvalues=transport[::-1][:n].copy(),
        quantile_trace=np.trace(w.T @ w),
        A=design,
        R=noise,
        P=prior,
        prior_mean=prior_mean,
    )

    found = input_information(model, torch.from_numpy(x), multivariate_normal)
    truth = np.broadcast_to(information, found.shape)
    np.testing.assert_allclose(found, truth, rtol=1e-9)
    with torch.no_grad():
        q = torch.distributions.MultivariateNormal(**model(torch.from_numpy(x)))
        nll = -q.log_prob(torch.from_numpy(theta).float()).mean().item()
    return {"linear_gaussian": {"test_nll": nll, **summary(found)}}


if __name__ == "__main__":
    start(main)
