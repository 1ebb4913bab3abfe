"""`sunspots_gru` and `sunspots_quantiles`: next year's sunspot number from 24 years.

The yearly series of statsmodels (1700 to 2008) is compressed by a square root and
standardised. Both models read a window [N, 24, 1] with a GRU; one answers with a
Student-t, the other with the nine deciles.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from export import Results, compare, prepare, run, save, save_data, save_onnx, start
from fisher import input_information, student_t, summary
from statsmodels.datasets import sunspots
from torch import Tensor, nn

WINDOW = 24
LEVELS = [round(0.1 * k, 1) for k in range(1, 10)]
STUDENT = {
    "family": "student_t",
    "parameters": {"df": "df", "loc": "loc", "scale": "scale"},
}
QUANTILE = {
    "family": "quantile",
    "parameters": {"quantiles": "quantiles"},
    "levels": LEVELS,
}


class StudentForecast(nn.Module):
    """A GRU over the window, then df > 2, loc and scale of a Student-t."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.gru = nn.GRU(1, width, batch_first=True)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the parameters of q(theta | x)."""
        states, _ = self.gru(x)
        out = self.head(states[:, -1])
        return {
            "df": 2.5 + F.softplus(out[:, 0:1]),
            "loc": out[:, 1:2] + x[:, -1],
            "scale": 0.05 + F.softplus(out[:, 2:3]),
        }


class QuantileForecast(nn.Module):
    """A GRU over the window, then the median and positive gaps on either side."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.gru = nn.GRU(1, width, batch_first=True)
        self.head = nn.Linear(width, len(LEVELS))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the nine quantiles in increasing order."""
        states, _ = self.gru(x)
        out = self.head(states[:, -1])
        median = out[:, 0:1] + x[:, -1]
        gaps = 0.01 + F.softplus(out[:, 1:])
        below = median - gaps[:, :4].cumsum(1).flip(1)
        above = median + gaps[:, 4:].cumsum(1)
        return {"quantiles": torch.cat([below, median, above], 1)}


def student_loss(outputs: dict[str, Tensor], theta: Tensor) -> Tensor:
    """Mean negative log-likelihood in nats."""
    q = torch.distributions.StudentT(outputs["df"], outputs["loc"], outputs["scale"])
    return -q.log_prob(theta).mean()


def pinball_loss(outputs: dict[str, Tensor], theta: Tensor) -> Tensor:
    """Mean quantile loss over the rows and the nine levels."""
    levels = torch.tensor(LEVELS)
    gap = theta - outputs["quantiles"]
    return torch.maximum(levels * gap, (levels - 1) * gap).mean()


def train(model: nn.Module, loss, x: Tensor, theta: Tensor, epochs: int) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-2)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(32):
            value = loss(model(x[rows]), theta[rows])
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model.eval()


def load(test: int = 80) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Windows and next values; the last 80 years are held out, in time order."""
    frame = sunspots.load_pandas().data
    series = np.sqrt(frame["SUNACTIVITY"].to_numpy())
    past = series[:-test]
    series = ((series - past.mean()) / past.std()).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(series, WINDOW + 1).copy()
    x = torch.from_numpy(windows[:, :-1, None])
    theta = torch.from_numpy(windows[:, -1:])
    return x[:-test], theta[:-test], x[-test:], theta[-test:]


def main(folder: Path) -> dict[str, Results]:
    x, theta, x_test, theta_test = load()
    measured = {}

    prepare(11)
    model = train(StudentForecast(), student_loss, x, theta, epochs=60)
    with torch.no_grad():
        nll = student_loss(model(x_test), theta_test).item()
        constant = torch.distributions.Normal(theta.mean(), theta.std())
        baseline = -constant.log_prob(theta_test).mean().item()
    information = input_information(model, x_test, student_t)
    measured["sunspots_gru"] = {
        "test_nll": nll,
        "constant_normal_nll": baseline,
        **summary(information),
    }
    save(model, "sunspots_gru", x_test, STUDENT, folder, scripted=model)
    single = folder / "sunspots_gru_batch1.onnx"
    outputs = list(STUDENT["parameters"])
    save_onnx(model, single, x_test, outputs, STUDENT, dynamo=False, batch=1)
    compare(model, run(single), x_test, single.name, batches=(1,))

    prepare(12)
    model = train(QuantileForecast(), pinball_loss, x, theta, epochs=60)
    with torch.no_grad():
        outputs = model(x_test)
        loss = pinball_loss(outputs, theta_test).item()
        inside = (outputs["quantiles"][:, :1] < theta_test) & (
            theta_test < outputs["quantiles"][:, -1:]
        )
        constant = {"quantiles": torch.quantile(theta, torch.tensor(LEVELS))[None]}
        baseline = pinball_loss(constant, theta_test).item()
    measured["sunspots_quantiles"] = {
        "test_pinball": loss,
        "constant_pinball": baseline,
        "coverage_of_80_percent": inside.float().mean().item(),
    }
    save(model, "sunspots_quantiles", x_test, QUANTILE, folder)
    years = [f"year -{WINDOW - k}" for k in range(WINDOW)]
    save_data(folder, "sunspots", x=x_test, theta=theta_test, feature_names=years)
    return measured


if __name__ == "__main__":
    start(main)
