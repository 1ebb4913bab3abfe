"""`two_moons`: a neural spline flow trained by sbi on a posterior with two modes.

theta ~ U(-1, 1)²; a crescent p of radius r ~ N(0.1, 0.03²) is moved by theta:

    x = p + (-|theta_1 + theta_2|, theta_2 - theta_1) / sqrt(2).

Swapping theta for (-theta_2, -theta_1) leaves x alone, so the posterior is symmetric
and has two crescents of equal weight. Its density is known up to the prior's edges.
Needs sbi.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from export import Results, prepare, save_data, start
from implicit import fit
from sbi.neural_nets.net_builders.flow import build_nsf
from torch import Tensor
from torch.distributions import Normal

from audit.export import export_posterior

RADIUS = Normal(0.1, 0.03)
STEPS = 2500
BATCH = 256
GRID = 401


def move(theta: Tensor) -> Tensor:
    """Where the crescent's centre goes."""
    total, difference = theta.sum(-1), theta[..., 1] - theta[..., 0]
    return torch.stack(
        [0.25 - total.abs() / math.sqrt(2), difference / math.sqrt(2)], -1
    )


def simulate(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw pairs (theta, x) from the joint law."""
    theta = 2 * torch.rand(rows, 2, generator=generator) - 1
    angle = math.pi * (torch.rand(rows, generator=generator) - 0.5)
    radius = RADIUS.loc + RADIUS.scale * torch.randn(rows, generator=generator)
    crescent = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return theta, crescent + move(theta)


def log_likelihood(theta: Tensor, x: Tensor) -> Tensor:
    """Log p(x | theta); the few radii below zero are left out."""
    offset = x - move(theta)
    radius = offset.norm(dim=-1)
    value = RADIUS.log_prob(radius) - torch.log(math.pi * radius)
    return torch.where(offset[..., 0] > 0, value, -math.inf)


def log_posterior(theta: Tensor, x: Tensor) -> Tensor:
    """Log p(theta | x), normalised by a sum over a grid of the prior's box."""
    axis = (torch.arange(GRID) + 0.5) * 2 / GRID - 1
    box = torch.cartesian_prod(axis, axis)
    evidence = torch.stack([log_likelihood(box, row).logsumexp(0) for row in x])
    return log_likelihood(theta, x) - evidence - 2 * math.log(2 / GRID)


def main(folder: Path) -> dict[str, Results]:
    generator = prepare(23)
    theta, x = simulate(5000, generator)
    estimator = build_nsf(
        theta, x, hidden_features=24, num_transforms=3, num_bins=8, num_blocks=1
    )

    def loss() -> Tensor:
        return estimator.loss(*simulate(BATCH, generator)).mean()

    fit(list(estimator.parameters()), loss, STEPS)
    estimator.eval()

    theta, x = simulate(128, torch.Generator().manual_seed(99))
    many_theta, many_x = simulate(20_000, torch.Generator().manual_seed(98))
    swapped = -theta.flip(-1)
    with torch.no_grad():
        skew = estimator.loss(swapped, x) - estimator.loss(theta, x)
        measured: Results = {
            "test_nll": estimator.loss(theta, x).mean().item(),
            "true_test_nll": -log_posterior(theta, x).mean().item(),
            "nll_20000": estimator.loss(many_theta, many_x).mean().item(),
            "median_asymmetry": skew.abs().median().item(),
        }
    file, of = folder / "two_moons.onnx", {"role": "posterior", "exporter": "dynamo"}
    export_posterior(estimator, file, x=many_x, **of)
    save_data(folder, "two_moons", x=x, theta=theta)
    return {"two_moons": measured}


if __name__ == "__main__":
    start(main)
