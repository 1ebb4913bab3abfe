"""A written file read back: does it say what the estimator says, slopes included?

The file is run by onnxruntime or by torch.export.load, and differentiated the way a
scan does it. A bisection is exported as comparisons, whose derivative is zero or
missing while the values are right: only differences of values tell. They are taken of
the module in float64, where it runs in it: a density that hardly depends on x drowns
them in the rounding of float32, and its right slopes would be refused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audit.ground.errors import ModelError
from audit.models import LOADERS

STEP = 1e-2  # of a condition's own size
_ROUNDED = {torch.float64: 1e-9}  # what differences are sure of; of float32 1e-6
SLOPE_LIMIT = 5e-2
Values = dict[str, Tensor]
Run = Callable[[Mapping[str, Tensor]], Values]


def open_file(path: Path, outputs: list[str]) -> tuple[Run, Run]:
    """Return the file as it is run, and as it is differentiated."""
    if path.suffix == ".onnx":
        return _onnxruntime(path, outputs), _importer(path)
    if path.suffix == ".pt2":
        module = torch.export.load(path).module()
    else:
        module = torch.jit.load(path)  # type: ignore[no-untyped-call]

    def run(inputs: Mapping[str, Tensor]) -> Values:
        return dict(module(*inputs.values()))

    return run, run


def _onnxruntime(path: Path, outputs: list[str]) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, Tensor]) -> Values:
        feeds = {name: value.numpy() for name, value in inputs.items()}
        found = session.run(outputs, feeds)
        return {n: torch.as_tensor(v) for n, v in zip(outputs, found, strict=True)}

    return run


def _importer(path: Path) -> Run:
    network = LOADERS[".onnx"](path, torch.device("cpu"), False, frozenset())

    def run(inputs: Mapping[str, Tensor]) -> Values:
        return network.call(inputs)

    return run


def in_float64(module: nn.Module, inputs: Mapping[str, Tensor]) -> Run | None:
    """Return the module as it runs in float64; None where it does not."""
    exact = copy.deepcopy(module).double()

    def run(values: Mapping[str, Tensor]) -> Values:
        return dict(exact(*(value.double() for value in values.values())))

    try:
        with torch.no_grad():
            found = run(inputs)
    except (RuntimeError, TypeError):  # a tensor of float32 that is no buffer
        return None
    wide = all(value.dtype == torch.float64 for value in found.values())
    return run if wide else None


def require_equal(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float
) -> None:
    """Raise unless every expected output was found, within a relative tolerance.

    Raises:
        ModelError: one is not there, not finite or not equal.
    """
    for name, value in expected.items():
        other = found[name].reshape(value.shape).to(value)
        gap = float(((other - value).abs() / (1 + value.abs())).max())
        if not gap <= tolerance:
            raise ModelError(
                f"The file's {name} differs from the estimator's by {gap:.1e}",
                f"They should agree within {tolerance:.0e} on {len(value)} rows",
                "Pass typical conditions as x=, or export in another format",
            )


def require_slopes(
    run: Run, slope: Run, inputs: Values, names: list[str], condition: str
) -> None:
    """Raise unless derivatives in x are those that differences of the values show.

    Raises:
        ModelError: one is missing or wrong.
    """
    generator = torch.Generator().manual_seed(0)
    x = inputs[condition]
    step = _steps(x, generator)
    with torch.no_grad():
        ahead = run(inputs | {condition: x + step})
        behind = run(inputs | {condition: x - step})
    for name in names:
        weight = torch.randn(ahead[name].shape, generator=generator).to(ahead[name])
        moving = x.clone().requires_grad_()
        value = slope(inputs | {condition: moving})[name].reshape(weight.shape)
        seen = _per_row((ahead[name] - behind[name]) * weight / 2)
        told = _per_row(_gradient((value * weight).sum(), moving) * step).to(seen)
        floor = _ROUNDED.get(seen.dtype, 1e-6)
        gap = float(((told - seen).abs() / (seen.abs() + floor)).median())
        if not gap <= SLOPE_LIMIT:
            raise ModelError(
                f"In the file d {name} / d {condition} is off by {100 * gap:.0f} %",
                "Finite differences of the values show it: a root found by "
                "bisection, or rounding, loses its derivative",
                "Choose a flow whose inverse is in closed form (MAF, NSF)",
            )


def _gradient(total: Tensor, x: Tensor) -> Tensor:
    """Return d total / d x, zero where nothing connects them."""
    if not total.requires_grad:
        return torch.zeros_like(x)
    found: object = torch.autograd.grad(total, x, allow_unused=True)[0]
    return found if isinstance(found, Tensor) else torch.zeros_like(x)


def _steps(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random direction for each row, STEP times the row's own size long."""
    v = torch.randn(x.shape, generator=generator).to(x).flatten(1)
    size = x.flatten(1).square().mean(1, keepdim=True).sqrt().clamp(min=1e-3)
    return (STEP * size * F.normalize(v, dim=1)).reshape(x.shape)


def _per_row(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).sum(1)
