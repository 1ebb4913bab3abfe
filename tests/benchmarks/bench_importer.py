"""The ONNX importer: time to load a graph, and Jacobians against the eager module's.

Run: python -m tests.benchmarks.bench_importer [--rounds 15] [--head gru]

Prints what loading a graph of 50 nodes costs beyond reading its protobuf (at most
0.3 s) and, for each head, CPU seconds of the Jacobian of every row (one backward pass
an output, as the engine does it): eager and imported in turn, one thread, medians and
the median ratio of the rounds (at most 1.10). Exits with 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import copy
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from audit.importer import load_graph
from tests.benchmarks.workloads import save_onnx

RATIO, SECONDS = 1.10, 0.3
Function = Callable[[Tensor], Tensor]


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 256),
        nn.ReLU(),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Linear(256, 20),
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 32),
    )


class Series(nn.Module):
    """A GRU over 200 steps, read out at the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.GRU(3, 64, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


HEADS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (512, 64)),
    "cnn": (cnn, (8, 1, 64, 64)),
    "gru": (Series, (32, 200, 3)),
}


def jacobian(function: Function, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    outputs = function(x).sum(0)
    passes = [torch.autograd.grad(out, x, retain_graph=True)[0] for out in outputs]
    return torch.stack(passes, 1)


def fifty_nodes() -> onnx.ModelProto:
    """Ten blocks of Gemm, Relu, Shape, Reshape and Mul."""
    nodes, constants, here = [], [], "x"
    for i in range(10):
        for op, inputs, output in (
            ("Gemm", [here, f"w{i}"], f"a{i}"),
            ("Relu", [f"a{i}"], f"b{i}"),
            ("Shape", [f"b{i}"], f"s{i}"),
            ("Reshape", [f"b{i}", f"s{i}"], f"c{i}"),
            ("Mul", [f"c{i}", f"a{i}"], f"d{i}"),
        ):
            nodes.append(helper.make_node(op, inputs, [output]))
        weight = np.random.default_rng(i).standard_normal((64, 64))
        constants.append(numpy_helper.from_array(weight.astype(np.float32), f"w{i}"))
        here = f"d{i}"
    graph = helper.make_graph(
        nodes,
        "fifty",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info(here, TensorProto.FLOAT, ["n", 64])],
        constants,
    )
    imports = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def seconds_of(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def loading(folder: Path, rounds: int) -> float:
    """Seconds that loading costs beyond parsing: the first time, and in the median."""
    path = folder / "fifty.onnx"
    onnx.save(fifty_nodes(), path)
    onnx.load(path)  # what a first call of onnx costs is not the importer's
    gaps = [
        seconds_of(lambda: load_graph(path)) - seconds_of(lambda: onnx.load(path))
        for _ in range(rounds)
    ]
    middle = statistics.median(gaps)
    print(f"load 50 nodes: first {gaps[0]:.4f} s, median {middle:.4f} s over parsing")
    return max(gaps[0], middle)


def ratio_of(name: str, folder: Path, rounds: int) -> float:
    make, shape = HEADS[name]
    torch.manual_seed(0)
    module, x = make().eval().requires_grad_(False), torch.randn(shape)
    graph = load_graph(save_onnx(module, x, ["y"], folder / f"{name}.onnx"))

    def imported(x: Tensor) -> Tensor:
        (y,) = graph(x)
        assert isinstance(y, Tensor)
        return y

    jacobian(module, x), jacobian(imported, x)  # warms both up
    wide = graph.to(dtype=torch.float64)
    a = jacobian(copy.deepcopy(module).double(), x[:2].double())
    b = jacobian(lambda x: wide(x)[0], x[:2].double())  # type: ignore[arg-type]
    apart = float((a - b).norm() / a.norm())
    pairs = []
    for number in range(rounds):
        sides = [module, imported] if number % 2 else [imported, module]
        times = {f: seconds_of(lambda f=f: jacobian(f, x)) for f in sides}
        pairs.append((times[module], times[imported]))
    eager, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(mine / theirs for theirs, mine in pairs)
    print(
        f"{name}: eager {eager:.4f} s, imported {ours:.4f} s, ratio {ratio:.3f}, "
        f"Jacobians {apart:.0e} apart in float64"
    )
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--head", choices=HEADS, action="append")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # the exporter misses torchvision aloud
    with tempfile.TemporaryDirectory() as folder:
        good = loading(Path(folder), options.rounds) <= SECONDS
        for name in options.head or HEADS:
            good &= ratio_of(name, Path(folder), options.rounds) <= RATIO
    sys.exit(not good)


if __name__ == "__main__":
    main()
