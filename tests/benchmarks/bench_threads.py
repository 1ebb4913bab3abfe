"""Threads: a scan of W1 (or W2's convolutions) with one, and with as many as asked for.

Run: python -m tests.benchmarks.bench_threads [--model w1|w2] [--threads 2] [--rounds 5]

Prints wall and CPU seconds of measuring (not of opening the model), rounds interleaved,
and whether all numbers are the same bytes. On a machine that others use too the wall
time says little. So Linux is asked how long each thread ran or stood in line for a core
while it had a block: the rest it waited for something of ours (the interpreter). What
is left of the threads is how many cores they would keep busy if they had them; with the
ratio of CPU seconds it says how much faster they would be.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from audit.config import ModelConfig, ScanConfig
from audit.ground.machine import usable_cores
from audit.measure import measure
from audit.measure.preparation import Prepared, prepare
from audit.run import work
from audit.run.engines.threads import torch_threads
from audit.run.jobs import job_rows, measured
from audit.run.plan import cut
from tests.benchmarks.workloads import GaussianHead, save_onnx


class Images(nn.Module):
    """W2: three convolutions of stride two and two dense layers, 16 normals."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4096, 128),
            nn.ReLU(),
            nn.Linear(128, 32),
        )

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        loc, log_scale = self.body(x).chunk(2, dim=-1)
        return {"loc": loc, "log_scale": 0.1 * log_scale}


MODELS = {"w1": (GaussianHead, (10_000, 64)), "w2": (Images, (256, 1, 64, 64))}


def opened(name: str, folder: Path) -> tuple[ScanConfig, Prepared]:
    """Save a workload, and open it as a scan does."""
    torch.manual_seed(0)
    make, shape = MODELS[name]
    model, x = make().eval().requires_grad_(False), torch.randn(*shape)
    path = save_onnx(model, x, ["loc", "log_scale"], folder / "model.onnx")
    np.savez(folder / "data.npz", x=x.numpy())
    config = ScanConfig(
        model=ModelConfig(
            path=str(path),
            family="normal",
            parameters={"loc": "loc", "scale": "exp(log_scale)"},
        ),
        data=str(folder / "data.npz"),
        top=5,
    )
    return config, prepare(config, True)


class Watch:
    """`measure`, with the time that threads were busy with blocks, or ready to be."""

    def __init__(self) -> None:
        self.ready = self.within = 0.0

    def __call__(self, *arguments: Any) -> Any:
        began, ready = time.perf_counter(), self._ready()
        try:
            return measure(*arguments)
        finally:
            self.ready += self._ready() - ready
            self.within += time.perf_counter() - began

    @staticmethod
    def _ready() -> float:
        """Return the seconds this thread has run or stood in line for a core."""
        try:
            ran, stood, _ = Path("/proc/thread-self/schedstat").read_text().split()
        except OSError:
            return float("nan")
        return (int(ran) + int(stood)) / 1e9


def run(config: ScanConfig, prepared: Prepared) -> tuple[float, float, float, str]:
    """Measure all rows; return wall and CPU seconds, readiness and a digest."""
    work.measure = watch = Watch()
    jobs = cut(len(prepared.selected), job_rows(config, prepared, False))
    digest = hashlib.sha256()
    with torch_threads(1):
        wall, cpu = time.perf_counter(), time.process_time()
        found = list(measured(config, prepared, jobs, False))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    for answers in found:
        for columns in answers.columns.values():
            for name in sorted(columns):
                digest.update(columns[name].numbers.tobytes())
    return wall, cpu, watch.ready / watch.within, digest.hexdigest()[:12]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sorted(MODELS), default="w1")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config, prepared = opened(asked.model, Path(folder))
        counts = (1, asked.threads)
        times: dict[int, list[tuple[float, ...]]] = {count: [] for count in counts}
        digests = set()
        for _ in range(asked.rounds):
            for count in counts:
                *found, digest = run(replace(config, threads=count), prepared)
                times[count].append(tuple(found))
                digests.add(digest)
    wall_of_one, cpu_of_one, _ = map(statistics.median, zip(*times[1], strict=True))
    for count, rounds in times.items():
        wall, cpu, ready = map(statistics.median, zip(*rounds, strict=True))
        print(
            f"{count} threads: {wall:6.2f} s wall, {cpu:6.2f} s CPU, "
            f"{wall_of_one / wall:.2f} times one thread as it was; ready "
            f"{ready:.0%} of the time: {count * ready * cpu_of_one / cpu:.2f} times "
            "with cores of their own"
        )
    print("all numbers are the same bytes" if len(digests) == 1 else "BYTES DIFFER")


if __name__ == "__main__":
    main()
