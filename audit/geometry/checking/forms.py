"""The laws of a divergence's root: what it is, and that its form predicts values."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from audit.families.references import Reference
from audit.geometry.checking.subject import DRAWS, ERRORS, Subject
from audit.linalg.averaged import Sampled
from audit.linalg.stored import LinearOperator
from audit.nodes.noise import Noise

_SIZES = (4e-2, 2e-2, 2.5e-3)
_SHARP = 5e-2
_NOTHING = 1e-9  # of the form of all parameters: a step that moves nothing


def its_root_is_wide_and_alone(it: Subject) -> None:
    """Its root is [N, r, p] in float64, the same for a row alone."""
    law = "its root is [N, r, p] in float64, the same for a row alone"
    together = it.divergence.metric_root(it.law, it.phi, it.noise(64)).dense()
    it.demand(together.dtype == torch.float64, law, torch.float64, together.dtype)
    for row in range(len(it.phi)):
        noise = Noise(1, np.array([row]), 64)
        root = it.divergence.metric_root(it.law, it.phi[row : row + 1], noise)
        alone, whole = (b.mT @ b for b in (root.dense()[0], together[row]))
        same = torch.allclose(alone, whole, rtol=1e-9, atol=1e-12)
        it.demand(same, law, whole, alone)


def its_form_predicts_its_values(it: Subject) -> None:
    """The second difference of its value is c|Bδ|², for each parameter alone too."""
    law = f"(D(δ) + D(−δ))/2 tends to {it.divergence.scale:g} |Bδ|²"
    noise = it.noise(DRAWS)
    root = it.divergence.metric_root(it.law, it.phi, noise)
    known = it.law.reference(it.divergence, it.phi, noise)
    if known is None:
        it.demand(False, law, "an exact value, or a mean over draws", "neither")
        return
    if known.sampled:
        _is_near_means(it, root, known, law)
        return
    limit = 2 * _SHARP if isinstance(root, Sampled) else 0.0
    errors = [_errors(it, root, known, size) for size in _SIZES]
    coarse = torch.stack(errors[:-1]).amax(0)
    allowed = (coarse / 4).clamp_min(1e-5).clamp_min(limit).clamp_max(2 * _SHARP)
    broken = ~(errors[-1] < allowed)
    shown = [one[broken].tolist()[:3] for one in errors]
    it.demand(not broken.any(), law, "an error that falls", shown)


def _errors(it: Subject, root: LinearOperator, known: Reference, size: float) -> Tensor:
    """Return by which share the form is off, for each step and row [S, N]."""
    least = _NOTHING * _form(it, root, it.step(size).abs())
    found = []
    for step in it.steps(size):
        form, (mean, _) = _form(it, root, step), _second_difference(it, known, step)
        still = (form <= least) & (mean.abs() <= least)
        found.append(torch.where(still, 0.0, (form / mean - 1).abs()))
    return torch.stack(found)


def _is_near_means(
    it: Subject, root: LinearOperator, known: Reference, law: str
) -> None:
    """Demand the same of values that are means over draws, within their errors."""
    for step in it.steps(_SIZES[1]):
        form, (mean, error) = _form(it, root, step), _second_difference(it, known, step)
        near = (form - mean).abs() <= ERRORS * error + _SHARP * form
        it.demand(near.all(), law, mean, form)


def _form(it: Subject, root: LinearOperator, step: Tensor) -> Tensor:
    """Return c |B δ|² [N] for steps [N, p]."""
    return it.divergence.scale * root.matmat(step.unsqueeze(-1)).square().sum((-2, -1))


def _second_difference(
    it: Subject, known: Reference, step: Tensor
) -> tuple[Tensor, Tensor]:
    """Return (D(δ) + D(−δ))/2 [N] for steps [N, p], and its standard error."""
    others = torch.stack([it.phi + step, it.phi - step], dim=1)
    values, errors = known(torch.arange(len(it.phi)), others)
    return values.mean(1), errors.mean(1)
