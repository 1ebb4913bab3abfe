"""W1 to W6: six fixed networks with their inputs, and the files they are saved in.

The same on every machine: weights, inputs and noise come from a seed of each workload.
A head of normal laws has φ = (μ, r), with the scale softplus(r) + 10⁻³.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from audit.config import ModelConfig, ScanConfig
from audit.export import export_posterior

TOP = 5
SMALLEST = 1e-3  # scale of a normal law


@dataclass(frozen=True)
class Net:
    """A workload.

    Args:
        build: makes the network; of W3 a zuko flow.
        inputs: makes n inputs [n, ...].
        kind: `normal` or `categorical` (the outputs are φ), `flow` (the file scores
            and draws θ) or `generator` (the file makes θ of x and noise).
        n: inputs of a full run. few: of a run that takes seconds.
        mflop: the least arithmetic for an input, in millions of operations.
        draws: of θ for each input, where the form is sampled.
    """

    name: str
    title: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int], Tensor]
    kind: str
    n: int
    few: int
    mflop: float
    draws: int = 0
    noise: int = 0
    """Numbers of base noise that a generator takes."""
    seed: int = field(default=7)

    def made(self, n: int) -> tuple[nn.Module, Tensor]:
        """Return the network and its first n inputs."""
        torch.manual_seed(self.seed)
        model = self.build().eval().requires_grad_(False)
        torch.manual_seed(self.seed + 1)
        return model, self.inputs(n)


class Convolutions(nn.Module):
    """1×64×64 pixels -> 32 parameters: three convolutions of stride two, two dense."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(4096, 128), nn.ReLU(), nn.Linear(128, 32)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Residual(nn.Module):
    """Two convolutions beside a shorter way of stride two."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, 2, 1)
        self.second = nn.Conv2d(after, after, 3, 1, 1)
        self.short = nn.Conv2d(before, after, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return (self.second(self.first(x).relu()) + self.short(x)).relu()


class Classifier(nn.Module):
    """3×224×224 pixels -> 1000 logits: a stem and four residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        widths = (32, 32, 64, 128, 256)
        blocks = (Residual(*pair) for pair in pairwise(widths))
        self.features = nn.Sequential(nn.Conv2d(3, 32, 7, 2, 3), nn.ReLU(), *blocks)
        self.head = nn.Linear(256, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean(dim=(2, 3)))


class Recurrent(nn.Module):
    """200 steps of three numbers -> 10 parameters, from the last state of a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 64, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x)[0][:, -1])


class Generator(nn.Module):
    """32 numbers x and 16 of noise z -> θ of 16 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Linear(48, 128), nn.SiLU()),
            *(nn.Linear(128, 128), nn.SiLU()),
            nn.Linear(128, 16),
        )

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.body(torch.cat([x, z], dim=-1))


def dense() -> nn.Module:
    """64 numbers -> 20 parameters."""
    return nn.Sequential(
        *(nn.Linear(64, 256), nn.ReLU()),
        *(nn.Linear(256, 256), nn.ReLU()),
        nn.Linear(256, 20),
    )


def flow() -> nn.Module:
    """A neural spline flow of five numbers, whose context is x itself."""
    import zuko

    return zuko.flows.NSF(5, 10, transforms=3, hidden_features=(64, 64))


def lively(build: Callable[[], nn.Module], gain: float) -> Callable[[], nn.Module]:
    """Return a builder with larger weights: a fresh network hardly depends on x."""

    def build_it() -> nn.Module:
        model = build()
        with torch.no_grad():
            for weight in (p for p in model.parameters() if p.ndim > 1):
                weight.mul_(gain)
        return model

    return build_it


def peaked() -> nn.Module:
    """Return the classifier with logits that spread like a trained one's."""
    model = lively(Classifier, 1.6)()
    with torch.no_grad():
        spread = model(pixels(4)).std(dim=1).mean()
        for part in model.head.parameters():
            part.mul_(3 / spread)
    return model


