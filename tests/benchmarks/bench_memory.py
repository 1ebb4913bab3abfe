"""Peak memory and time of a scan as the number of inputs grows: rows of 10 features.

Run: python -m tests.benchmarks.bench_memory [--sizes 1000,100000] [--verify 64]

Each scan is a process of its own; its peak is the largest resident set the kernel saw
(`ru_maxrss`), which counts mapped pages too. A process begins with the peak
of the one that began it, so a small one is put between. With and without a rows file.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.benchmarks.workloads import save_onnx

FEATURES = 10
SIZES = (10**3, 10**5, 10**6, 10**7)
AT_ONCE = 10**5
WATCHED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss, used.ru_utime + used.ru_stime)
"""


class Small(nn.Module):
    """10-16-4 with a normal head of two coordinates."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(FEATURES, 16), nn.Tanh(), nn.Linear(16, 4))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        loc, log_scale = self.body(x).chunk(2, dim=-1)
        return {"loc": loc, "scale": (0.1 * log_scale).exp()}


def write_rows(path: Path, n: int) -> None:
    """Write [n, 10] normal numbers in single precision, a part at a time."""
    generator = np.random.default_rng(0)
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n, FEATURES)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, n, AT_ONCE):
            rows = min(AT_ONCE, n - start)
            part = generator.standard_normal((rows, FEATURES), dtype=np.float32)
            file.write(part.tobytes())


def scanned(folder: Path, n: int, verify: str, rows: bool) -> tuple[float, float]:
    """Scan n inputs; return the peak in MiB and the seconds of CPU."""
    command = [sys.executable, "-m", "audit", "scan", "model.onnx", f"{n}.npy"]
    command += ["--no-progress", "-q", "-o", "report.json", "--verify", verify]
    command += ["--family", "normal", "-o", "rows.npz"][: 4 if rows else 2]
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root}
    watched = [sys.executable, "-S", "-c", WATCHED, *command]
    done = subprocess.run(
        watched, cwd=folder, env=environment, stdout=subprocess.PIPE, check=True
    )
    peak, seconds = map(float, done.stdout.split())
    return peak / 1024, seconds


def write_model(folder: Path) -> None:
    """Save the network as model.onnx."""
    torch.manual_seed(0)
    net, x = Small().eval().requires_grad_(False), torch.randn(4, FEATURES)
    save_onnx(net, x, ["loc", "scale"], folder / "model.onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--verify", default="0")
    parser.add_argument("--rows", choices=("no", "yes", "both"), default="both")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder)
        print(
            f"{'inputs':>10} {'rows file':>9} {'peak MiB':>9} "
            f"{'CPU s':>8} {'wall s':>8}"
        )
        for n in map(int, asked.sizes.split(",")):
            write_rows(folder / f"{n}.npy", n)
            for rows in {"no": [False], "yes": [True]}.get(asked.rows, [False, True]):
                start = time.perf_counter()
                peak, cpu = scanned(folder, n, asked.verify, rows)
                wall = time.perf_counter() - start
                said = "yes" if rows else "no"
                print(
                    f"{n:>10} {said:>9} {peak:9.0f} {cpu:8.1f} {wall:8.1f}", flush=True
                )
            (folder / f"{n}.npy").unlink()
            (folder / "rows.npz").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
