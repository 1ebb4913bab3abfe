"""`posterior_forward_kl` and `posterior_reverse_kl`: one simulator, two objectives.

The simulator is a damped oscillation seen at five times through Gaussian noise:

    x_k = exp(-a t_k) cos(w t_k) + 0.15 e_k,   a = 0.5 exp(theta_1 / 2),
                                               w = 2 + 2 theta_2,

with theta ~ N(0, I) in R². The cosine hides the sign of w, so the true posterior has
two modes, of unequal weight, wherever both fit the prior: a Gaussian has to choose
between covering them (forward KL) and picking one (reverse KL). Likelihood and prior
are known, so the same network can be trained both ways:

  forward KL   -log q(theta_i | x_i) on simulated pairs
  reverse KL   -E_q[log p(theta, x_i) - log q(theta | x_i)], theta drawn through q
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from export import Results, prepare, save, save_data, start
from fisher import input_information, multivariate_normal, summary
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

NOISE = 0.15
TIMES = torch.tensor([0.4, 0.8, 1.2, 1.6, 2.0])
STEPS = 2500
BATCH = 256
CONTRACT = {
    "family": "multivariate_normal",
    "parameters": {"loc": "loc", "scale_tril": "scale_tril"},
}


class AmortizedPosterior(nn.Module):
    """x in R⁵ -> mean and Cholesky factor of a Gaussian over theta in R²."""

    def __init__(self, width: int = 48):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(5, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()
        )
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the parameters of q(theta | x)."""
        out = self.head(self.body(x))
        diagonal = 0.01 + F.softplus(out[:, 2:4])
        below = out[:, 4:5]
        entries = [diagonal[:, :1], torch.zeros_like(below), below, diagonal[:, 1:]]
        return {
            "loc": out[:, :2],
            "scale_tril": torch.cat(entries, 1).reshape(-1, 2, 2),
        }


def signal(theta: Tensor) -> Tensor:
    """Return the noiseless oscillation at the five times."""
    decay = 0.5 * torch.exp(theta[..., :1] / 2)
    frequency = 2 + 2 * theta[..., 1:]
    return torch.exp(-decay * TIMES) * torch.cos(frequency * TIMES)


def simulate(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw pairs (theta, x) from the joint law."""
    theta = torch.randn(rows, 2, generator=generator)
    noise = torch.randn(rows, len(TIMES), generator=generator)
    return theta, signal(theta) + NOISE * noise


def log_joint(theta: Tensor, x: Tensor) -> Tensor:
    """Log p(theta, x), normalised."""
    prior = Normal(0.0, 1.0).log_prob(theta).sum(-1)
    return prior + Normal(signal(theta), NOISE).log_prob(x).sum(-1)


def posterior(model: nn.Module, x: Tensor) -> MultivariateNormal:
    """The network's answer as a distribution."""
    return MultivariateNormal(**model(x), validate_args=False)


def forward_loss(model: nn.Module, theta: Tensor, x: Tensor) -> Tensor:
    """Mean negative log-likelihood of the true parameters."""
    return -posterior(model, x).log_prob(theta).mean()


def reverse_loss(model: nn.Module, x: Tensor, draws: int = 8) -> Tensor:
    """Mean negative evidence lower bound, by reparameterised draws."""
    q = posterior(model, x)
    theta = q.rsample((draws,))
    return (q.log_prob(theta) - log_joint(theta, x)).mean()


def train(objective: str) -> nn.Module:
    generator = prepare(5)
    model = AmortizedPosterior()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        theta, x = simulate(BATCH, generator)
        if objective == "forward":
            loss = forward_loss(model, theta, x)
        else:
            loss = reverse_loss(model, x)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def main(folder: Path) -> dict[str, Results]:
    theta, x = simulate(200, torch.Generator().manual_seed(99))
    many_theta, many_x = simulate(20_000, torch.Generator().manual_seed(98))
    measured = {}
    for objective in ("forward", "reverse"):
        name = f"posterior_{objective}_kl"
        model = train(objective)
        with torch.no_grad():
            torch.manual_seed(0)
            measured[name] = {
                "test_nll": forward_loss(model, theta, x).item(),
                "nll_20000": forward_loss(model, many_theta, many_x).item(),
                "negative_elbo_20000": reverse_loss(model, many_x, 32).item(),
                "mean_log_det_scale": posterior(model, x)
                .scale_tril.diagonal(dim1=-2, dim2=-1)
                .log()
                .sum(-1)
                .mean()
                .item(),
            }
        information = input_information(model, x, multivariate_normal)
        measured[name] |= summary(information)
        save(model, name, x, CONTRACT, folder)
    save_data(folder, "posterior", x=x, theta=theta)
    return measured


if __name__ == "__main__":
    start(main)
