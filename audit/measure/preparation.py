"""From a configuration to an open model and the questions asked of it.

Every worker prepares for itself: what crosses an engine is the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from audit.attacks.bases import Attack
from audit.attacks.laws import build_attack
from audit.config import ScanConfig
from audit.config.settings import DEFAULT_DIVERGENCES
from audit.families.interface import Family
from audit.geometry.divergence import Divergence
from audit.geometry.divergences import build_divergence
from audit.ground.errors import NoFisher, NoTransport
from audit.measure import Questions
from audit.measure.bounds import Bounds, read_bounds
from audit.measure.framing import Notes, frame_of
from audit.measure.matrix_free import is_linear, refusal
from audit.measure.plan import Plan
from audit.measure.planner import by_products_alone, planned
from audit.measure.principal import principal_space
from audit.measure.selection import Selected, index_of, select_rows
from audit.measure.shapes import probe_parameters, shapes_of
from audit.models.contract import Settings
from audit.models.gates import Findings
from audit.models.network import Network
from audit.models.opening import OpenModel, open_model
from audit.models.swept import SweptMap
from audit.models.swept_products import with_products
from audit.reports.keys import check_keys

_ROWS_LEFT_OUT = (
    "{0} was not measured: of a discrete law it is linear in the perturbation, and it "
    "takes every row of a Jacobian that is too large to be stored; -d {0} --method "
    "dense measures it all the same"
)


@dataclass(frozen=True)
class Prepared:
    """Everything a block needs.

    Args:
        model: open. questions: asked of it.
        selected: the indices of the inputs that are audited, ascending.
        sampling: how they were chosen.
        block: its number of rows.
        notes: (code, message) for the reader.
        trust: the relative error asked for, and whether q need not integrate to one.
        phi: φ of a few inputs that belong to the family.
    """

    model: OpenModel
    questions: Questions
    selected: Selected
    sampling: str
    block: int
    notes: Notes
    trust: tuple[float | None, bool]
    phi: torch.Tensor
    held: int = 1
    """How many rows --memory holds at the same time; at least a block."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """The indices of all inputs that are audited [N]."""
        return index_of(self.selected)


def prepare(
    config: ScanConfig,
    keep_directions: bool,
    network: Network | None = None,
    gates: Findings | None = None,
) -> Prepared:
    """Open the model, resolve every option that needs it, and size the blocks.

    Args:
        config: everything there is to know.
        keep_directions: whether answers hold directions.
        network: the model, where it is open already; None: the file of `config`.
        gates: what they measured, where this file has passed them; None: pass them.

    Raises:
        AuditError: one of its kinds, for whatever is wrong with model, data or options.
    """
    _attacks(config)
    for text in config.divergences:
        build_divergence(text)
    model = open_model(settings_of(config), config.data, network, gates)
    return prepared_for(config, keep_directions, model)


def prepared_for(
    config: ScanConfig, keep_directions: bool, model: OpenModel
) -> Prepared:
    """Resolve every option that needs the model, and size the blocks.

    Args:
        config: everything there is to know.
        keep_directions: whether answers hold directions.
        model: open, its gates passed.

    Raises:
        AuditError: one of its kinds, for whatever is wrong with the options.
    """
    attacks = _attacks(config)
    phi = probe_parameters(model)
    frame, notes = frame_of(config, model)
    free = len(frame.free)
    without = _rows_left_out(config, model, free)
    divergences, left_out = _divergences(config, model.density.family, phi, without)
    names = [divergence.name for divergence in divergences]
    check_keys(config.thresholds, names, list(attacks))
    rows, sampling = select_rows(config, model.inputs.n)
    shapes = shapes_of(config, model, free, divergences, len(rows))
    plan = planned(shapes, config.plan, config.method)
    model = _as_planned(model, plan)
    questions = Questions(
        divergences,
        attacks,
        frame,
        min(config.top, len(frame.free), model.density.family.size),
        config.tau,
        _first_draws(config),
        config.seed,
        keep_directions,
        config.sampling,
        config.rel_error,
        config.max_draws,
        plan,
        bounds=_bounds(config, model),
    )
    principal = principal_space(model, frame, rows)
    questions = replace(questions, principal=principal)
    notes = (*model.gates.warnings, *notes, *left_out)
    family = model.density.family
    trust = config.rel_error, family.unnormalised
    sized = rows, sampling, plan.inputs
    return Prepared(model, questions, *sized, notes, trust, phi, plan.held)


def _as_planned(model: OpenModel, plan: Plan) -> OpenModel:
    """Return a model whose sweep does what a plan says."""
    if plan.by_products:
        return with_products(model)
    if plan.pull is None or not isinstance(model.swept, SweptMap):
        return model
    return replace(model, swept=model.swept.pulling(int(plan.pull.value)))


def _bounds(config: ScanConfig, model: OpenModel) -> Bounds | None:
    written = config.bounds
    return None if written is None else read_bounds(written, model.event)


def _attacks(config: ScanConfig) -> dict[str, Attack]:
    return {a.label: build_attack(a.kind, a.arguments) for a in config.attacks}


def _first_draws(config: ScanConfig) -> int:
    """Return the draws of an input before any doubling."""
    if config.rel_error is None:
        return config.draws_per_input
    return min(config.draws_per_input, config.max_draws)


def settings_of(config: ScanConfig) -> Settings:
    """Return what the user said about the model."""
    rows = "krylov" if config.method == "krylov" else config.plan.get("rows", "auto")
    return Settings(
        config.model,
        config.origins,
        config.method,
        config.bottleneck == "auto" and config.plan.get("cut") != "off",
        config.draws_per_input,
        config.memory,
        rows,
        config.plan.get("slopes", "auto"),
        config.aside,
    )


def _divergences(
    config: ScanConfig, family: Family, phi: torch.Tensor, by_products: bool
) -> tuple[tuple[Divergence, ...], Notes]:
    """Return the divergences asked for; by default those of two that exist.

    One that nobody asked for is left out, with a note, where the family says that it is
    infinite on the first inputs; one that was asked for is measured, infinite or not.
    """
    asked = [build_divergence(text) for text in config.divergences]
    for divergence in asked:
        divergence.require(family, phi)
    if asked:
        return tuple(asked), ()
    found, refusals, notes = [], [], []
    for divergence in map(build_divergence, DEFAULT_DIVERGENCES):
        try:
            divergence.require(family, phi)
        except (NoFisher, NoTransport) as error:
            refusals.append(error)
            continue
        if by_products and is_linear(divergence, family, phi):
            notes.append(("left_out", _ROWS_LEFT_OUT.format(divergence.name)))
            continue
        why = _infinite(divergence, family, phi)
        if why:
            notes.append(("left_out", _left_out(divergence.name, len(phi), why)))
        else:
            found.append(divergence)
    if not found:
        raise refusals[0]
    return tuple(found), tuple(notes)


def _rows_left_out(config: ScanConfig, model: OpenModel, free: int) -> bool:
    """Tell whether only products with J are made, so that nothing takes every row."""
    sizes = model.density.family.size, model.density.d, free, config.memory
    if config.divergences or not by_products_alone(*sizes, config.plan, config.method):
        return False
    try:
        return not refusal(model, (build_divergence("kl"),))
    except NoFisher:
        return False


def _left_out(name: str, probed: int, why: str) -> str:
    return (
        f"{name} was not measured: it is infinite on the first {probed} inputs "
        f"({why}); -d {name} measures it all the same"
    )


def _infinite(divergence: Divergence, family: Family, phi: torch.Tensor) -> str:
    """Return why a divergence is infinite at φ, all of it; "" where it is not."""
    if not divergence.is_transport or family.linear_root(phi) is not None:
        return ""
    caveats = family.transport_caveat(phi).items()
    return next((why for why, rows in caveats if bool(rows.all())), "")
