"""`mixture`: a mixture-density network on a simulated two-branch problem.

x ~ N(0, I) in R³. With probability sigmoid(2 x_3) theta lies on the upper branch
1.5 + sin(x_1), otherwise on the lower one -1.5 + 0.5 x_2, each with its own noise, so
the best possible likelihood is known.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from export import Results, prepare, save, save_data, start
from fisher import input_information, mixture, summary
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, MixtureSameFamily, Normal

CONTRACT = {
    "family": "mixture:normal",
    "parameters": {"logits": "logits", "loc": "loc", "scale": "scale"},
}
STEPS = 2000
BATCH = 256


class Mixture(nn.Module):
    """x in R³ -> three weights, centres and widths."""

    def __init__(self, width: int = 32, components: int = 3):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(3, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.logits = nn.Linear(width, components)
        self.loc = nn.Linear(width, components)
        self.width = nn.Linear(width, components)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the parameters of q(theta | x)."""
        hidden = self.body(x)
        return {
            "logits": self.logits(hidden),
            "loc": self.loc(hidden),
            "scale": 0.02 + F.softplus(self.width(hidden)),
        }


class Prediction(NamedTuple):
    """What the scripted copy returns: the fields carry the output names."""

    logits: Tensor
    loc: Tensor
    scale: Tensor


class TupleMixture(nn.Module):
    """The same network with a named tuple in place of the dictionary."""

    def __init__(self, model: Mixture):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Prediction:
        """Return the parameters of q(theta | x)."""
        out = self.model(x)
        return Prediction(out["logits"], out["loc"], out["scale"])


def branches(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log odds of the upper branch, and the centres and widths [N, 2]."""
    loc = torch.stack([1.5 + torch.sin(x[:, 0]), -1.5 + 0.5 * x[:, 1]], 1)
    scale = torch.stack([0.3 * torch.exp(0.3 * x[:, 1]), torch.full_like(x[:, 0], 0.4)])
    return 2 * x[:, 2], loc, scale.T


def simulate(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw x and theta."""
    x = torch.randn(rows, 3, generator=generator)
    odds, loc, scale = branches(x)
    upper = torch.rand(rows, generator=generator) < odds.sigmoid()
    row = torch.arange(rows)
    branch = (~upper).long()
    noise = torch.randn(rows, generator=generator)
    return x, (loc[row, branch] + scale[row, branch] * noise)[:, None]


def negative_log_likelihood(outputs: dict[str, Tensor], theta: Tensor) -> Tensor:
    """Mean over the rows, in nats."""
    q = MixtureSameFamily(
        Categorical(logits=outputs["logits"]),
        Normal(outputs["loc"], outputs["scale"]),
        validate_args=False,
    )
    return -q.log_prob(theta[:, 0]).mean()


def truth(x: Tensor) -> dict[str, Tensor]:
    """The parameters of the law that made the data."""
    odds, loc, scale = branches(x)
    p = Bernoulli(logits=odds).probs.clamp(1e-7, 1 - 1e-7)
    return {"logits": torch.stack([p, 1 - p], 1).log(), "loc": loc, "scale": scale}


def main(folder: Path) -> dict[str, Results]:
    generator = prepare(13)
    model = Mixture()
    with torch.no_grad():
        model.loc.bias.copy_(torch.tensor([-1.5, 0.0, 1.5]))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        x, theta = simulate(BATCH, generator)
        loss = negative_log_likelihood(model(x), theta)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()

    x, theta = simulate(200, torch.Generator().manual_seed(99))
    many_x, many_theta = simulate(20_000, torch.Generator().manual_seed(98))
    with torch.no_grad():
        measured = {
            "test_nll": negative_log_likelihood(model(x), theta).item(),
            "nll_20000": negative_log_likelihood(model(many_x), many_theta).item(),
            "true_nll_20000": negative_log_likelihood(truth(many_x), many_theta).item(),
        }
    if not math.isfinite(measured["nll_20000"]):
        raise ValueError("the mixture did not train")
    measured |= summary(input_information(model, x, mixture))
    save(model, "mixture", x, CONTRACT, folder, scripted=TupleMixture(model))
    save_data(folder, "mixture", x=x, theta=theta)
    return {"mixture": measured}


if __name__ == "__main__":
    start(main)
