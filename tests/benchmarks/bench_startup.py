"""What a scan of 100 inputs costs beside importing the libraries that it stands on.

Run: python -m tests.benchmarks.bench_startup [--rounds 7]

Every command is a process of its own, in turn, one thread; CPU seconds of user and
system, its children included, medians of the rounds, and ratios to the bare imports in
the same run. Modules are compiled before the first round, as an installer does it, into
a folder of this benchmark: `PYTHONDONTWRITEBYTECODE` would have each process compile a
source tree anew. The model is W1 (`nets`): 64 numbers, 10 normal coordinates.

"--verify 0" is the start-up itself; "64 checked inputs" is the default, which searches
their worst cases, radii and validity.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

INPUTS = 100
IMPORTS = "import torch, onnx, onnxruntime"
GOAL = 1.15  # times the bare imports
PREPARE = """
import sys
from pathlib import Path
from tests.benchmarks.nets import NETS, saved
net = NETS["W1"]
saved(net, *net.made(int(sys.argv[2])), Path(sys.argv[1]))
"""
HEAD = {"loc": "out[:, :10]", "scale": "softplus(out[:, 10:]) + 0.001"}


def commands(folder: Path) -> dict[str, list[str]]:
    """Return what is compared, the bare imports first."""
    python = sys.executable
    scan = [python, "-m", "audit", "scan", "model.onnx", "data.npz", "--top", "5"]
    scan += ["--divergence", "kl", "--family", "normal"]
    for name, expression in HEAD.items():
        scan += ["--param", f"{name}={expression}"]
    written = ["-o", str(folder / "report.json"), "-o", str(folder / "report.html")]
    return {
        IMPORTS: [python, "-c", IMPORTS],
        "scan --verify 0": [*scan, "--verify", "0"],
        "scan --verify 0, JSON and HTML": [*scan, "--verify", "0", *written],
        "scan, 64 checked inputs": scan,
        "audit --help": [python, "-m", "audit", "--help"],
    }


def spent(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> float:
    """Return the CPU seconds of a process and its children.

    Raises:
        CalledProcessError: it failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def surroundings(folder: Path) -> dict[str, str]:
    """Return the environment of the processes: one thread, modules compiled once."""
    own = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    own["OMP_NUM_THREADS"] = "1"
    own["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    tree = str(Path(__file__).parents[2])
    own["PYTHONPATH"] = os.pathsep.join([tree, *filter(None, [own.get("PYTHONPATH")])])
    return own


def measured(rounds: int) -> dict[str, list[float]]:
    """Return CPU seconds of every command, round by round."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = surroundings(folder)
        prepare = [sys.executable, "-c", PREPARE, name, str(INPUTS)]
        spent(prepare, folder, environment)
        asked = commands(folder)
        for command in asked.values():
            spent(command, folder, environment)
        found: dict[str, list[float]] = {label: [] for label in asked}
        for _ in range(rounds):
            for label, command in asked.items():
                found[label].append(spent(command, folder, environment))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    found = measured(parser.parse_args().rounds)
    bare = found[IMPORTS]
    print(f"{'':34} CPU-s  ÷ imports  (least, most)")
    for label, seconds in found.items():
        ratios = [own / base for own, base in zip(seconds, bare, strict=True)]
        ratio = statistics.median(seconds) / statistics.median(bare)
        print(
            f"{label:34} {statistics.median(seconds):5.2f}  {ratio:9.2f}  "
            f"({min(ratios):.2f}, {max(ratios):.2f})"
        )
    print(f"goal: a scan at most {GOAL} times the imports")


if __name__ == "__main__":
    main()
