"""May the quadratic number be believed? Predictions held against exact values.

For an attack along the worst direction the exact divergence is taken at both signs,
+εv and −εv: to second order they are equal, to third they are not, and the attacker
takes the worse. For a random attack the expectation over δ is sampled with the form
itself as control variate,

    E[D(δ)] ≈ mean_m [D(δ_m) − β (Q(δ_m) − E[Q(δ)])],       Q(δ) = c |A δ|²,

where E[Q] is known. The error of the estimate vanishes where the form is exact.
Everything runs in float64 where the file allows, since D is a difference of nearly
equal numbers.

Where D is infinite, or φ(x + δ) belongs to no member of the family (a scale below
zero), there is no realised number, and the prediction, which is finite, has parted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.attacks import Attack, DirectedAttack, RandomAttack
from audit.errors import AuditError
from audit.families.implicit import ImplicitFamily
from audit.families.interface import Family
from audit.geometry.divergences import Divergence, Tensors
from audit.geometry.exact import exact_values
from audit.geometry.normalisation import normalisation
from audit.geometry.pullback import pull_back
from audit.linalg.decompose import decompose
from audit.linalg.spectrum import Estimate
from audit.measure import Point, Questions, linear_law, stored
from audit.models.implicit.sources import FromGrid
from audit.models.opening import OpenModel
from audit.noise import Noise
from audit.reports.measured import VerificationInfo

TOLERANCE = 0.1  # predicted and realised part where they differ by more
THETA_DRAWS = 256  # of θ, where each costs a pass of the network
DRAWS = 32  # of a random attack, in pairs ±δ
_MOVED_BYTES = 2**27  # of perturbed inputs at the same time
_ATTACK_STREAM = 1  # of the noise; stream 0 draws θ
_BROKEN = (
    "measured on the verified inputs only; infinite or outside the family on {} of {} "
    "of them, which count as parted"
)
Floats = NDArray[np.float64]
Notes = tuple[tuple[str, str], ...]  # (code, message)


@dataclass
class Verified:
    """Exact values at some inputs.

    Shapes: index [n]; each column [n], NaN where no exact value is known.
    """

    index: NDArray[np.int64]
    columns: dict[str, dict[str, Floats]]
    reasons: dict[str, dict[str, str]]
    notes: Notes = ()

    def summary(self) -> dict[str, dict[str, VerificationInfo]]:
        """Return, for each divergence and attack, realised over predicted."""
        return {
            name: {
                label: _summary(
                    columns[f"{label}_ratio"],
                    columns[f"{label}_parted"],
                    _relative(columns, label),
                )
                for label in _checked(columns)
            }
            for name, columns in self.columns.items()
        }


@dataclass(frozen=True)
class _Site:
    """The inputs under verification, with everything needed to move them."""

    model: OpenModel
    point: Point
    x: Tensor  # [n, d]
    held: Mapping[str, Tensor]
    noise: Noise

    def moved(self, delta: Tensor) -> Tensor:
        """Return φ(x + δ) [n, M, p] for δ [n, M, d]."""
        n, m, d = delta.shape
        x = (self.x.double().unsqueeze(1) + delta).reshape(n * m, d)
        held = {name: v.repeat_interleave(m, dim=0) for name, v in self.held.items()}
        parts = [
            self.model.density.parameter_map(
                x[i : i + 1024], {name: v[i : i + 1024] for name, v in held.items()}
            )
            for i in range(0, n * m, 1024)
        ]
        return torch.cat(parts).reshape(n, m, -1)


def verify(
    model: OpenModel, questions: Questions, index: NDArray[np.int64]
) -> Verified:
    """Return realised degradations of every attack at the inputs `index`."""
    verified = Verified(index, {}, {})
    if not len(index):
        return verified
    model, verified.notes = _precise(model)
    size = max(1, _MOVED_BYTES // (8 * DRAWS * model.density.d))
    sites = [
        _site(model, questions, part)
        for part in np.split(index, range(size, len(index), size))
    ]
    for divergence in questions.divergences:
        parts = [_check(divergence, site, questions) for site in sites]
        columns = {
            name: np.concatenate([part[name] for part in parts]) for name in parts[0]
        }
        if divergence.tensor is Tensors.FISHER:
            columns |= _mass(sites)
        verified.columns[divergence.name] = columns
        verified.reasons[divergence.name] = _reasons(divergence, columns, questions)
    return verified


def _mass(sites: list[_Site]) -> dict[str, Floats]:
    """Return Z of a density that is only a function, where no grid has measured it."""
    family = sites[0].point.family
    if not isinstance(family, ImplicitFamily) or isinstance(family.source, FromGrid):
        return {}
    found = [normalisation(family, site.point.phi, site.noise) for site in sites]
    columns = {"normalisation": [z.value for z in found]}
    errors = [z.standard_error for z in found if z.standard_error is not None]
    columns["normalisation_se"] = errors
    return {name: torch.cat(parts).cpu().numpy() for name, parts in columns.items()}


def _site(model: OpenModel, questions: Questions, index: NDArray[np.int64]) -> _Site:
    x, held = model.rows(index)
    phi, jacobian = model.density.parameter_map.linearize(x, held)
    framed = questions.frame.pull(stored(jacobian))
    point = Point(index, model.density.family, phi, framed)
    noise = questions.noise(index)
    if isinstance(model.density.family, ImplicitFamily):
        noise = noise.with_draws(min(noise.draws, THETA_DRAWS))
    return _Site(model, point, x, held, noise)


def _precise(model: OpenModel) -> tuple[OpenModel, Notes]:
    """Return the model in float64; as it is, with a note, where it cannot run so."""
    try:
        return model.in_float64(), ()
    except (AuditError, RuntimeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        own = str(model.network.dtype).removeprefix("torch.")
        note = (
            f"exact values were taken in {own}: the file does not run in float64 "
            f"({reason}); those of small perturbations are blurred by rounding"
        )
        return model, (("verified_in_own_precision", note),)


@dataclass(frozen=True)
class _Local:
    """The local law that is held against exact values, quadratic or linear."""

    law: Callable[[Tensor], Tensor]  # δ [n, m, K] -> [n, K]
    expected: Callable[[Attack], Estimate | None]
    worst: Tensor  # [n, m]
    free: int  # m


def _local(divergence: Divergence, site: _Site) -> _Local:
    point = site.point
    linear = linear_law(divergence, point)
    if linear is not None:
        return _Local(linear, linear.expected, linear.direction, linear.rows.shape[2])
    form = pull_back(divergence, point.family, point.phi, point.jacobian, site.noise)
    spectrum = decompose(form, 1)
    return _Local(
        form,
        lambda attack: attack.expected(form, spectrum),
        spectrum.directions[:, :, 0],
        form.root.shape[2],
    )


def _check(
    divergence: Divergence, site: _Site, questions: Questions
) -> dict[str, Floats]:
    """Return realised columns of every attack whose exact value is known."""
    local = _local(divergence, site)
    columns: dict[str, Floats] = {}
    for label, attack in questions.attacks.items():
        predicted = local.expected(attack)
        if predicted is None:
            continue
        realised = _realised(attack, predicted, divergence, local, site, questions)
        if realised is not None:
            columns |= _compare(label, predicted, realised)
    return columns


def _reasons(
    divergence: Divergence, columns: Mapping[str, Floats], questions: Questions
) -> dict[str, str]:
    """Return why realised values are missing, by quantity."""
    reasons = {}
    for label in questions.attacks:
        name = f"{label}_realised"
        if name not in columns:
            reasons[name] = (
                f"no exact value of {divergence.name} is known for this family"
            )
            continue
        broken = np.isnan(columns[name]) & (columns[f"{label}_parted"] == 1)
        if broken.any():
            reasons[name] = _BROKEN.format(int(broken.sum()), len(broken))
    return reasons


@dataclass(frozen=True)
class Realised:
    """A realised degradation [N], its error, and the error beside the prediction's.

    Prediction and realised value come from the same draws of θ. What those are off by,
    both are off by, and only the rest can part them.
    """

    value: Tensor
    error: Tensor
    apart: Tensor


def _realised(
    attack: Attack,
    predicted: Estimate,
    divergence: Divergence,
    local: _Local,
    site: _Site,
    questions: Questions,
) -> Realised | None:
    frame = questions.frame
    if isinstance(attack, DirectedAttack):
        sizes, weights = (t.to(site.x.device) for t in attack.sizes())
        steps = torch.cat([sizes, -sizes])
        u = local.worst.unsqueeze(1) * steps[:, None]
        found = _exact(divergence, site, frame.push(u))
        return None if found is None else _worse_sign(*found, weights)
    assert isinstance(attack, RandomAttack)
    u = _attack_draws(attack, site.noise, local.free).to(site.x.device)
    found = _exact(divergence, site, frame.push(u))
    if found is None:
        return None
    values, errors = found
    return _controlled(values, errors, local.law(u.mT), predicted)


def _exact(
    divergence: Divergence, site: _Site, delta: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Return D at x + δ [n, M] and its error, infinite where φ leaves the family."""
    others, point = site.moved(delta), site.point
    outside = _outside(point.family, others)
    others = torch.where(outside.unsqueeze(-1), point.phi.unsqueeze(1), others)
    found = exact_values(divergence, point.family, point.phi, others, site.noise)
    if found is None:
        return None
    values, errors = found
    outside |= values.isnan()
    return values.masked_fill(outside, torch.inf), errors.masked_fill(outside, 0.0)


