"""W1: trace, 5 eigenvalues and eigenvectors of F_x for 10,000 inputs of an MLP head.

Run: python -m tests.benchmarks.bench_w1 [--rounds 5]

Prints CPU seconds and ratios, one thread, rounds interleaved: robaudit from the saved
ONNX file against a loop of `torch.autograd.functional.jacobian` + `eigh` of F_x (on a
subset, scaled up) and against `torch.func` vmap(jacrev) with the Gram trick.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.func import jacrev, vmap

from audit.config import ModelConfig, ScanConfig
from audit.geometry.pullback import pull_back
from audit.linalg.decompose import decompose
from audit.measure import measure
from audit.measure.preparation import Prepared, prepare
from audit.nodes.noise import Noise
from tests.benchmarks.workloads import GaussianHead, save_onnx

N, D, TOP = 10_000, 64, 5
LOOPED = 100  # inputs of the slow peer


def parameters(model: torch.nn.Module, x: Tensor) -> Tensor:
    out = model(x)
    return torch.cat([out["loc"], out["log_scale"].exp()], dim=-1)


def root_of(phi: Tensor) -> Tensor:
    scale = phi[..., 10:]
    return torch.cat([1 / scale, 2**0.5 / scale], dim=-1)


def loop_eigh(model: torch.nn.Module, x: Tensor) -> Tensor:
    values = []
    for row in x[:LOOPED]:
        jacobian = torch.autograd.functional.jacobian(
            lambda r: parameters(model, r), row
        )
        root = root_of(parameters(model, row))[:, None] * jacobian
        eigenvalues, _ = torch.linalg.eigh(root.T @ root)
        values.append(eigenvalues[-TOP:])
    return torch.stack(values)


def vmap_gram(model: torch.nn.Module, x: Tensor) -> Tensor:
    values = []
    for chunk in x.split(512):
        jacobian = vmap(jacrev(lambda r: parameters(model, r)))(chunk)
        root = root_of(parameters(model, chunk)).unsqueeze(-1) * jacobian
        eigenvalues, vectors = torch.linalg.eigh(root @ root.mT)
        directions = root.mT @ vectors[:, :, -TOP:]
        directions / directions.norm(dim=1, keepdim=True)
        values.append(eigenvalues[:, -TOP:])
    return torch.cat(values)


def same_question(prepared: Prepared, swept: bool = True) -> Tensor:
    """Trace, eigenvalues and directions, as the peers give them."""
    model, questions = prepared.model, prepared.questions
    values = []
    for rows in np.split(np.arange(N), range(prepared.block, N, prepared.block)):
        linear = model.swept if swept else model.density.parameter_map
        phi, jacobian = linear.linearize(*model.rows(rows))
        noise = Noise(0, rows, 1)
        family, (kl,) = model.density.family, questions.divergences
        spectrum = decompose(pull_back(kl, family, phi, jacobian, noise), TOP)
        values.append(spectrum.eigenvalues[:, :TOP])
    return torch.cat(values)


def whole_measurement(prepared: Prepared) -> Tensor:
    """Everything a scan asks of an input: attacks, chain, radius, checks too."""
    values = []
    for rows in np.split(np.arange(N), range(prepared.block, N, prepared.block)):
        chunk = measure(prepared.model, prepared.questions, rows, prepared.block)
        values.append(torch.from_numpy(chunk.eigenvalues["kl"]))
    return torch.cat(values)


def cpu_seconds(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, x = GaussianHead().eval().requires_grad_(False), torch.randn(N, D)
    with tempfile.TemporaryDirectory() as folder:
        path = save_onnx(model, x, ["loc", "log_scale"], Path(folder) / "w1.onnx")
        data = Path(folder) / "w1.npz"
        np.savez(data, x=x.numpy())
        config = ScanConfig(
            model=ModelConfig(
                path=str(path),
                family="normal",
                parameters={"loc": "loc", "scale": "exp(log_scale)"},
            ),
            data=str(data),
            divergences=("kl",),
            top=TOP,
        )
        prepared = prepare(config, keep_directions=True)
        plain = replace(prepared, model=replace(prepared.model, swept=None))
        works = {
            "robaudit": lambda: same_question(prepared),
            "by autograd": lambda: same_question(prepared, swept=False),
            "robaudit, all columns": lambda: whole_measurement(prepared),
            "all columns, autograd": lambda: whole_measurement(plain),
            "vmap(jacrev) + Gram": lambda: vmap_gram(model, x),
            "loop + eigh": lambda: loop_eigh(model, x),
        }
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(rounds):
            for name, work in works.items():
                seconds, values = cpu_seconds(work)
                times[name].append(seconds * (N / LOOPED if "loop" in name else 1))
                top = values[:LOOPED].max(dim=1).values.double().mean()
        ours = statistics.median(times["robaudit"])
        for name, seconds in times.items():
            middle = statistics.median(seconds)
            print(f"{name:22} {middle:8.2f} s   {middle / ours:6.2f} x robaudit")
        print(f"mean top eigenvalue of the last run's first {LOOPED}: {top:.6f}")


if __name__ == "__main__":
    main()
