"""`linear_posterior`: a flow trained by sbi on a problem whose answer is known.

theta ~ N(0, I) in R², x = theta + s e. The posterior is N(x / (1 + s²),
s² / (1 + s²) I), so its information about x is I / (s² (1 + s²)); s² is chosen to make
that 5 I at every x. Needs sbi.

In nflows the first coordinate of each autoregressive step cannot see x, and between the
steps sbi permutes the coordinates at random: in two dimensions the seed decides whether
each of them ever comes second. If not, one never learns of x; the script then raises.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from export import Results, prepare, save_data, start
from fisher import summary
from implicit import fisher_by_differences, fit
from sbi.neural_nets.net_builders.flow import build_maf
from torch import Tensor
from torch.distributions import Normal

from audit.export import export_posterior

INFORMATION = 5.0
VARIANCE = (math.sqrt(1 + 4 / INFORMATION) - 1) / 2
STEPS = 6000
BATCH = 512


def simulate(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw pairs (theta, x) from the joint law."""
    theta = torch.randn(rows, 2, generator=generator)
    noise = torch.randn(rows, 2, generator=generator)
    return theta, theta + math.sqrt(VARIANCE) * noise


def truth(theta: Tensor, x: Tensor) -> Tensor:
    """Log p(theta | x)."""
    share = 1 / (1 + VARIANCE)
    return Normal(share * x, math.sqrt(VARIANCE * share)).log_prob(theta).sum(-1)


def main(folder: Path) -> dict[str, Results]:
    generator = prepare(17)
    theta, x = simulate(5000, generator)
    estimator = build_maf(theta, x, hidden_features=20, num_transforms=4, num_blocks=1)

    def loss() -> Tensor:
        return estimator.loss(*simulate(BATCH, generator)).mean()

    fit(list(estimator.parameters()), loss, STEPS)
    estimator.eval()

    theta, x = simulate(128, torch.Generator().manual_seed(99))
    many_theta, many_x = simulate(20_000, torch.Generator().manual_seed(98))
    with torch.no_grad():
        measured: Results = {
            "nll_20000": estimator.loss(many_theta, many_x).mean().item(),
            "true_nll_20000": -truth(many_theta, many_x).mean().item(),
        }
    if measured["nll_20000"] > measured["true_nll_20000"] + 0.05:
        raise ValueError(f"the posterior did not train: {measured}")
    target = folder / "linear_posterior.onnx"
    of = {"role": "posterior", "exporter": "dynamo"}
    path = export_posterior(estimator, target, x=many_x, **of)
    information = fisher_by_differences(path, x)
    gap = (information / INFORMATION - torch.eye(2)).abs().amax((1, 2))
    measured["largest_error"] = gap.max().item()
    measured["median_error"] = gap.median().item()
    save_data(folder, "linear_posterior", x=x, theta=theta)
    return {"linear_posterior": measured | summary(information)}


if __name__ == "__main__":
    start(main)
