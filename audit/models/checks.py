"""Gates that every file passes before a number of it is reported.

Forward parity: the importer against onnxruntime, on real rows. Row independence:
f(x)[i] = f(x[i]), without which a summed gradient mixes the rows of a batch (batch
norm in training mode, attention over the batch).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.errors import ModelError
from audit.models.batching import Call
from audit.models.network import Network, Reference, Values

# Of the output's root mean square, by the file's own type.
TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 5e-2, torch.float64: 1e-8}
_DEFAULT_TOLERANCE = 1e-4


def forward_parity(network: Network, batches: Sequence[Values]) -> float | None:
    """Return the largest difference from onnxruntime, relative to each output's size.

    Args:
        network: the file; None is returned if its format has no referee.
        batches: inputs in the file's own types, each a call that the file accepts.

    Raises:
        ModelError: the difference is above the tolerance, or onnxruntime fails.
    """
    if network.reference is None:
        return None
    return max(_parity(network, network.reference, values) for values in batches)


def _parity(network: Network, reference: Reference, values: Values) -> float:
    theirs = reference({name: value.cpu().numpy() for name, value in values.items()})
    with torch.no_grad():
        ours = network.call(values)
    errors = {
        name: relative_error(ours[name], torch.as_tensor(array))
        for name, array in theirs.items()
        if name in ours
    }
    worst = max(errors, key=lambda name: errors[name])
    limit = TOLERANCE.get(network.dtype, _DEFAULT_TOLERANCE)
    if not errors[worst] <= limit:
        raise ModelError(
            f"Our forward pass of '{worst}' differs from onnxruntime's by "
            f"{errors[worst]:.1e} of its size",
            f"Expected at most {limit:.0e}: the derivative of another function is "
            "worse than none",
            "Please report the model's operators (robaudit inspect lists them)",
        )
    return errors[worst]


def row_independence(
    call: Call, values: Values, together: Values, dtype: torch.dtype
) -> None:
    """Compare rows run alone with rows run together.

    Raises:
        ModelError: they differ, or the first axis of an output is not the batch.
    """
    rows = len(next(iter(values.values())))
    for name, output in together.items():
        if output.dim() == 0 or len(output) != rows:
            raise ModelError(
                f"The output '{name}' has the shape {list(output.shape)} for {rows} "
                "rows of input",
                "Expected one row of output for each row of input, on the first axis",
                "Export the model with the batch as the first axis",
            )
    limit = TOLERANCE.get(dtype, _DEFAULT_TOLERANCE)
    for i in range(min(rows, 4)):
        alone = call({name: value[i : i + 1] for name, value in values.items()})
        for name, output in together.items():
            scale = output.double().square().mean().sqrt()
            error = relative_error(output[i : i + 1], alone[name], scale)
            if not error <= limit:
                raise ModelError(
                    f"Row {i} of '{name}' changes by {error:.1e} of its size when the "
                    "other rows of the batch are left out",
                    "Expected rows that do not interact",
                    "Export the model in evaluation mode (model.eval(): batch "
                    "normalisation in training mode mixes rows)",
                )


def relative_error(ours: Tensor, theirs: Tensor, scale: Tensor | None = None) -> float:
    """Return max |ours − theirs| over the RMS of theirs; NaN matches NaN."""
    a, b = ours.detach().double().cpu(), theirs.detach().double().cpu()
    if a.shape != b.shape:
        return float("inf")
    if a.numel() == 0:
        return 0.0
    difference = torch.where(a.isnan() & b.isnan() | (a == b), 0.0, (a - b).abs())
    finite = b[b.isfinite()]
    own = finite.square().mean().sqrt() if finite.numel() else torch.ones(())
    size = max(float(own if scale is None else scale), 1e-30)
    return float(difference.max()) / size


def to_tensors(
    arrays: Mapping[str, NDArray[np.generic]], network: Network
) -> dict[str, Tensor]:
    """Return arrays as tensors in the types the file declares, on its device."""
    tensors = {}
    for name, array in arrays.items():
        declared = network.input(name).dtype
        dtype = getattr(torch, declared) if declared else None
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if dtype is None and tensor.is_floating_point():
            dtype = network.dtype
        tensors[name] = tensor.to(device=network.device, dtype=dtype)
    return tensors
