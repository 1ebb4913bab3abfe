"""Flows of zuko behind an embedding of a million multiply-adds, saved and opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from audit.config import ModelConfig, ScanConfig
from audit.export import export_posterior
from audit.measure import Answers, measure
from audit.measure.preparation import Prepared, prepare

DRAWS = 256


def mlp(context: int) -> nn.Module:
    """256 numbers -> context by 1.05 million multiply-adds."""
    return nn.Sequential(
        nn.Linear(256, 1024),
        nn.ReLU(),
        nn.Linear(1024, 768),
        nn.ReLU(),
        nn.Linear(768, context),
    )


def cnn(context: int) -> nn.Module:
    """1×32×32 pixels -> context by 1.25 million multiply-adds."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2),
        nn.SiLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(1024, 512),
        nn.SiLU(),
        nn.Linear(512, context),
    )


def none(context: int) -> nn.Module:
    """x is the context itself."""
    return nn.Identity()


@dataclass(frozen=True)
class Case:
    """An embedding with the shape it takes, and a flow.

    Args:
        flow: zuko's name. features: the numbers of θ. context: those of h(x).
    """

    embedding: Callable[[int], nn.Module]
    event: tuple[int, ...]
    flow: str
    features: int
    context: int
    transforms: int
    hidden: tuple[int, ...]


class Posterior(nn.Module):
    """q(θ | x): an embedding before a flow."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        import zuko

        self.embedding = case.embedding(case.context)
        self.flow = getattr(zuko.flows, case.flow)(
            case.features,
            case.context,
            transforms=case.transforms,
            hidden_features=case.hidden,
        )
        for layer in self.embedding.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)  # h is of the size of x

    def forward(self, x: Tensor) -> Distribution:
        return self.flow(self.embedding(x))


def saved(case: Case, inputs: int, folder: Path) -> tuple[Posterior, Tensor, Path]:
    """Save a model.onnx and its data.npz; return the module, x and the file."""
    torch.manual_seed(0)
    model = Posterior(case).eval().requires_grad_(False)
    x = torch.randn(inputs, *case.event)
    path = export_posterior(model, folder / "model.onnx", x=x)
    np.savez(folder / "data.npz", x=x.numpy())
    return model, x, path


def opened(path: Path, bottleneck: str = "auto", top: int = 3) -> Prepared:
    """Open the saved file with its data, for KL and the default attacks."""
    config = ScanConfig(
        model=ModelConfig(path=str(path)),
        data=str(path.with_name("data.npz")),
        divergences=("kl",),
        draws_per_input=DRAWS,
        bottleneck=bottleneck,
        verify=0,
        top=top,
    )
    return prepare(config, keep_directions=True)


def blocks(prepared: Prepared) -> list[np.ndarray]:
    """The row numbers of each of the scan's blocks."""
    count = prepared.model.inputs.n
    return np.split(np.arange(count), range(prepared.block, count, prepared.block))


def measured(prepared: Prepared) -> list[Answers]:
    """Everything a scan asks of each input."""
    model, questions, block = prepared.model, prepared.questions, prepared.block
    return [measure(model, questions, rows, block) for rows in blocks(prepared)]
