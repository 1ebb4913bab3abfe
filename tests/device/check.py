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
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audit.config import ScanConfig
from audit.measure import measure
from audit.measure.preparation import Prepared, prepare
from audit.run.scan import scan
from tests.benchmarks.nets import NETS, Net, saved
from tests.benchmarks.product import bare, blocks
from tests.golden.hashes import ROOT, models, settings

DOUBLE = 1e-6  # of a column's largest number, both in double precision
SINGLE = 2e-3  # of the largest eigenvalue, both in single precision
ROWS = 4  # inputs of a sample model
LARGER = 8  # times as many inputs on an accelerator


def on(config: ScanConfig, device: str) -> ScanConfig:
    return replace(config, model=replace(config.model, device=device))


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference, of the largest number; ∞ where NaNs differ."""
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    known = np.isfinite(ours)
    same = np.array_equal(known, np.isfinite(theirs))
    if not same or not np.array_equal(ours[~known], theirs[~known], equal_nan=True):
        return np.inf
    if not known.any():
        return 0.0
    size = max(np.abs(ours[known]).max(), np.finfo(float).tiny)
    return float(np.abs(ours - theirs)[known].max() / size)


# Sample models


def columns(config: ScanConfig) -> dict[str, np.ndarray]:
    """Return every column of a few inputs, in double precision."""
    wide = replace(config, model=replace(config.model, dtype="float64"))
    prepared = prepare(wide, True)
    rows = prepared.rows[:ROWS]
    found = measure(prepared.model, prepared.questions, rows, prepared.block)
    return {
        f"{name}.{quantity}": values.numbers
        for name, those in found.columns.items()
        for quantity, values in those.items()
    }


def reported(config: ScanConfig) -> dict[str, np.ndarray]:
    """Return trace and eigenvalue of a whole scan, with its checks."""
    report = scan(replace(config, limit=ROWS, verify=2))
    return {
        f"{name}.{quantity}": np.array(those[quantity], float)
        for name, those in report.inputs.columns.items()
        for quantity in ("trace", "eigenvalue")
        if quantity in those
    }


def worst(
    find: Callable[[ScanConfig], dict[str, np.ndarray]], config: ScanConfig, device: str
) -> tuple[float, str]:
    """Return how far two devices are apart, and in which column."""
    ours, theirs = find(on(config, "cpu")), find(on(config, device))
    if ours.keys() != theirs.keys():
        return np.inf, f"columns {sorted(ours.keys() ^ theirs.keys())}"
    return max((distance(ours[name], theirs[name]), name) for name in ours)


def sample_models(device: str) -> Iterator[tuple[str, str]]:
    """Yield a line for each sample model, and what is wrong with it."""
    for path in models():
        config = settings(ROOT / path)
        asked = [(columns, 0.0 if device == "cpu" else DOUBLE)]
        if path.suffix == ".onnx":
            asked.append((reported, 0.0 if device == "cpu" else SINGLE))
        said, wrong = [], ""
        for find, allowed in asked:
            try:
                apart, where = worst(find, config, device)
            except Exception as error:
                wrong = f"{path.name}: {type(error).__name__}: {error}"
                break
            said.append(f"{apart:8.1e}")
            if not apart <= allowed:
                wrong = f"{path.name}: {where} is {apart:.1e} apart, not {allowed:g}"
        yield f"{path.name:34} {' '.join(said)}", wrong


# Workloads


def exported(net: Net, name: str, n: int, files: Path) -> ScanConfig:
    """Return the scan of a workload, its network exported once."""
    model, x = net.made(n)
    folder, known = files / name, files / name / "settings.pt"
    if known.exists():
        np.savez(folder / "data.npz", x=x.numpy())
        options = torch.load(known, weights_only=True)
        config = ScanConfig(data=str(folder / "data.npz"), verify=0, **options["scan"])
        path = str(folder / "model.onnx")
        return replace(
            config, model=replace(config.model, path=path, **options["file"])
        )
    folder.mkdir(parents=True, exist_ok=True)
    config = saved(net, model, x, folder)
    scan_of = ("divergences", "top", "draws_per_input")
    file_of = ("family", "parameters", "contract", "noise", "condition")
    kept = {
        "scan": {one: getattr(config, one) for one in scan_of},
        "file": {one: getattr(config.model, one) for one in file_of},
    }
    torch.save(kept, known)
    return config


def rate(prepared: Prepared, device: str) -> tuple[float, Tensor]:
    """Return inputs per second, and the eigenvalues [n, K]."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    values = bare(prepared)  # the first call allocates
    wait()
    began = time.perf_counter()
    values = bare(prepared)
    wait()
    return len(values) / (time.perf_counter() - began), values


def waits(prepared: Prepared, device: str) -> str:
    """Return how often a block of a scan makes the device wait for the host."""
    if not device.startswith("cuda"):
        return ""
    rows = next(blocks(prepared))
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            measure(prepared.model, prepared.questions, rows, prepared.block)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    found = [one for one in said if "synchronizing" in str(one.message)]
    held = torch.cuda.max_memory_allocated() / 2**30
    return f", {len(found)} waits a block of {len(rows)}, {held:.2f} GiB at most"


def workloads(device: str, files: Path) -> Iterator[tuple[str, str]]:
    """Yield a line for each workload, and what is wrong with it."""
    for name, net in NETS.items():
        config = exported(net, name, net.few, files)
        ours, expected = rate(prepare(config, True), "cpu")
        prepared = prepare(on(config, device), True)
        theirs, found = rate(prepared, device)
        apart = distance(expected.numpy(), found.numpy())
        allowed = 0.0 if device == "cpu" else SINGLE
        if device != "cpu":
            more = exported(net, name, min(net.n, LARGER * net.few), files)
            prepared = prepare(on(more, device), True)
            theirs, _ = rate(prepared, device)
        wrong = f"{name}: eigenvalues are {apart:.1e} apart" if apart > allowed else ""
        line = (
            f"{name} {net.title:38} {ours:9.1f} inputs/s here, {theirs:9.1f} there, "
            f"{apart:.1e} apart{waits(prepared, device)}"
        )
        yield line, wrong


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
        for part in (
            workloads(options.device, Path(folder)),
            sample_models(options.device),
        ):
            for line, fault in part:
                print(f"{time.monotonic() - began:5.0f} s  {line}", flush=True)
                wrong += [fault] if fault else []
                if time.monotonic() - began > options.seconds:
                    print(f"the {options.seconds:g} seconds are over: not all was done")
                    return 2
    print("\n".join(wrong) or "all agree")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
