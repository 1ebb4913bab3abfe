"""Every sample model, measured and scanned on two devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from audit.config import ScanConfig
from audit.measure import measure
from audit.measure.preparation import prepare
from audit.run.scan import scan
from tests.device.comparing import DOUBLE, SINGLE, distance, limit, on
from tests.golden.hashes import ROOT, SLOW, models, settings

ROWS = 4  # inputs of a sample model
SINGLE_ALONE = {"sunspots_quantiles.pt"}  # its trace has the type of its weights
COSTLY = SLOW | {"decoder", "decoder_batch8", "sunspots_gru_batch1"}  # to verify


def columns(config: ScanConfig) -> dict[str, np.ndarray]:
    """Return every column of a few inputs, in double precision."""
    wide = replace(config, model=replace(config.model, dtype="float64"))
    prepared = prepare(wide, True)
    rows = prepared.rows[: min(ROWS, prepared.block)]
    found = measure(prepared.model, prepared.questions, rows, prepared.block)
    return {
        f"{name}.{quantity}": values.numbers
        for name, those in found.columns.items()
        for quantity, values in those.items()
    }


def reported(config: ScanConfig) -> dict[str, np.ndarray]:
    """Return trace and eigenvalue of a whole scan, with its checks."""
    costly = Path(config.model.path).stem in COSTLY
    report = scan(replace(config, limit=ROWS, verify=0 if costly else 2))
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


def compared(
    find: Callable[[ScanConfig], dict[str, np.ndarray]],
    config: ScanConfig,
    device: str,
    allowed: float,
) -> tuple[str, str]:
    """Return how far two devices are apart in words, and what is wrong with it."""
    name = Path(config.model.path).name
    try:
        apart, where = worst(find, config, device)
    except Exception as error:
        return "failed", f"{name}: {type(error).__name__}: {error}"
    most = limit(device, allowed)
    wrong = f"{name}: {where} is {apart:.1e} apart, not {most:g}"
    return f"{apart:8.1e}", "" if apart <= most else wrong


def asked_of(path: Path) -> list[tuple[Callable[..., dict[str, np.ndarray]], float]]:
    """Return what is compared of a file, and how far it may be apart."""
    double, single = (columns, DOUBLE), (reported, SINGLE)
    if path.name in SINGLE_ALONE:
        return [single]
    return [double, single] if path.suffix == ".onnx" else [double]


def sample_models(device: str) -> Iterator[tuple[str, str]]:
    """Yield a line for each sample model, and what is wrong with it."""
    for path in models():
        config, said, wrong = settings(ROOT / path), [], []
        for find, allowed in asked_of(path):
            words, fault = compared(find, config, device, allowed)
            said.append(words)
            wrong += [fault] if fault else []
        yield f"{path.name:34} {' '.join(said)}", "; ".join(wrong)
