"""The bottleneck: an embedding once for each input, against once for each draw.

Run: python -m tests.benchmarks.bench_bottleneck [--rounds 5] [--case mlp-maf-small]

Each case is saved as one ONNX file, opened with `--bottleneck auto` and with `off`, and
measured with S = 256 draws by what a scan runs on its blocks. Prints CPU seconds (one
thread, rounds interleaved, loading not counted), the median ratio of the rounds, and
how far any column is apart, of its largest number. `limit` is what the ratio would be
if the embedding cost nothing: what is left is the flow, once for each draw.

Exits with 1 where the numbers are not equal to rounding, or no case is 20 times faster.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from audit.measure import Answers, joined
from audit.measure.preparation import Prepared
from tests.benchmarks.flows import Case, blocks, cnn, measured, mlp, opened, saved

GOAL, SAME = 20.0, 1e-4
SIZES = {"small": (2, 1, (32,)), "medium": (3, 2, (32, 32)), "large": (5, 3, (64, 64))}
CASES = {
    f"{name}-{flow.lower()}-{size}": Case(make, event, flow, n, 8, transforms, hidden)
    for name, make, event in (("mlp", mlp, (256,)), ("cnn", cnn, (1, 32, 32)))
    for flow in ("MAF", "NSF")
    for size, (n, transforms, hidden) in SIZES.items()
}


def seconds_of(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def embeddings(prepared: Prepared) -> None:
    """What the bottleneck path does before the flow: h and its Jacobian."""
    model = prepared.model
    for rows in blocks(prepared):
        model.density.parameter_map.linearize(*model.rows(rows))[1].dense()


def apart(ours: list[Answers], plain: list[Answers]) -> float:
    """The largest difference of a column, of its largest number."""
    worst = 0.0
    for name in ("trace", "trace_se", "eigenvalue", "gaussian", "uniform_norm"):
        a, b = (
            joined(answers).columns["kl"][name].numbers for answers in (ours, plain)
        )
        worst = max(worst, float(np.abs(a - b).max() / np.abs(b).max()))
    return worst


def compare(name: str, inputs: int, rounds: int) -> tuple[float, float]:
    """Print a line of the table; return the ratio and the distance."""
    with tempfile.TemporaryDirectory() as folder:
        _, _, path = saved(CASES[name], inputs, Path(folder))
        auto, off = opened(path), opened(path, "off")
    difference = apart(measured(auto), measured(off))  # warms both up
    times = [
        (
            seconds_of(lambda: measured(auto)),
            seconds_of(lambda: embeddings(auto)),
            seconds_of(lambda: measured(off)),
        )
        for _ in range(rounds)
    ]
    ours, _, plain = (statistics.median(side) for side in zip(*times, strict=True))
    ratio = statistics.median(theirs / mine for mine, _, theirs in times)
    limit = statistics.median(theirs / (mine - h) for mine, h, theirs in times)
    print(
        f"{name:16} off {plain:7.3f} s, auto {ours:7.3f} s, ratio {ratio:5.1f} "
        f"(limit {limit:5.1f}), numbers {difference:.0e} apart",
        flush=True,
    )
    return ratio, difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inputs", type=int, default=64)
    parser.add_argument("--case", choices=CASES, action="append")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # the exporter misses torchvision aloud
    names = options.case or CASES
    found = [compare(name, options.inputs, options.rounds) for name in names]
    good = max(ratio for ratio, _ in found) >= GOAL
    sys.exit(not (good and all(difference <= SAME for _, difference in found)))


if __name__ == "__main__":
    main()
