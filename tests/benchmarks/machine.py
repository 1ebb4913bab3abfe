"""The machine of a benchmark: one processor, what it can do, and how busy it is."""

from __future__ import annotations

import os
import time
from importlib.metadata import PackageNotFoundError, version

SIZE = 1024  # of the matrices
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def one_processor() -> None:
    """Keep this process on one processor; before torch and JAX are imported."""
    for name in THREADS:
        os.environ[name] = "1"
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    os.environ["JAX_PLATFORMS"] = "cpu"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def peak() -> float:
    """Return the GFLOP/s of a product of two float32 matrices, the best of 9."""
    import torch

    torch.set_num_threads(1)
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    best = float("inf")
    for _ in range(9):
        began = time.process_time()
        _ = a @ b
        best = min(best, time.process_time() - began)
    return 2 * SIZE**3 / best / 1e9


def load() -> float:
    """Return how many processes wanted a processor in the last minute."""
    return os.getloadavg()[0]


def versions(*names: str) -> str:
    """Return names with their versions, those that are installed."""
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
