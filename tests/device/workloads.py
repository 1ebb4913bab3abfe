"""W1 to W6 on two devices: the same eigenvalues, and inputs per second."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audit.config import ScanConfig
from audit.measure import measure
from audit.measure.preparation import Prepared, prepare
from tests.benchmarks.nets import NETS, Net, saved
from tests.benchmarks.product import bare, blocks
from tests.device.comparing import SINGLE, distance, limit, on

LARGER = 8  # times as many inputs on an accelerator


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
        allowed = limit(device, SINGLE)
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
