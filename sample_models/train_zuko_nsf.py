"""`zuko_nsf`: a neural spline flow of zuko behind an embedding of a time series.

A damped oscillation of 64 samples is seen through noise:

    x_k = a exp(-g t_k) cos(w t_k) + 0.1 e_k,   a = exp(0.3 theta_1),
                                                w = 6 exp(0.3 theta_2),
                                                g = exp(0.5 theta_3),

with theta ~ N(0, I) in R³ and t from 0 to 2. The likelihood is known, so the entropy of
the posterior can be compared with what a Laplace approximation expects. Needs zuko.
"""

from __future__ import annotations

from pathlib import Path

import torch
import zuko
from export import Results, prepare, save_data, start
from implicit import fit
from torch import Tensor, nn
from torch.distributions import Distribution

from audit.export import export_posterior

TIMES = torch.linspace(0, 2, 64)
NOISE = 0.1
STEPS = 2500
BATCH = 256


class Posterior(nn.Module):
    """x of 64 samples -> 8 features -> a flow over theta in R³."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Sequential(
            nn.Unflatten(1, (1, 64)),
            nn.Conv1d(1, 8, 8, stride=4, padding=2),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(128, 32),
            nn.SiLU(),
            nn.Linear(32, 8),
        )
        self.flow = zuko.flows.NSF(3, 8, bins=6, transforms=3, hidden_features=(32,))

    def forward(self, x: Tensor) -> Distribution:
        """Return q(theta | x)."""
        return self.flow(self.embedding(x))


def simulate(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw pairs (theta, x) from the joint law."""
    theta = torch.randn(rows, 3, generator=generator)
    noise = torch.randn(rows, len(TIMES), generator=generator)
    return theta, signal(theta) + NOISE * noise


def signal(theta: Tensor) -> Tensor:
    """Return the noiseless series [..., 64]."""
    a, w, g = (theta * torch.tensor([0.3, 0.3, 0.5])).exp().split(1, -1)
    return a * torch.exp(-g * TIMES) * torch.cos(6 * w * TIMES)


def entropy_bound(theta: Tensor) -> Tensor:
    """Mean entropy of the Gaussian with the precision I + J J^T / noise² at theta."""
    jacobian = torch.func.vmap(torch.func.jacfwd(signal))(theta.double())
    precision = torch.eye(3) + jacobian.mT @ jacobian / NOISE**2
    return 1.5 * torch.log(torch.tensor(2 * torch.pi * torch.e)) - (
        torch.logdet(precision) / 2
    )


def main(folder: Path) -> dict[str, Results]:
    generator = prepare(29)
    model = Posterior()

    def loss() -> Tensor:
        theta, x = simulate(BATCH, generator)
        return -model(x).log_prob(theta).mean()

    fit(list(model.parameters()), loss, STEPS, rate=3e-3)
    model.eval()

    theta, x = simulate(128, torch.Generator().manual_seed(99))
    many_theta, many_x = simulate(20_000, torch.Generator().manual_seed(98))
    with torch.no_grad():
        measured: Results = {
            "test_nll": -model(x).log_prob(theta).mean().item(),
            "nll_20000": -model(many_x).log_prob(many_theta).mean().item(),
            "laplace_entropy_20000": entropy_bound(many_theta).mean().item(),
        }
    for suffix in (".onnx", ".pt2"):
        export_posterior(model, folder / f"zuko_nsf{suffix}", x=x, exporter="dynamo")
    save_data(folder, "zuko_nsf", x=x, theta=theta)
    return {"zuko_nsf": measured}


if __name__ == "__main__":
    start(main)
