"""Is the accelerator right, and how fast is it? One command of under five minutes.

    python -m tests.device.check --device cuda [--files FOLDER]

1. Every sample model is measured here and on the device in double precision, where all
   columns have to agree, and scanned whole in the file's own precision, where trace and
   eigenvalue have to. The noise is the same on both, so sampled numbers agree as well.
2. W1 to W6 of the benchmarks, among them a net of a thousand classes: eigenvalues have
   to agree, and inputs per second are printed for both.
3. On CUDA: how often a block makes the device wait for the host.

`--device cpu` holds the CPU against itself: then everything has to be equal. Exported
networks are kept in `--files`, and taken from there if they are there already. Exit
code 1: something differs. 2: `--seconds` were over before all of it was done.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import nullcontext
from itertools import chain
from pathlib import Path

from tests.device.samples import sample_models
from tests.device.workloads import workloads


def main() -> int:
    """Print what was found; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--files", type=Path)
    parser.add_argument("--seconds", type=float, default=290)
    options = parser.parse_args()
    began, wrong = time.monotonic(), []
    kept = (
        nullcontext(options.files) if options.files else tempfile.TemporaryDirectory()
    )
    with kept as folder:
        done = True
        workload = workloads(options.device, Path(folder))
        for line, fault in chain(workload, sample_models(options.device)):
            spent = time.monotonic() - began
            print(f"{spent:5.0f} s  {line}", flush=True)
            wrong += [fault] if fault else []
            if spent > options.seconds:
                done = False
                break
    print("\n".join(wrong) or "all of this agrees")
    if not done:
        print(f"the {options.seconds:g} seconds were over before all was done")
    return 1 if wrong else 0 if done else 2


if __name__ == "__main__":
    sys.exit(main())
