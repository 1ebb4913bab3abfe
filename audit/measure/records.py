"""The records of a report that say what was audited, with what, and how."""

from __future__ import annotations

import platform
import time
from typing import Any

import numpy as np
import torch

from audit.config import ScanConfig
from audit.families.implicit import ImplicitFamily
from audit.geometry.divergences import Divergence, Tensors
from audit.geometry.roots import metric_root
from audit.ground.errors import ModelError
from audit.linalg.operators import Sampled
from audit.measure import LINEAR
from audit.measure.preparation import Prepared, probe_parameters
from audit.models.network import Network, Port
from audit.models.opening import OpenModel
from audit.nodes.noise import Noise
from audit.reports.measured import (
    DataRecord,
    DivergenceInfo,
    FileRecord,
    ModelRecord,
    TensorRecord,
)


def model_record(model: OpenModel) -> ModelRecord:
    """Return the model's files, hashes, contract and where each item came from."""
    return ModelRecord(
        model.network.format,
        file_records(model.network),
        model.network.weights_sha256,
        model.head.contract,
        model.head.family,
        {name: str(text) for name, text in model.head.parameters.items()},
        [_tensor(port) for port in model.network.inputs],
        [_tensor(port) for port in model.outputs],
        model.derivative,
        model.forward_error,
        {item.name: item.origin for item in model.items},
        model.gates.record(),
    )


def file_records(network: Network) -> list[FileRecord]:
    """Return name, size and digest of each of a model's files.

    Raises:
        ModelError: one of them is not what it was when it was opened.
    """
    try:
        return [
            FileRecord(str(file.path), file.size, file.sha256) for file in network.files
        ]
    except OSError as error:
        raise ModelError(
            f"The model's file '{error.filename}' cannot be read again: "
            f"{error.strerror}",
            "A report says of which bytes its numbers are",
            "Scan again while nobody writes the file",
        ) from None


def _tensor(port: Port) -> TensorRecord:
    axes = (a if isinstance(a, int) else None for a in port.shape or ())
    return TensorRecord(port.name, port.dtype, tuple(axes))


def data_record(model: OpenModel, config: ScanConfig, sampling: str) -> DataRecord:
    """Return the data's source, digest and shape."""
    inputs = model.inputs
    event = tuple(inputs.arrays[model.roles.condition].shape[1:])
    source = config.data
    return DataRecord(source, inputs.sha256, inputs.n, event, config.units, sampling)


def divergence_infos(prepared: Prepared) -> dict[str, DivergenceInfo]:
    """Return how each divergence was measured."""
    return {
        divergence.name: _info(divergence, prepared)
        for divergence in prepared.questions.divergences
    }


def _info(divergence: Divergence, prepared: Prepared) -> DivergenceInfo:
    family, d = prepared.model.density.family, len(prepared.questions.frame.free)
    phi = probe_parameters(prepared.model)[:1]
    notes = []
    if divergence.tensor is not Tensors.FISHER:
        if family.linear_root(phi) is not None:
            return DivergenceInfo(divergence.scale, divergence.unit, notes=[LINEAR])
        notes.append(f"transport map: {family.transport_name}")
    if isinstance(family, ImplicitFamily):
        return _implicit_info(divergence, family, prepared)
    root = metric_root(divergence, family, phi, Noise(0, np.zeros(1, np.int64), 2))
    if family.size < d:
        notes.append(
            f"rank at most {family.size} of {d}: a perturbation orthogonal to the "
            "Jacobian's rows costs nothing to second order"
        )
    sampled = isinstance(root, Sampled)
    return DivergenceInfo(
        divergence.scale,
        divergence.unit,
        _estimator(sampled, prepared.model.by_differences),
        prepared.questions.draws if sampled else None,
        notes,
    )


def _implicit_info(
    divergence: Divergence, family: ImplicitFamily, prepared: Prepared
) -> DivergenceInfo:
    """Return how an average over draws or nodes was taken."""
    notes = []
    noise = prepared.questions.noise(prepared.model.probe_index()[:1])
    if divergence.tensor is Tensors.FISHER:
        assert family.source is not None
        notes.append(f"θ from {family.source.name}")
        exact = family.source.weighted
        draws = family.source.count(noise.draws)
    else:
        notes += transport_notes(family)
        _, base = family.map()
        exact, draws = base.law is not None, base.count(noise.draws)
    if divergence is prepared.questions.divergences[0]:
        notes.append(prepared.model.bottleneck)
    estimator = "quadrature" if exact else "monte_carlo"
    scale, unit = divergence.scale, divergence.unit
    return DivergenceInfo(scale, unit, estimator, None if exact else draws, notes)


def transport_notes(family: ImplicitFamily) -> list[str]:
    """Return the map's name, and what depends on its choice."""
    _, base = family.map()
    notes = [f"transport map: {family.transport_name}, {base.name}, {base.how}"]
    if family.n > 1:
        notes.append(
            "in more than one dimension the quantile distance depends on this map: "
            "another one to the same distribution (permuted axes, rotated noise) gives "
            "another distance, never below W₂²"
        )
    return notes


def _estimator(sampled: bool, differences: bool) -> str:
    if differences:
        return "finite_difference"
    return "monte_carlo" if sampled else "closed_form"


def run_record(
    config: ScanConfig, prepared: Prepared, started: float
) -> dict[str, Any]:
    """Return all that may change from run to run."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 3),
        "device": str(prepared.model.network.device),
        "block": prepared.block,
        "batch_size": config.batch_size,
        "workers": config.workers,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