def numbers(*shape: int) -> Callable[[int], Tensor]:
    """Return what makes inputs of independent normal numbers."""
    return lambda n: torch.randn(n, *shape)


def pixels(n: int) -> Tensor:
    """Return smooth images of 3×224×224."""
    return 4 * functional.avg_pool2d(torch.randn(n, 3, 224, 224), 7, 1, 3)


def grey(n: int) -> Tensor:
    """Return smooth images of 1×64×64."""
    return 3 * functional.avg_pool2d(torch.randn(n, 1, 64, 64), 5, 1, 2)


def walks(n: int) -> Tensor:
    """Return random walks of 200 steps."""
    return torch.randn(n, 200, 3).cumsum(dim=1) / 10


_NETS = (
    Net(
        "W1",
        "MLP 64-256-256-20, normal head",
        *(lively(dense, 1.6), numbers(64), "normal", 10_000, 512, 3.49),
    ),
    Net(
        "W2",
        "CNN 1×64×64, 32 parameters",
        *(lively(Convolutions, 1.6), grey, "normal", 512, 16, 206),
    ),
    Net(
        "W3",
        "zuko NSF(5 | 10), 256 draws",
        *(lively(flow, 1.5), numbers(10), "flow", 256, 32, 57, 256),
    ),
    Net(
        "W4",
        "ResNet 3×224×224, 1000 classes, top 5",
        *(peaked, pixels, "categorical", 4, 1, 12_757),
    ),
    Net(
        "W5",
        "GRU 3→64, 200 steps, 10 parameters",
        *(Recurrent, walks, "normal", 512, 32, 57),
    ),
    Net(
        "W6",
        "generator 48-128-128-16, 128 draws",
        *(lively(Generator, 1.6), numbers(32), "generator", 512, 32, 92, 128, 16),
    ),
)
NETS = {net.name: net for net in _NETS}


def saved(
    net: Net, model: nn.Module, x: Tensor, folder: Path, **options: object
) -> ScanConfig:
    """Save a network as ONNX and its inputs as npz; return their scan.

    Args:
        net: what it is. model, x: as `made` has them.
        folder: where the two files go.
        options: of the scan; `device` is the model's.
    """
    path, data = folder / "model.onnx", folder / "data.npz"
    np.savez(data, x=x.numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)  # exporters miss packages aloud
        words = _save(net, model, x, path)
        logging.disable(logging.NOTSET)
    found = ModelConfig(str(path), device=str(options.pop("device", "cpu")), **words)
    drawn = {"draws_per_input": net.draws} if net.draws else {}
    asked = ("quantile" if net.kind == "generator" else "kl",)
    settings = {"divergences": asked, "top": TOP, "verify": 0, **drawn, **options}
    return ScanConfig(found, str(data), **settings)


def _save(net: Net, model: nn.Module, x: Tensor, path: Path) -> dict[str, object]:
    """Write the file; return what a scan has to be told about it."""
    if net.kind == "flow":
        export_posterior(model, path, x=x)
        return {}
    names, given = ["x"], (x[:2],)
    if net.noise:
        names, given = ["x", "z"], (x[:2], torch.zeros(2, net.noise))
    rows = torch.export.Dim("rows")
    torch.onnx.export(
        model,
        given,
        str(path),
        input_names=names,
        output_names=["out"],
        dynamic_shapes=tuple({0: rows} for _ in names),
        dynamo=True,
        verbose=False,
    )
    if net.kind == "generator":
        return {"contract": "transport", "noise": "z:normal", "condition": "x"}
    if net.kind == "categorical":
        return {"family": "categorical", "parameters": {"logits": "out"}}
    half = int(model(x[:1]).shape[1]) // 2
    scale = f"softplus(out[:, {half}:]) + {SMALLEST}"
    return {
        "family": "normal",
        "parameters": {"loc": f"out[:, :{half}]", "scale": scale},
    }
