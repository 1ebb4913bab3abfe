"""The records of a report that say what was audited, with what, and how."""

from __future__ import annotations

import platform
import time
from dataclasses import replace
from typing import Any

import torch

from audit.config import ScanConfig
from audit.geometry.divergence import Divergence
from audit.ground.errors import ModelError
from audit.ground.tracking import shown
from audit.linalg.krylov import SETTLED
from audit.linalg.krylov.trace import ERROR, LEAST, MOST
from audit.measure import LINEAR
from audit.measure.plan import Choice
from audit.measure.preparation import Prepared
from audit.models.network import Network, Port
from audit.models.opening import OpenModel
from audit.reports.audited import Derivative, Model, Tensor
from audit.reports.found import File
from audit.reports.measured import DataRecord, DivergenceInfo

BY_PRODUCTS = (
    "method krylov: the Jacobian is known by its products alone; leading eigenpairs "
    f"by Krylov spaces (residual at most {SETTLED:g} of the largest eigenvalue, see "
    f"'residual'), the trace by Hutch++ with {LEAST} to {MOST} probes, until its "
    f"standard error is {100 * ERROR:.0f} % of it (see 'trace_se')"
)


def model_record(model: OpenModel) -> Model:
    """Return the model's files, hashes, contract and where each item came from."""
    return Model(
        format=model.network.format,
        files=file_records(model.network),
        weights_sha256=model.network.weights_sha256,
        contract=model.head.contract,
        family=model.head.family,
        parameters={name: str(text) for name, text in model.head.parameters.items()},
        inputs=[_tensor(port) for port in model.network.inputs],
        outputs=[_tensor(port) for port in model.outputs],
        derivative=Derivative(
            method=model.derivative, forward_error=model.forward_error
        ),
        origins={item.name: item.origin for item in model.items},
        gates=model.gates.record(),
        class_names=list(model.class_names) or None,
    )


def file_records(network: Network) -> list[File]:
    """Return name, size and digest of each of a model's files.

    Raises:
        ModelError: one of them is not what it was when it was opened.
    """
    try:
        return [
            File(shown(file.path), file.size, file.sha256) for file in network.files
        ]
    except OSError as error:
        raise ModelError(
            f"The model's file '{error.filename}' cannot be read again: "
            f"{error.strerror}",
            "A report says of which bytes its numbers are",
            "Scan again while nobody writes the file",
        ) from None


def _tensor(port: Port) -> Tensor:
    axes = [a if isinstance(a, int) else None for a in port.shape or ()]
    return Tensor(name=port.name, dtype=port.dtype, shape=axes)


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
    phi = prepared.phi[:1]
    scale, unit = divergence.scale, divergence.unit
    if divergence.is_transport and family.linear_root(phi) is not None:
        return DivergenceInfo(scale, unit, notes=[LINEAR])
    found = divergence.estimation(family, phi, prepared.questions.draws)
    notes = list(found.notes)
    if family.parametric and family.size < d:
        notes.append(
            f"rank at most {family.size} of {d}: a perturbation orthogonal to the "
            "Jacobian's rows costs nothing to second order"
        )
    if divergence is prepared.questions.divergences[0]:
        notes += filter(None, [prepared.model.bottleneck, _space(prepared, d)])
    if prepared.questions.matrix_free:
        notes.append(BY_PRODUCTS)
    kind = "finite_difference" if prepared.model.by_differences else found.kind
    return DivergenceInfo(scale, unit, kind, found.draws, notes)


def _space(prepared: Prepared, d: int) -> str:
    """Return what `principal_share` is a share of; "" where there is none."""
    space = prepared.questions.principal
    if space is None or space.basis is None:
        return ""
    return (
        f"principal_share: {space.basis.shape[1]} of {d} principal axes hold 95 % of "
        f"the variance of {space.rows} inputs"
    )


def run_record(
    config: ScanConfig, prepared: Prepared, started: float, threads: Choice
) -> dict[str, Any]:
    """Return all that may change from run to run.

    Args:
        config: what was asked.
        prepared: the open model, and its plan.
        started: when, in seconds.
        threads: blocks at the same time, and why.
    """
    by_products = prepared.questions.matrix_free
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 3),
        "device": str(prepared.model.network.device),
        "block": prepared.block,
        "batch_size": config.batch_size,
        "workers": config.workers,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **({"method": "krylov"} if by_products else {}),
        "plan": _planned(prepared, threads),
    }


def _planned(prepared: Prepared, threads: Choice) -> dict[str, Any]:
    """Return the plan, with the chunk of a run that was begun elsewhere."""
    plan = replace(prepared.questions.plan, threads=threads)
    if prepared.block != plan.inputs:
        plan = replace(plan, chunk=Choice(prepared.block, "that of the run's folder"))
    return plan.record()
