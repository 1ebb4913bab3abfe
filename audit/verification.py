"""May the quadratic number be believed? Predictions held against exact values.

Everything runs in float64 where the file allows, since D is a difference of nearly
equal numbers.

Where D is infinite, or φ(x + δ) belongs to no member of the family (a scale below
zero), there is no realised number, and the prediction, which is finite, has parted.
"""

from __future__ import annotations

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
from audit.realised import (
    DRAWS,
    Floats,
    Realised,
    attack_draws,
    checked_attacks,
    compare_realised,
    controlled,
    summarise_ratios,
    worse_sign,
)
from audit.reports.measured import VerificationInfo

THETA_DRAWS = 256  # of θ, where each costs a pass of the network
_MOVED_BYTES = 2**27  # of perturbed inputs at the same time
_BROKEN = (
    "measured on the verified inputs only; infinite or outside the family on {} of {} "
    "of them, which count as parted"
)
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
                label: summarise_ratios(
                    columns[f"{label}_ratio"],
                    columns[f"{label}_parted"],
                )
                for label in checked_attacks(columns)
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
    verified.notes = (*verified.notes, *_partings(verified))
    return verified


def _partings(verified: Verified) -> Notes:
    """Warn where most predictions are off at the attack's own size."""
    found = []
    for name, attacks in verified.summary().items():
        for label, one in attacks.items():
            if 2 * one.parted > one.n:
                message = (
                    f"{name} {label}: on {one.parted} of {one.n} checked inputs the "
                    "realised value is more than 10 % from the predicted one: read "
                    f"{label}_realised (the attack is too large for a local number, or "
                    "the model jumps)"
                )
                found.append((f"parted_{name}", message))
    return tuple(found)


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
            columns |= compare_realised(label, predicted, realised)
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
        return None if found is None else worse_sign(*found, weights)
    assert isinstance(attack, RandomAttack)
    u = attack_draws(attack, site.noise, local.free).to(site.x.device)
    found = _exact(divergence, site, frame.push(u))
    if found is None:
        return None
    values, errors = found
    return controlled(values, errors, local.law(u.mT), predicted)


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
