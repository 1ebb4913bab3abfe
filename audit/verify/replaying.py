"""Replaying witnesses: the model's predictions and D once more, by the referee alone.

The referee of an ONNX file is onnxruntime, in the file's own type; that of the other
formats is a fresh load of the file, in float64 where it runs so. It computes φ(x) and
φ(x + δ); D is the law's own exact value. A witness holds where

    |D − D_file| ≤ 10⁻⁵ D_file + r        and        ‖u‖_p ≤ ε (1 + 10⁻⁵)

with δ = S u. r is what rounding of φ and φ' alone can do to D: both by four units in
the last place of the type that the referee computes in,

    r = Σ_j 4 ε |∂D/∂φ'_j| (|φ_j| + |φ'_j|),

since to first order D changes with φ as it does with φ', and the other way. Where D is
near zero that is more than 10⁻⁵ of it, and no runtime in that type could tell. ∞ holds
where the referee finds ∞. What the file says of φ and φ' has to be what the referee
finds, too, within the tolerance of the gate that compares the two runs of a model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.attacks.balls import NORMS, Ball
from audit.geometry.divergences import Divergence, build_divergence
from audit.ground.errors import AuditError, InputError
from audit.models.maps import AutogradMap
from audit.models.opening import OpenModel
from audit.nodes.noise import Noise
from audit.verify.witness_file import WitnessFile, value_of

TOLERANCE = 1e-5
"""How far D may be off, of itself."""
_ULPS = 4.0
_PASS = 1024
_STEP = 1e-5  # of a parameter, or of 1 where it is smaller


@dataclass(frozen=True)
class Replayed:
    """What became of the witnesses of one divergence, size and norm.

    Args:
        divergence: its name. size: ε, of the norm p. count: of witnesses. failed: of
            those that do not hold. worst: the largest relative deviation of D. wrong:
            the first inputs that do not hold, and why.
    """

    divergence: str
    size: float
    p: float
    count: int
    failed: int
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
    found: list[Replayed] = []
    names = file.about["divergences"]
    keys = np.stack([file.columns[name] for name in ("divergence", "p", "size")], 1)
    for key in np.unique(keys, axis=0):
        if key[0] not in range(len(names)) or key[1] not in NORMS.values():
            raise InputError(
                f"'{file.path}' holds a divergence or a norm that it does not name",
                "Expected a file as robaudit scan writes it",
                "Write it again with robaudit scan MODEL DATA --witness FILE",
            )
        divergence = build_divergence(names[int(key[0])])
        rows = np.flatnonzero((keys == key).all(axis=1))
        found.append(_replayed(file, model, referee, divergence, rows))
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
    divergence: Divergence,
    rows: NDArray[np.intp],
) -> Replayed:
    family, noise = model.density.family, file.noise(rows)
    phi, moved = _predictions(file, model, referee, rows)
    value, _ = value_of(divergence, family, phi, moved, noise)
    wanted = _taken(file, "value", rows).to(value)
    slack = _rounding(divergence, model, phi, moved, noise, referee.dtype)
    off = torch.where(value == wanted, 0.0, (value - wanted).abs())
    problems = {
        "D is another": ~(off <= TOLERANCE * wanted.abs() + slack),
        "φ(x) is another": _differs(phi, _taken(file, "phi", rows), model),
        "φ(x + δ) is another": _differs(moved, _taken(file, "phi_moved", rows), model),
        "δ is longer than its size": ~_inside(file, rows),
    }
    bad = torch.stack(list(problems.values()))
    relative = torch.where(off == 0, 0.0, off / wanted.abs().clamp_min(1e-300))
    index = file.columns["index"][rows]
    wrong = tuple(
        f"input {index[row]:.0f}: "
        + ", ".join(why for why, where in problems.items() if bool(where[row]))
        for row in bad.any(dim=0).nonzero()[:3, 0].tolist()
    )
    return Replayed(
        divergence.name,
        float(file.columns["size"][rows[0]]),
        float(file.columns["p"][rows[0]]),
        len(rows),
        int(bad.any(dim=0).sum()),
        float(relative.nan_to_num(torch.inf).max()),
        wrong,
    )


def _predictions(
    file: WitnessFile, model: OpenModel, referee: Referee, rows: NDArray[np.intp]
) -> tuple[Tensor, Tensor]:
    """Return φ(x) and φ(x + δ) [W, p] as the referee has them."""
    delta = _taken(file, "delta", rows).to(model.network.device)
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


def _taken(file: WitnessFile, name: str, rows: NDArray[np.intp]) -> Tensor:
    return torch.from_numpy(file.columns[name][rows])


def _rounding(
    divergence: Divergence,
    model: OpenModel,
    phi: Tensor,
    moved: Tensor,
    noise: Noise,
    dtype: torch.dtype,
) -> Tensor:
    """Return what the last digits of φ and φ' can do to D [W]; 0 where D is ∞."""
    total = torch.zeros(len(phi)).to(phi)
    size = phi.abs() + moved.abs()
    for j in range(phi.shape[1]):
        step = torch.zeros_like(moved)
        step[:, j] = _STEP * moved[:, j].abs().clamp_min(1.0)
        ends = [
            value_of(divergence, model.density.family, phi, moved + sign * step, noise)
            for sign in (1, -1)
        ]
        slope = (ends[0][0] - ends[1][0]).abs() / (2 * step[:, j])
        total += slope.nan_to_num(0.0, 0.0, 0.0) * size[:, j].nan_to_num(0.0, 0.0, 0.0)
    return _ULPS * torch.finfo(dtype).eps * total


def _differs(ours: Tensor, said: Tensor, model: OpenModel) -> Tensor:
    """Tell which predictions [W] are not what the file says."""
    said = said.to(ours)
    finite = said[torch.isfinite(said).all(dim=1)]
    size = finite.square().mean(dim=0).sqrt() if len(finite) else ours.new_ones(())
    limit = model.subject.tolerance * torch.maximum(size, said.abs())
    same = (
        (ours == said) | (ours.isnan() & said.isnan()) | ((ours - said).abs() <= limit)
    )
    return ~same.all(dim=1)


def _inside(file: WitnessFile, rows: NDArray[np.intp]) -> Tensor:
    """Tell which δ [W] are within their size, and move no feature that is masked."""
    unit, delta = torch.from_numpy(file.columns["unit"]), _taken(file, "delta", rows)
    free = unit > 0
    p = float(file.columns["p"][rows[0]])
    length = Ball(p).norm(delta[:, free] / unit[free])
    still = (delta[:, ~free] == 0).all(dim=1)
    return still & (length <= (1 + TOLERANCE) * _taken(file, "size", rows))
