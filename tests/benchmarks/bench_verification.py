"""What the two-sided answer costs: a scan with it against the same scan without it.

Run: python -m tests.benchmarks.bench_verification [--rounds 5] [--only NAME] [--parts]
     python -m tests.benchmarks.bench_verification --measuring [--verify 16]

Prints CPU seconds of whole scans in this process, one thread, rounds interleaved, of
the sample models whose exact divergence is a closed form, with the default 64 checked
inputs. "without" is the scan with exact values along ±v and of random attacks, but no
witness, no radius lowered by any, no validity radius, no universal direction and no
self-test. "command" adds the CPU seconds that a command takes to be imported, as a user
pays them. With --parts: seconds of each part of the scan with everything.

With --measuring: CPU seconds of measuring all inputs of every kind of sample model, and
of verifying some of them, by parts; without rounds, since a density on a grid takes
minutes with 64 checked inputs.

The certificate is asked for, not default: milliseconds an input for each size.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from unittest.mock import patch

import torch

from audit.config import ModelConfig, ScanConfig
from audit.geometry.divergences import kl
from audit.measure.preparation import prepare
from audit.run.scan import scan
from audit.verify.certificate import certified_radius, certify
from audit.verify.sites import precise, site_of
from audit.verify.worst_cases import WorstCases

SAMPLES = Path(__file__).parents[2] / "sample_models"
DATA = {
    "linear_gaussian": "linear_gaussian",
    "heteroscedastic": "heteroscedastic",
    "digits_cnn": "digits_cnn",
    "counts": "counts",
    "posterior_forward_kl": "posterior",
    "posterior_reverse_kl": "posterior",
}
SLOW = {
    "mixture": "mixture",
    "sunspots_gru": "sunspots",
    "sunspots_quantiles": "sunspots",
    "decoder": "decoder",
    "linear_posterior": "linear_posterior",
    "zuko_nsf": "zuko_nsf",
    "choice_likelihood": "choice_likelihood",
    "two_moons": "two_moons",
}
SIZES = (0.003, 0.01, 0.03, 0.1, 0.3)
INPUTS = 64  # certified
PARTS = {
    "witness": "audit.verify.checked.worst_cases",
    "random attacks": "audit.verify.checked.realised",
    "radii": "audit.verify.checked._critical",
    "validity": "audit.verify.checked.validity_columns",
    "universal": "audit.run.reporting.universal",
    "self-test": "audit.run.reporting.short_selftest",
    "all of verify": "audit.run.reporting.verify",
}


def config(name: str) -> ScanConfig:
    """Return the default scan of a sample model."""
    model = ModelConfig(str(SAMPLES / f"{name}.onnx"))
    return ScanConfig(model=model, data=str(SAMPLES / f"{(DATA | SLOW)[name]}.npz"))


@contextmanager
def without() -> Iterator[None]:
    """Leave out everything that the two-sided answer adds."""
    with ExitStack() as stack:
        for name, stand_in in (
            ("audit.verify.checked.worst_cases", lambda *_: WorstCases()),
            ("audit.verify.checked.validity_columns", lambda *_: {}),
            ("audit.run.reporting.universal", lambda p, m, s, checked: ({}, checked)),
            ("audit.run.reporting.short_selftest", lambda *_: []),
        ):
            stack.enter_context(patch(name, stand_in))
        yield


def clocked(run: Callable[..., object], *given: object) -> float:
    """Return the CPU seconds of a call."""
    begun = time.process_time()
    run(*given)
    return time.process_time() - begun


def parts(asked: ScanConfig) -> dict[str, float]:
    """Return the CPU seconds of each part of a scan with everything."""
    spent = dict.fromkeys(PARTS, 0.0)

    def timed(part: str, function: Callable[..., object]) -> Callable[..., object]:
        @wraps(function)
        def run(*given: object) -> object:
            begun = time.process_time()
            found = function(*given)
            spent[part] += time.process_time() - begun
            return found

        return run

    with ExitStack() as stack:
        for part, name in PARTS.items():
            module, _, attribute = name.rpartition(".")
            own = getattr(sys.modules[module], attribute)
            stack.enter_context(patch(name, timed(part, own)))
        scan(asked)
    return spent


def measuring(asked: ScanConfig) -> tuple[float, dict[str, float]]:
    """Return the CPU seconds of measuring, and those of each part of verification."""
    spent, own = [0.0], sys.modules["audit.run.scan"].measured

    def timed(*given: object) -> Iterator[object]:
        found = own(*given)
        while True:
            begun = time.process_time()
            part = next(found, None)
            spent[0] += time.process_time() - begun
            if part is None:
                return
            yield part

    with patch("audit.run.scan.measured", timed):
        found = parts(asked)
    return spent[0], found


def measured_table(names: list[str], count: int) -> None:
    """Print what measuring and verifying cost, a sample model a line."""
    for name in names:
        bare, found = measuring(replace(config(name), verify=count))
        whole = found.pop("all of verify")
        each = ", ".join(f"{part} {t:.2f}" for part, t in found.items() if t > 0.01)
        print(
            f"{name:22} measuring {bare:.2f} s, verifying {whole:.2f} s, ratio "
            f"{whole / bare:.1f}: {each}",
            flush=True,
        )


def imports() -> float:
    """Return the CPU seconds that a command is imported in."""
    code = (
        "import time, audit.cli, audit.run.scan, torch, onnx, onnxruntime; "
        "print(time.process_time())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def certificates(name: str) -> str:
    """Return the cost of certificates of a sample model."""
    prepared = prepare(replace(config(name), divergences=("kl",)), False)
    model, _ = precise(prepared.model)
    site = site_of(model, prepared.questions, prepared.rows[:INPUTS])
    sizes = torch.tensor(SIZES, dtype=torch.float64)
    found = certify(kl(), site, sizes, 2.0)
    if found.bound is None:
        return found.why
    alone = [clocked(certify, kl(), site, size[None], 2.0) for size in sizes]
    whole = clocked(certify, kl(), site, sizes, 2.0)
    radius = clocked(certified_radius, kl(), site, 1.0, 2.0)
    each = " ".join(f"{1e3 * t / INPUTS:.2f}" for t in alone)
    return (
        f"ms an input at {', '.join(map(str, SIZES))}: {each}; all five "
        f"{1e3 * whole / INPUTS:.2f}; the radius {1e3 * radius / INPUTS:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=DATA | SLOW)
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--measuring", action="store_true")
    parser.add_argument("--verify", type=int, default=64)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.measuring:
        names = [asked.only] if asked.only else list(DATA | SLOW)
        measured_table(names, asked.verify)
        return
    start = statistics.median(imports() for _ in range(3))
    print(f"imports {start:.2f} s")
    for name in [asked.only] if asked.only else DATA:
        settings, pairs = config(name), []
        scan(settings)
        for _ in range(asked.rounds):
            with without():
                bare = clocked(scan, settings)
            pairs.append((bare, clocked(scan, settings)))
        bare, whole = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"{name:22} without {bare:.3f} s, with {whole:.3f} s, ratio "
            f"{whole / bare:.2f}; command {(start + whole) / (start + bare):.2f}"
        )
        if asked.parts:
            for part, seconds in parts(settings).items():
                print(f"    {part:16} {seconds:.3f} s")
        print(f"    certificate: {certificates(name)}", flush=True)


if __name__ == "__main__":
    main()
