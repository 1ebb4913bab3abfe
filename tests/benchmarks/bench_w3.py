"""W3: trace, 5 eigenvalues and eigenvectors of F_x from 256 draws of a zuko flow.

Run: python -m tests.benchmarks.bench_w3 [--rounds 5] [--inputs 256]

The flow is NSF(5, context 10, 3 transforms, 64×64). Prints CPU seconds (one thread,
rounds interleaved) and ratios: robaudit from the saved ONNX file against eager zuko
with its own draws, x repeated and one backward pass for all rows of a chunk, and
against `torch.func` vmap(grad); both with the Gram matrix on the smaller side, d×d.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.func import grad, vmap

from audit.geometry.pullback import pull_back
from audit.linalg.decompose import decompose
from audit.measure.preparation import Prepared
from audit.nodes.noise import Noise
from tests.benchmarks.flows import (
    DRAWS,
    Case,
    Posterior,
    blocks,
    measured,
    none,
    opened,
    saved,
)

TOP = 5
CHUNK = 32  # inputs of the peers, 8192 rows: as fast as 8, 16 and 64 or faster
W3 = Case(none, (10,), "NSF", 5, 10, 3, (64, 64))
Scores = Callable[[Posterior, Tensor, Tensor], Tensor]  # θ [S, N, n], x -> [S, N, d]


def one_backward(model: Posterior, theta: Tensor, x: Tensor) -> Tensor:
    rows = x.expand(len(theta), *x.shape).reshape(-1, x.shape[1]).requires_grad_()
    total = model(rows).log_prob(theta.flatten(0, 1)).sum()
    (found,) = torch.autograd.grad(total, rows)
    return found.reshape(len(theta), *x.shape)


def vmap_grad(model: Posterior, theta: Tensor, x: Tensor) -> Tensor:
    def log_q(x: Tensor, theta: Tensor) -> Tensor:
        return model(x).log_prob(theta)

    return vmap(vmap(grad(log_q)), in_dims=(None, 0))(x, theta)


def peer(model: Posterior, x: Tensor, scores: Scores) -> Tensor:
    values = []
    for part in x.split(CHUNK):
        with torch.no_grad():
            theta = model(part).sample((DRAWS,))
        rows = scores(model, theta, part)
        centred = rows - rows.mean(dim=0)
        gram = torch.einsum("snd,sne->nde", centred, centred) / (DRAWS - 1)
        eigenvalues, _ = torch.linalg.eigh(gram.double())
        values.append(eigenvalues[:, -TOP:].flip(-1))
    return torch.cat(values)


def same_question(prepared: Prepared) -> Tensor:
    """Trace, eigenvalues and directions, with standard errors and the bracket."""
    model, questions, values = prepared.model, prepared.questions, []
    for rows in blocks(prepared):
        phi, jacobian = model.density.parameter_map.linearize(*model.rows(rows))
        family, (kl,) = model.density.family, questions.divergences
        framed = questions.frame.pull(jacobian)
        form = pull_back(kl, family, phi, framed, Noise(0, rows, DRAWS, "auto"))
        values.append(decompose(form, TOP).eigenvalues[:, :TOP])
    return torch.cat(values)


def whole_measurement(prepared: Prepared) -> Tensor:
    """Everything a scan asks of an input."""
    chunks = measured(prepared)
    return torch.cat([torch.from_numpy(chunk.eigenvalues["kl"]) for chunk in chunks])


def cpu_seconds(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inputs", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # the exporter misses torchvision aloud
    with tempfile.TemporaryDirectory() as folder:
        model, x, path = saved(W3, options.inputs, Path(folder))
        prepared = opened(path, top=TOP)
    works = {
        "robaudit": lambda: same_question(prepared),
        "robaudit, all columns": lambda: whole_measurement(prepared),
        "one backward, x repeated": lambda: peer(model, x, one_backward),
        "vmap(grad)": lambda: peer(model, x, vmap_grad),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    traces: dict[str, float] = {}
    for _ in range(options.rounds):
        for name, work in works.items():
            seconds, values = cpu_seconds(work)
            times[name].append(seconds)
            traces[name] = float(values.double().sum(dim=1).mean())
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        pairs = zip(times["robaudit"], seconds, strict=True)
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        print(
            f"{name:26} {middle:7.2f} s, robaudit / it {ratio:5.2f}, "
            f"mean of the sum of 5 eigenvalues {traces[name]:.4f}"
        )


if __name__ == "__main__":
    main()
