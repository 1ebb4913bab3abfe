"""Student-t pairs: the quick rules against the quadrature they stand in for, one run.

Run: python -m tests.benchmarks.bench_student [--pairs 4000]

Prints CPU seconds and ratios, one thread. A table of shapes is filled before the clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from audit.families.continuous import Continuous
from audit.families.integrands import RELATIVE_ENTROPY
from audit.families.student import StudentT, _by_quadrature
from audit.families.student_shapes import shape_distance
from audit.families.student_trapezoid import trapezoidal

PERTURBATIONS = 64  # of each law


def clocked(function: Callable[[], Tensor]) -> tuple[Tensor, float]:
    begun = time.process_time()
    return function(), time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=4000)
    count = parser.parse_args().pairs
    torch.manual_seed(0)
    torch.set_num_threads(1)
    size = (3, count // PERTURBATIONS)
    laws = (
        torch.randn(size, dtype=torch.float64)
        .exp()
        .repeat_interleave(PERTURBATIONS, dim=1)
    )
    laws[0] += 2.3
    moved = laws * (0.05 * torch.randn_like(laws)).exp()
    moved[0] = 2 + (laws[0] - 2) * (moved[0] / laws[0])
    left, right = tuple(laws), tuple(moved)
    family = StudentT(dict.fromkeys(("df", "loc", "scale"), ()))
    heavy, light = torch.minimum(laws[0], moved[0]), torch.maximum(laws[0], moved[0])
    shape_distance(heavy, light, _by_quadrature)
    rules = {
        "kl": (
            lambda: trapezoidal(left, right, RELATIVE_ENTROPY),
            lambda: Continuous._divergence(family, left, right, RELATIVE_ENTROPY),
        ),
        "quantile": (
            lambda: shape_distance(heavy, light, _by_quadrature),
            lambda: _by_quadrature(heavy, light),
        ),
    }
    for name, pair in rules.items():
        (ours, quick), (theirs, slow) = map(clocked, pair)
        apart = (ours / theirs - 1).abs()
        print(
            f"{name:9} {quick:7.3f} s against {slow:7.3f} s, ratio {quick / slow:.4f}; "
            f"trusted {float((~apart.isnan()).double().mean()):.3f}, median difference "
            f"{float(apart.nanmedian()):.1e}"
        )


if __name__ == "__main__":
    main()
