"""`choice_likelihood`: q(rt, choice | parameters) of a drift-diffusion model.

The layout of published likelihood networks: one input of six columns, the parameters
drift v, separation a, start w and delay t, then rt and choice (-1 or 1); one output.
Here rt given the choice is a mixture of three log-normal laws and the choice is
Bernoulli, so the density integrates to one by construction.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from export import Results, prepare, save_data, start
from fisher import summary
from implicit import fit, slopes
from torch import Tensor, nn

from audit.export.attempts import Task, write

LOW = torch.tensor([-2.0, 1.0, 0.3, 0.1])
HIGH = torch.tensor([2.0, 2.5, 0.7, 0.5])
CONTRACT = {
    "contract": "density",
    "condition": "x",
    "target": "theta",
    "input_layout": "x:0:4,theta:4:6",
    "target_space": "rt:positive,choice:{-1,1}",
    "outputs": {"log_prob": "log_prob"},
}
TRIALS = 200_000
TIME_STEP = 0.002
LONGEST = 8.0
STEPS = 3000
BATCH = 1024
COMPONENTS = 3


class Likelihood(nn.Module):
    """[v, a, w, t, rt, choice] -> log q(rt, choice | v, a, w, t)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.choice = nn.Sequential(
            nn.Linear(4, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, 1),
        )  # fmt: skip
        self.time = nn.Sequential(
            nn.Linear(5, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, 3 * COMPONENTS),
        )  # fmt: skip
        self.register_buffer("middle", (LOW + HIGH) / 2)
        self.register_buffer("reach", (HIGH - LOW) / 2)

    def forward(self, input: Tensor) -> dict[str, Tensor]:
        """Return log q [N]."""
        x = (input[:, :4] - self.middle) / self.reach
        rt, choice = input[:, 4:5], input[:, 5:6]
        of_choice = F.logsigmoid(choice * self.choice(x))[:, 0]
        weights, loc, width = self.time(torch.cat([x, choice], 1)).chunk(3, 1)
        scale = 0.02 + F.softplus(width)
        log_rt = rt.clamp(min=1e-6).log()
        normal = -(((log_rt - loc) / scale) ** 2) / 2 - scale.log() - log_rt
        density = weights.log_softmax(1) + normal - math.log(2 * math.pi) / 2
        return {"log_prob": of_choice + density.logsumexp(1)}


def parameters(rows: int, generator: torch.Generator) -> Tensor:
    """Draw v, a, w and t from a box."""
    return LOW + (HIGH - LOW) * torch.rand(rows, 4, generator=generator)


def simulate(x: Tensor, generator: torch.Generator) -> Tensor:
    """Run each diffusion to its boundary: rt and choice [N, 2]."""
    v, a, w, t = x.unbind(1)
    place, rt = w * a, torch.full_like(v, LONGEST)
    choice = torch.sign(place - a / 2)
    active = torch.arange(len(x))
    for step in range(int(LONGEST / TIME_STEP)):
        if not len(active):
            break
        noise = math.sqrt(TIME_STEP) * torch.randn(len(active), generator=generator)
        place = place + v[active] * TIME_STEP + noise
        # the mean overshoot of a random walk, so that steps are not missed crossings
        margin = 0.5826 * math.sqrt(TIME_STEP)
        up, down = place >= a[active] - margin, place <= margin
        ended = up | down
        rt[active[ended]] = (step + 1) * TIME_STEP
        choice[active[ended]] = torch.where(up, 1.0, -1.0)[ended]
        active, place = active[~ended], place[~ended]
    return torch.stack([rt + t, choice], 1)


def true_choice(x: Tensor) -> Tensor:
    """P(choice = 1): the chance to leave (0, a) at a, from w a."""
    v, a, w, _ = x.double().unbind(1)
    return torch.expm1(-2 * v * w * a) / torch.expm1(-2 * v * a)


def quadrature(path: Path, x: Tensor) -> tuple[Tensor, Tensor]:
    """Total mass [N] and F_x [N, d, d] of the file, over a grid of log rt."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    log_rt = np.linspace(math.log(0.01), math.log(100), 4001)
    theta = np.stack([np.tile(np.exp(log_rt), 2), np.repeat([-1.0, 1.0], 4001)], 1)
    theta = theta.astype(np.float32)
    cell = theta[:, 0] * (log_rt[1] - log_rt[0])

    def log_prob(x: np.ndarray) -> np.ndarray:
        rows = np.concatenate([np.repeat(x[None], len(theta), 0), theta], 1)
        return session.run(["log_prob"], {"input": rows})[0].astype(float)

    masses, tensors = [], []
    for row in x.numpy():
        weights = np.exp(log_prob(row)) * cell
        score = slopes(log_prob, row)
        masses.append(weights.sum())
        tensors.append(score.T @ (score * weights[:, None]))
    return torch.tensor(masses), torch.from_numpy(np.stack(tensors))


def main(folder: Path) -> dict[str, Results]:
    generator = prepare(31)
    x = parameters(TRIALS, generator)
    rows = torch.cat([x, simulate(x, generator)], 1)
    model = Likelihood()

    def loss() -> Tensor:
        batch = rows[torch.randint(TRIALS, (BATCH,), generator=generator)]
        return -model(batch)["log_prob"].mean()

    fit(list(model.parameters()), loss, STEPS, rate=4e-3)
    model.eval().requires_grad_(False)

    generator = torch.Generator().manual_seed(99)
    x = parameters(128, generator)
    theta = simulate(x, generator)
    test = torch.cat([x, theta], 1)
    p = model.choice((x - model.middle) / model.reach).sigmoid()[:, 0]
    measured: Results = {
        "nll": -model(rows[:20_000])["log_prob"].mean().item(),
        "test_nll": -model(test)["log_prob"].mean().item(),
        "largest_choice_error": (p - true_choice(x)).abs().max().item(),
    }
    for suffix in (".onnx", ".pt2"):
        path = folder / f"choice_likelihood{suffix}"
        write(Task(model, path, {"input": test}, model(test), CONTRACT, "input"))
    mass, information = quadrature(folder / "choice_likelihood.onnx", x)
    measured["largest_mass_error"] = (mass - 1).abs().max().item()
    save_data(folder, "choice_likelihood", x=x, theta=theta)
    return {"choice_likelihood": measured | summary(information)}


if __name__ == "__main__":
    start(main)
