"""`counts`: outpatient visits in the RAND health insurance experiment, Poisson head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from export import Results, prepare, save, save_data, start
from fisher import input_information, poisson, summary
from statsmodels.datasets import randhie
from torch import Tensor, nn
from torch.distributions import Poisson

CONTRACT = {"family": "poisson", "parameters": {"rate": "rate"}}
TRAIN, TEST = 8000, 300
COVARIATES = {
    "lncoins": "log coinsurance",
    "idp": "deductible plan",
    "lpi": "participation",
    "fmde": "max expenditure",
    "physlm": "physical limits",
    "disea": "chronic diseases",
    "hlthg": "health good",
    "hlthf": "health fair",
    "hlthp": "health poor",
}
"""Column of the data -> what it is, as statsmodels describes them."""


class Counts(nn.Module):
    """x -> the rate of a Poisson, by one hidden layer of tanh."""

    def __init__(self, features: int, width: int = 24):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(features, width), nn.Tanh())
        self.log_rate = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the parameter of q(theta | x)."""
        return {"rate": torch.exp(self.log_rate(self.body(x)))}


def negative_log_likelihood(outputs: dict[str, Tensor], theta: Tensor) -> Tensor:
    """Mean over the rows, in nats."""
    return -Poisson(outputs["rate"], validate_args=False).log_prob(theta).mean()


def load() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A fixed subsample, inputs standardised by the training rows."""
    frame = randhie.load_pandas().data.astype(np.float64)
    rows = np.random.default_rng(0).permutation(len(frame))[: TRAIN + TEST]
    theta = frame.pop("mdvis").to_numpy()[rows, None].astype(np.float32)
    x = frame[list(COVARIATES)].to_numpy()[rows]
    x = ((x - x[:TRAIN].mean(0)) / x[:TRAIN].std(0)).astype(np.float32)
    x, theta = torch.from_numpy(x), torch.from_numpy(theta)
    return x[:TRAIN], theta[:TRAIN], x[TRAIN:], theta[TRAIN:]


def main(folder: Path) -> dict[str, Results]:
    x, theta, x_test, theta_test = load()
    generator = prepare(17)
    model = Counts(x.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    for _ in range(12):
        for rows in torch.randperm(len(x), generator=generator).split(100):
            loss = negative_log_likelihood(model(x[rows]), theta[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    constant = {"rate": theta.mean().expand(len(theta_test), 1)}
    with torch.no_grad():
        measured = {
            "test_nll": negative_log_likelihood(model(x_test), theta_test).item(),
            "constant_rate_nll": negative_log_likelihood(constant, theta_test).item(),
        }
    information = input_information(model, x_test, poisson)
    save(model, "counts", x_test, CONTRACT, folder, scripted=model)
    names = list(COVARIATES.values())
    save_data(folder, "counts", x=x_test, theta=theta_test, feature_names=names)
    return {"counts": {**measured, **summary(information)}}


if __name__ == "__main__":
    start(main)
