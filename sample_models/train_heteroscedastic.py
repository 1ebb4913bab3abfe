"""`heteroscedastic` and its penalised twins: a Normal head on the diabetes data.

Three copies of one network see the same rows in the same order from the same start.
They differ in what is added to the mean negative log-likelihood:

  heteroscedastic            nothing
  heteroscedastic_jacobian   w ‖J‖²_F, J the Jacobian of (loc, log scale) in x
  heteroscedastic_fisher     w tr(Jᵀ F J), F the Fisher information of the Normal
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from export import Results, compare, prepare, run, save, save_data, save_onnx, start
from fisher import input_information, normal, summary
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

CONTRACT = {
    "family": "normal",
    "parameters": {"loc": "loc", "scale": "exp(log_scale)"},
}
MEASUREMENTS = (
    *("age", "sex", "BMI", "blood pressure", "cholesterol", "LDL", "HDL"),
    *("cholesterol/HDL", "triglycerides", "glucose"),
)
"""The columns of the diabetes data, as Efron et al. (2004) describe them."""
PENALTIES = {
    "heteroscedastic": ("none", 0.0),
    "heteroscedastic_jacobian": ("jacobian", 0.5),
    "heteroscedastic_fisher": ("fisher", 0.2),
}


class Heteroscedastic(nn.Module):
    """x -> loc and log_scale of a Normal, by two hidden layers of SiLU."""

    def __init__(self, features: int, width: int = 32):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.loc = nn.Linear(width, 1)
        self.log_scale = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the parameters of q(theta | x)."""
        hidden = self.body(x)
        return {"loc": self.loc(hidden), "log_scale": self.log_scale(hidden)}


class Renamed(nn.Module):
    """The same outputs under names from which a reader can guess their meaning."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return `mean` and `log_std`."""
        out = self.model(x)
        return {"mean": out["loc"], "log_std": out["log_scale"]}


def negative_log_likelihood(outputs: dict[str, Tensor], theta: Tensor) -> Tensor:
    """Mean over the rows of -log q(theta | x), in nats."""
    loc, log_scale = outputs["loc"], outputs["log_scale"]
    residual = (theta - loc) * torch.exp(-log_scale)
    constant = 0.5 * math.log(2 * math.pi)
    return (0.5 * residual**2 + log_scale).mean() + constant


def penalty(kind: str, outputs: dict[str, Tensor], x: Tensor) -> Tensor:
    """Mean over the rows of ‖J‖²_F, or of tr(Jᵀ F J), for (loc, log scale)."""
    loc, log_scale = outputs["loc"], outputs["log_scale"]
    slopes = [
        torch.autograd.grad(output.sum(), x, create_graph=True)[0].square().sum(1)
        for output in (loc, log_scale)
    ]
    if kind == "jacobian":
        return (slopes[0] + slopes[1]).mean()
    precision = torch.exp(-2 * log_scale[:, 0])
    return (precision * slopes[0] + 2 * slopes[1]).mean()


def train(
    kind: str, weight: float, x: Tensor, theta: Tensor, epochs: int = 20
) -> nn.Module:
    generator = prepare(7)
    model = Heteroscedastic(x.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(32):
            batch = x[rows].requires_grad_()
            outputs = model(batch)
            loss = negative_log_likelihood(outputs, theta[rows])
            if kind != "none":
                loss = loss + weight * penalty(kind, outputs, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def load() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Diabetes, split 292 / 150, everything standardised by the training rows."""
    x, theta = load_diabetes(return_X_y=True, scaled=False)
    order = np.random.default_rng(0).permutation(len(x))
    x, theta = x[order], theta[order, None]
    train_rows, test_rows = slice(0, len(x) - 150), slice(len(x) - 150, None)
    x = (x - x[train_rows].mean(0)) / x[train_rows].std(0)
    theta = (theta - theta[train_rows].mean()) / theta[train_rows].std()
    x, theta = (torch.from_numpy(a.astype(np.float32)) for a in (x, theta))
    return x[train_rows], theta[train_rows], x[test_rows], theta[test_rows]


def main(folder: Path) -> dict[str, Results]:
    x, theta, x_test, theta_test = load()
    measured = {}
    for name, (kind, weight) in PENALTIES.items():
        model = train(kind, weight, x, theta)
        with torch.no_grad():
            nll = negative_log_likelihood(model(x_test), theta_test).item()
            fit = negative_log_likelihood(model(x), theta).item()
        information = input_information(model, x_test, normal)
        measured[name] = {"test_nll": nll, "train_nll": fit, **summary(information)}
        save(model, name, x_test, CONTRACT, folder)
        if kind == "none":
            legacy = Renamed(model)
            path = folder / "heteroscedastic_legacy.onnx"
            save_onnx(legacy, path, x_test, ["mean", "log_std"], None, dynamo=False)
            compare(legacy, run(path), x_test, path.name)
    arrays = {"x": x_test, "theta": theta_test}
    save_data(folder, "heteroscedastic", **arrays, feature_names=MEASUREMENTS)
    return measured


if __name__ == "__main__":
    start(main)
