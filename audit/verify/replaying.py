"""Replaying witnesses: the model's predictions and D once more, by the referee alone.

The referee of an ONNX file is onnxruntime, in the file's own type; that of the other
formats is a fresh load of the file, in float64 where it runs so. It computes φ(x) and
φ(x + δ); D is the law's own exact value. When a witness holds, `holding` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.geometry.divergence import Divergence
from audit.geometry.divergences import build_divergence
from audit.ground.errors import AuditError, InputError
from audit.models.maps import AutogradMap
from audit.models.opening import OpenModel
from audit.verify.holding import Again, Held, held
from audit.verify.witness_file import WitnessFile

_PASS = 1024  # rows in one pass of the network
_SHOWN = 3  # witnesses that do not hold, of each size


@dataclass(frozen=True)
class Replayed:
    """What became of the witnesses of one divergence, size and norm.

    Args:
        divergence: its name. size: ε, of the norm p. count: of witnesses. failed: of
            those that do not hold. blurred: of those that hold only to the last digits
            of the predictions. worst: the largest relative deviation of D. wrong: the
            first inputs that do not hold, and why.
    """

    divergence: str
    size: float
    p: float
    count: int
    failed: int
    blurred: int
    worst: float
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Referee:
    """Whoever computes φ: its map x -> φ, its name, and the type it computes in."""

    map: AutogradMap
    name: str
    dtype: torch.dtype


def referee_of(model: OpenModel) -> Referee:
    """Return who replays a model: onnxruntime, or the file itself, freshly loaded."""
    subject = model.subject
    other = subject.referee()
    if other is not None:
        own = model.network.dtype
        return Referee(subject.map_of(other, own), subject.referee_name, own)
    try:
        precise = model.in_float64()
        _ = precise.probe.outputs  # it runs
    except (AuditError, RuntimeError):
        precise = model
    own, subject = precise.network.dtype, precise.subject
    name = f"{precise.network.format}, loaded afresh in {str(own)[6:]}"
    return Referee(subject.map_of(subject.call, own), name, own)


def replay(file: WitnessFile, model: OpenModel) -> tuple[list[Replayed], str]:
    """Return what became of each divergence and size, and who said so.

    Args:
        file: the witnesses.
        model: the file's own model, opened on the file.

    Raises:
        InputError: the file is of another model, or its numbers are of another shape.
    """
    refuse_another(file, model)
    referee = referee_of(model)
    found = [
        group
        for code, name in enumerate(file.about["divergences"])
        for group in _replayed(file, model, referee, code, build_divergence(name))
    ]
    return found, referee.name


def refuse_another(file: WitnessFile, model: OpenModel) -> None:
    """Refuse a file of another model than this one.

    Raises:
        InputError: the hashes, the family or the numbers of parameters differ.
    """
    said, network = file.about["model"], model.network
    now = [one.sha256 for one in network.files]
    same = [digest for _, digest in said["files"]] == now
    if not same and said["weights_sha256"] != network.weights_sha256:
        raise InputError(
            f"The witnesses in '{file.path}' are of another model: its weights have "
            f"the hash {str(said['weights_sha256'])[:16]}…",
            f"This one's have {network.weights_sha256[:16]}…",
            f"Replay them on the file that was audited, {said['files'][0][0]}",
        )
    family, d = model.density.family, math.prod(model.event)
    shapes = {"delta": d, "phi": family.size}
    for name, size in shapes.items():
        if file.columns[name].shape[1] != size:
            raise InputError(
                f"'{file.path}' holds witness.{name} of "
                f"{file.columns[name].shape[1]} numbers a row",
                f"The model, a {family.name}, has {size}",
                "Replay it on the model and with the version that wrote it",
            )


def _replayed(
    file: WitnessFile,
    model: OpenModel,
    referee: Referee,
    code: int,
    divergence: Divergence,
) -> list[Replayed]:
    """Return what became of the witnesses of one divergence, by norm and size."""
    rows = np.flatnonzero(file.columns["divergence"] == code)
    if not len(rows):
        return []
    phi, moved = _predictions(file, model, referee, rows)
    again = Again(
        divergence,
        model.density.family,
        phi,
        moved,
        file.noise(rows),
        referee.dtype,
        model.subject.tolerance,
    )
    found = held(file, again, torch.from_numpy(rows))
    keys = np.stack([file.columns[name][rows] for name in ("p", "size")], axis=1)
    return [
        _group(file, divergence.name, rows, np.flatnonzero((keys == key).all(1)), found)
        for key in np.unique(keys, axis=0)
    ]


def _group(
    file: WitnessFile,
    divergence: str,
    rows: NDArray[np.intp],
    at: NDArray[np.intp],
    found: Held,
) -> Replayed:
    """Return what became of some of the rows, `at` among them."""
    where = {why: wrong.cpu().numpy()[at] for why, wrong in found.wrong.items()}
    bad = np.any(list(where.values()), axis=0)
    said = tuple(
        f"input {file.columns['index'][rows[at[one]]]:.0f}: "
        + ", ".join(why for why, wrong in where.items() if wrong[one])
        for one in np.flatnonzero(bad)[:_SHOWN]
    )
    p, size = (float(file.columns[name][rows[at[0]]]) for name in ("p", "size"))
    worst = float(found.off.cpu().numpy()[at].max())
    blurred = int((found.blurred.cpu().numpy()[at] & ~bad).sum())
    return Replayed(divergence, size, p, len(at), int(bad.sum()), blurred, worst, said)


def _predictions(
    file: WitnessFile, model: OpenModel, referee: Referee, rows: NDArray[np.intp]
) -> tuple[Tensor, Tensor]:
    """Return φ(x) and φ(x + δ) [W, p] as the referee has them."""
    delta = torch.from_numpy(file.columns["delta"][rows]).to(model.network.device)
    values = model.probe.take(rows.astype(np.int64))
    x = values.pop(model.roles.condition).reshape(len(rows), -1).double()
    in_parameters = model.space == "parameters"
    points = (x,) if in_parameters else (x, x + delta)
    found = [
        torch.cat(
            [
                referee.map(
                    point[i : i + _PASS],
                    {name: v[i : i + _PASS] for name, v in values.items()},
                )
                for i in range(0, len(rows), _PASS)
            ]
        )
        for point in points
    ]
    return (found[0], found[0] + delta) if in_parameters else (found[0], found[1])
