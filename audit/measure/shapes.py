"""What a plan follows from, read off an open model and the questions asked of it."""

from __future__ import annotations

import math
from functools import cache

import torch

from audit.config import ScanConfig
from audit.geometry.divergence import Divergence
from audit.linalg.operators import Diagonal
from audit.measure.matrix_free import passes_bytes, refusal
from audit.measure.plan import AUTOGRAD, DIFFERENCES, IDENTITY, SWEEP, Choice, Shapes
from audit.models.implicit.laws import ContextMap
from audit.models.maps import IdentityMap, ReverseJacobian
from audit.models.opening import OpenModel
from audit.models.products import by_columns
from audit.models.swept import SweptMap
from audit.models.swept_rows import TOLERANCE, apart

_ROWS = 2  # that columns are held against rows on


def shapes_of(
    config: ScanConfig,
    model: OpenModel,
    free: int,
    asked: tuple[Divergence, ...],
    total: int,
) -> Shapes:
    """Return what the plan of a scan follows from."""
    family, d = model.density.family, model.density.d
    first = config.draws_per_input
    largest = config.max_draws if config.rel_error else first
    cost = family.cost({divergence.tensor for divergence in asked}, first)
    sweep = model.swept if isinstance(model.swept, SweptMap) else None
    return Shapes(
        family.size,
        d,
        free,
        _kept(model, asked, first),
        _kept(model, asked, largest),
        not (cost.rows and family.size == d),
        _pulled(config, model, asked),
        total,
        config.memory,
        _only(model),
        "" if sweep else model.unswept or "the law is a function of the file itself",
        sweep.rows.together if sweep else (1, 1),
        sweep.rows.pulled_bytes if sweep else 0,
        _slopes(model),
        _cut(model),
        cache(lambda: refusal(model, asked)),
        cache(lambda: _columns(model)),
        cache(lambda: passes_bytes(config.top, model, asked)),
    )


def probe_parameters(model: OpenModel) -> torch.Tensor:
    """Return φ [n, p] of a few rows that belong to the family."""
    phi = model.density.parameter_map(*model.rows(model.probe_index()))
    valid = torch.ones(len(phi), dtype=torch.bool, device=phi.device)
    for bad in model.density.family.violations(phi).values():
        valid &= ~bad
    return phi[valid] if bool(valid.any()) else phi


def _kept(model: OpenModel, asked: tuple[Divergence, ...], draws: int) -> int:
    """Return the rows of derivatives at all draws that one input keeps."""
    family = model.density.family
    rows = family.cost({divergence.tensor for divergence in asked}, draws).rows
    own = [divergence for divergence in asked if divergence.root is not None]
    if own:
        phi = probe_parameters(model)[:1]
        rows += sum(divergence.kept_rows(family, phi, draws) for divergence in own)
    return rows


def _pulled(
    config: ScanConfig, model: OpenModel, asked: tuple[Divergence, ...]
) -> float:
    """Return how many rows will be pulled back, ∞ where none is on its own.

    A closed-form root is not; with `rel_error` the draws have no fixed number, and
    nobody knows how many rows the root has that a divergence brings.
    """
    own = any(divergence.root is not None for divergence in asked)
    if config.rel_error is not None or own:
        return math.inf
    tensors = {divergence.tensor for divergence in asked}
    return model.density.family.cost(tensors, config.draws_per_input).pulled


def _only(model: OpenModel) -> str:
    """Return how J is taken where there is no choice; "" where there is one."""
    if model.by_differences:
        return DIFFERENCES
    inner = model.density.parameter_map
    inner = inner.inner if isinstance(inner, ContextMap) else inner
    return IDENTITY if isinstance(inner, IdentityMap) else ""


def _slopes(model: OpenModel) -> Choice | None:
    """Return how a sampler is differentiated; None where nothing is sampled."""
    if model.slopes is None:
        return None
    swept, why = model.slopes
    return Choice(SWEEP if swept else AUTOGRAD, why)


def _cut(model: OpenModel) -> Choice | None:
    """Return whether what depends on x alone runs once; None where it does anyway."""
    if not model.bottleneck:
        return None
    return Choice("off" if _only(model) == IDENTITY else "on", model.bottleneck)


def _columns(model: OpenModel) -> str:
    """Return why J is not known by its columns; "" where they are those of its rows."""
    _, jacobian = model.density.parameter_map.linearize(
        *model.rows(model.probe_index()[:_ROWS])
    )
    if isinstance(jacobian, Diagonal) or not isinstance(jacobian, ReverseJacobian):
        return "J does not come from a graph that could be differentiated twice"
    try:
        columns = by_columns(jacobian).entries
    except (RuntimeError, NotImplementedError):
        return "an operator on the way has no second derivative"
    error = apart(columns, jacobian.dense())
    if error <= TOLERANCE.get(jacobian.x.dtype, TOLERANCE[torch.float32]):
        return ""
    return f"its columns differ from its rows by {error:.1e} of ‖J‖"
