"""Boxes of a network's outputs over balls: ours against auto_LiRPA's CROWN, one run.

Run: python -m tests.benchmarks.bench_lirpa [--inputs 16]

In an environment of its own that has both, as auto_LiRPA asks for more packages than we
do. Its networks are written here in torch, with the weights of the ONNX files, and both
sides compute in float64. Prints the ratio of widths, ours to theirs, in the median over
outputs and inputs with its extremes, and milliseconds an input of CPU time, one thread.
Ours are raised over rounding, theirs are not. Points of the balls that fall outside of
either box are counted, too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from audit.config import ModelConfig, ScanConfig
from audit.measure.preparation import prepare
from audit.models.enclosing import centred
from audit.verify.sites import precise, site_of

SAMPLES = Path(__file__).parents[2] / "sample_models"
SIZES = {"heteroscedastic": (0.01, 0.03, 0.1, 0.3), "digits_cnn": (0.003, 0.01, 0.03)}
POWERS = {"l2": 2.0, "linf": float("inf")}
Boxes = tuple[Tensor, Tensor]


def weights(name: str) -> dict[str, Tensor]:
    """Return the constants of a sample's ONNX file in float64."""
    found = onnx.load(str(SAMPLES / f"{name}.onnx")).graph.initializer
    return {v.name: torch.from_numpy(numpy_helper.to_array(v).copy()) for v in found}


def dense(weight: Tensor, bias: Tensor) -> nn.Module:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight, bias
    return layer


def heteroscedastic() -> nn.Module:
    w = weights("heteroscedastic")
    heads = ("loc", "log_scale")
    return nn.Sequential(
        dense(w["body.0.weight"], w["body.0.bias"]),
        nn.SiLU(),
        dense(w["body.2.weight"], w["body.2.bias"]),
        nn.SiLU(),
        dense(
            torch.cat([w[f"{head}.weight"] for head in heads]),
            torch.cat([w[f"{head}.bias"] for head in heads]),
        ),
    ).double()


def digits_cnn() -> nn.Module:
    w = weights("digits_cnn")
    norm = nn.BatchNorm2d(1).eval()
    norm.weight.data, norm.bias.data = w["features.0.weight"], w["features.0.bias"]
    norm.running_mean = w["features.0.running_mean"]
    norm.running_var = w["features.0.running_var"]
    layers: list[nn.Module] = [norm]
    for at in ("features.1", "features.5"):
        weight = w[f"{at}.weight"]
        layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
        layer.weight.data, layer.bias.data = weight, w[f"{at}.weight_bias"]
        layers += [layer, nn.ReLU(), nn.MaxPool2d(2)]
    head = dense(w["head.weight"], w["head.bias"])
    return nn.Sequential(*layers, nn.Flatten(), head).double().eval()


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "heteroscedastic": heteroscedastic,
    "digits_cnn": digits_cnn,
}


def ours(name: str, count: int) -> Callable[[float, float], Boxes]:
    """Return (ε, p) -> the ends of every output [n, q]."""
    model = ModelConfig(str(SAMPLES / f"{name}.onnx"))
    config = ScanConfig(model=model, data=str(SAMPLES / f"{name}.npz"), verify=0)
    prepared = prepare(replace(config, divergences=("kl",)), False)
    wide, _ = precise(prepared.model)
    site = site_of(wide, prepared.questions, prepared.rows[:count])
    frame = site.questions.frame
    centre = centred(wide, site.x, {}, frame.free, frame.unit.double())

    def boxes(size: float, power: float) -> Boxes:
        with torch.no_grad():
            reach = torch.full((count,), size, dtype=torch.float64)
            found = centre.within(reach, power)
            eye = torch.eye(found.centre.shape[1], dtype=torch.float64).unsqueeze(1)
            top = found.relaxed.upper(found.at, torch.cat([eye, -eye])).top()
            above, below = top.chunk(2)
        return -below.T, above.T

    return boxes


def theirs(network: nn.Module, x: Tensor) -> Callable[[float, float], Boxes]:
    """Return (ε, p) -> the ends of every output [n, q], by CROWN."""
    from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

    torch.set_default_dtype(torch.float64)  # of the tables that it makes of curves
    bounded: Any = BoundedModule(network, x, device="cpu")
    torch.set_default_dtype(torch.float32)

    def boxes(size: float, power: float) -> Boxes:
        torch.set_default_dtype(torch.float64)
        ball = PerturbationLpNorm(norm=power, eps=size)
        low, high = bounded.compute_bounds(x=(BoundedTensor(x, ball),), method="CROWN")
        torch.set_default_dtype(torch.float32)
        return low.detach(), high.detach()

    return boxes


def outside(network: nn.Module, x: Tensor, boxes: Boxes, size: float, p: float) -> int:
    """Return how many of 100 points of each ball's surface leave a box."""
    rng = torch.Generator().manual_seed(0)
    shape = (len(x), 100, x[0].numel())
    u = torch.randn(shape, generator=rng, dtype=torch.float64)
    u = u / torch.linalg.vector_norm(u, ord=p, dim=2, keepdim=True) * size
    moved = x.unsqueeze(1) + u.reshape(len(x), 100, *x.shape[1:])
    with torch.no_grad():
        y = network(moved.flatten(0, 1)).reshape(len(x), 100, -1)
    low, high = (end.unsqueeze(1) for end in boxes)
    slack = 1e-12 * (1 + y.abs())
    return int(((y < low - slack) | (y > high + slack)).any(dim=2).sum())


def clocked(run: Callable[[float, float], Boxes], *at: float) -> tuple[Boxes, float]:
    """Return the boxes of a second call, and its CPU milliseconds."""
    run(*at)
    begun = time.process_time()
    found = run(*at)
    return found, 1e3 * (time.process_time() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=16)
    count = parser.parse_args().inputs
    torch.set_num_threads(1)
    for name, make in NETWORKS.items():
        network = make()
        with np.load(SAMPLES / f"{name}.npz") as data:
            x = torch.from_numpy(data["x"][:count].astype(np.float64))
        own, other = ours(name, count), theirs(network, x)
        for norm, power in POWERS.items():
            for size in SIZES[name]:
                one, quick = clocked(own, size, power)
                two, slow = clocked(other, size, power)
                ratio = ((one[1] - one[0]) / (two[1] - two[0])).flatten()
                left = [outside(network, x, box, size, power) for box in (one, two)]
                print(
                    f"{name:16} {norm:5} {size:6g}: width {float(ratio.median()):.4f} "
                    f"({float(ratio.min()):.3f} to {float(ratio.max()):.3f}) of theirs;"
                    f" {quick / count:.2f} against {slow / count:.2f} ms an input; "
                    f"outside {left[0]} and {left[1]}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
