"""Configurations of scans, for tests: of the sample models, and of small new ones."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from audit.config import AttackConfig, ModelConfig, ScanConfig
from audit.measure import measure
from audit.measure.preparation import prepare
from audit.run.scan import scan

SAMPLES = Path(__file__).parents[1] / "sample_models"
FORMATS = (".onnx", ".pt", ".pt2")
DATA = {
    "linear_gaussian": "linear_gaussian",
    "heteroscedastic": "heteroscedastic",
    "heteroscedastic_jacobian": "heteroscedastic",
    "heteroscedastic_fisher": "heteroscedastic",
    "digits_cnn": "digits_cnn",
    "sunspots_gru": "sunspots",
    "sunspots_quantiles": "sunspots",
    "posterior_forward_kl": "posterior",
    "posterior_reverse_kl": "posterior",
    "mixture": "mixture",
    "counts": "counts",
}


def attacks(**written):
    """Return attacks by label: gaussian={"sigma": "0.1"} or a=("gaussian", {...})."""
    return tuple(
        AttackConfig(label, *(value if isinstance(value, tuple) else (label, value)))
        for label, value in written.items()
    )


def sample(name, suffix=".onnx", **options):
    """Return the scan of a sample model."""
    model = ModelConfig(str(SAMPLES / f"{name}{suffix}"), **options.pop("model", {}))
    data = str(SAMPLES / f"{DATA[name]}.npz")
    return replace(ScanConfig(model=model, data=data, verify=0), **options)


def written(folder, function, x, model, **options):
    """Save a function of x as TorchScript and x as data, and return their scan.

    The network computes in the type of x: a buffer of that type says so.
    """
    x = np.asarray(x)

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("unit", torch.ones(1, dtype=torch.from_numpy(x).dtype))

        def forward(self, x):
            return function(x * self.unit)

    path, data = folder / "head.pt", folder / "head.npz"
    example = torch.from_numpy(np.nan_to_num(x[:3])).clone()
    torch.jit.trace(Head(), (example,), strict=False, check_trace=False).save(str(path))
    np.savez(data, x=x)
    config = ScanConfig(model=ModelConfig(str(path), **model), data=str(data))
    return replace(config, **options)


def columns(report, divergence="kl"):
    """Return every input's numbers of a report as arrays."""
    found = report.inputs.columns[divergence]
    return {name: np.array(values, float) for name, values in found.items()}


def answers(config, keep_directions=True, rows=None):
    """Measure rows in one process and one block."""
    prepared = prepare(config, keep_directions)
    index = prepared.rows if rows is None else np.array(rows)
    return measure(
        prepared.model, prepared.questions, index, max(len(index), prepared.block)
    )


def chunk(config, keep_directions=True, rows=None):
    """Measure rows in one process, and return the answers with numbers for values."""
    found = answers(config, keep_directions, rows)
    columns = {
        name: {quantity: values.numbers for quantity, values in columns.items()}
        for name, columns in found.columns.items()
    }
    return SimpleNamespace(
        **{**vars(found), "columns": columns, "values": found.columns}
    )


__all__ = [
    "FORMATS",
    "SAMPLES",
    "answers",
    "attacks",
    "chunk",
    "columns",
    "sample",
    "scan",
    "written",
]


def descendants(pid):
    """Return the processes below one, by Linux's own list."""
    found = []
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        for child in map(int, children.split()):
            found += [child, *descendants(child)]
    return found