def _outside(family: Family, others: Tensor) -> Tensor:
    """Return where φ [n, M, p] is no member; of a matrix, its symmetric part counts."""
    phi = others.flatten(0, 1)
    found = [~torch.isfinite(phi).all(dim=1)]
    found += family.violations(family.pack(family.unpack(phi))).values()
    return torch.stack(found).any(dim=0).reshape(others.shape[:2])


def _worse_sign(values: Tensor, errors: Tensor, weights: Tensor) -> Realised:
    """Return the expectation over ε along the worse of +v and −v."""
    plus, minus = (values.reshape(len(values), 2, -1) @ weights).unbind(dim=1)
    noise = errors.reshape(len(values), 2, -1) @ weights
    worse = torch.where(plus >= minus, noise[:, 0], noise[:, 1])
    return Realised(torch.maximum(plus, minus), worse, worse)


def _attack_draws(attack: RandomAttack, noise: Noise, d: int) -> Tensor:
    """Return δ [n, M, d], in pairs mirrored at the law's mean."""
    rows = []
    for row in range(len(noise.index)):
        rng = noise.generator(row, _ATTACK_STREAM)
        half = attack.draw(rng, DRAWS // 2, d)
        rows.append(np.concatenate([half, 2 * attack.center(d) - half]))
    return torch.from_numpy(np.stack(rows))


def _controlled(
    values: Tensor, errors: Tensor, forms: Tensor, expected: Estimate
) -> Realised:
    """Return E[D] with the form as control variate; pairs are the sampling unit.

    The draws of θ, where there are any, are the same for every δ, so their error does
    not average out over the pairs.

    The weight β = Cov(D, Q) / Var(Q), kept in [0, 1], is 1 where the form is exact and
    0 where it says nothing about D.
    """
    exact, form = (t.reshape(len(t), 2, -1).mean(dim=1) for t in (values, forms))
    centred = form - form.mean(dim=1, keepdim=True)
    variance = centred.square().sum(dim=1, keepdim=True)
    weight = (centred * exact).sum(dim=1, keepdim=True) / variance
    weight = torch.where(variance > 0, weight, 1.0).clamp(0, 1)
    rest = exact - weight * (form - expected.value.unsqueeze(1))
    error = rest.std(dim=1) / math.sqrt(rest.shape[1])
    own = errors.mean(dim=1)
    return Realised(rest.mean(dim=1).clamp_min(0), torch.hypot(error, own), error)


def _compare(label: str, predicted: Estimate, realised: Realised) -> dict[str, Floats]:
    slack = realised.apart
    if predicted.standard_error is not None:
        slack = slack + predicted.standard_error
    distance = (realised.value - predicted.value).abs()
    foreseen = torch.isfinite(predicted.value)
    known = torch.isfinite(realised.value) & foreseen
    parted = distance > TOLERANCE * predicted.value.abs() + 3 * slack
    parted |= ~known
    return {
        f"{label}_realised": _plain(realised.value, known),
        f"{label}_realised_se": _plain(realised.error, known),
        f"{label}_ratio": _plain(realised.value / predicted.value, known),
        f"{label}_parted": _plain(parted.double(), foreseen),
    }


def _checked(columns: Mapping[str, Floats]) -> list[str]:
    """Return the attacks whose prediction was held against an exact value."""
    return [
        quantity.removesuffix("_parted")
        for quantity, values in columns.items()
        if quantity.endswith("_parted") and np.isfinite(values).any()
    ]


def _relative(columns: Mapping[str, Floats], label: str) -> Floats:
    """Return a realised value's error as a share of it."""
    value, error = columns[f"{label}_realised"], columns[f"{label}_realised_se"]
    return np.divide(error, value, out=np.zeros_like(value), where=value > 0)


def _summary(ratios: Floats, parted: Floats, errors: Floats) -> VerificationInfo:
    finite = ratios[np.isfinite(ratios)]
    low, middle, high = (
        np.quantile(finite, [0.05, 0.5, 0.95]).tolist() if len(finite) else [np.nan] * 3
    )
    checked = int(np.isfinite(parted).sum())
    noisy = (3 * errors * ratios > TOLERANCE) & (parted == 0)
    counts = checked, int(np.nansum(parted))
    return VerificationInfo(*counts, low, middle, high, int(noisy.sum()))


def _plain(values: Tensor, known: Tensor) -> Floats:
    array: Floats = torch.where(known, values, torch.nan).cpu().numpy()
    return array
