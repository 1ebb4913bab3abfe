"""The record of `robaudit inspect`: a model file as the auditor sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from audit.reports.found import File

Shape = tuple[int | str | None, ...]


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found, as plain data.

    Args:
        format: the kind of file: "onnx", "torchscript", "pt2" or "live".
        files: those that the model is made of.
        weights_sha256: the digest of its weights.
        opset: the version of the operator set; None where there is none.
        inputs: (name, dtype, shape).
        outputs: (name, dtype, shape).
        contract: `parameters`, `density`, `transport` or `samples`.
        items: (item, value, origin) of the contract.
        differentiable: "yes", or the first operator that stops gradients.
        scan_command: the command to paste.
        ranges: the least and the largest number of each tensor on the rows tried.
        forward_error: the largest difference from the file's own runtime; None: not
            tried.
        warnings: what the reader should know.
        gates: what was checked, and how well it agreed.
        plan: how a scan would compute, as a report keeps it; empty where the data or an
            open gate lack.
    """

    format: str
    files: list[File]
    weights_sha256: str
    opset: int | None
    inputs: list[tuple[str, str, Shape]]
    outputs: list[tuple[str, str, Shape]]
    contract: str
    items: list[tuple[str, str, str]]
    differentiable: str
    scan_command: str
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    forward_error: float | None = None
    warnings: list[str] = field(default_factory=list)
    gates: dict[str, float | str] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
