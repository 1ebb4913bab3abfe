"""`export_posterior`: a density, its sampler if it can be had, or a mixture."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audit.export.attempts import How, Task, known_format, on_terminal, traced, write
from audit.export.bounds import space_of, warn_of_leakage
from audit.export.conditions import conditions, misfit, require_finite
from audit.export.contracts import density_contract, mixture_contract
from audit.export.densities import Density, Foreign, base_noise, unvalidated
from audit.export.estimators import LogProb, take_apart
from audit.export.mixtures import Components
from audit.export.roles import Role, chosen, named_for, require_told, told_by
from audit.ground.errors import ConfigError, ModelError


@unvalidated()
def export_posterior(
    estimator: Foreign,
    path: str | Path,
    *,
    condition_shape: Sequence[int] | None = None,
    x: Tensor | None = None,
    target_space: str | None = None,
    seed: int = 0,
    role: str | None = None,
    truncated: bool = False,
    exporter: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Save log q(θ|x), and θ = T(x, z) where it can be, with the contract inside.

    `robaudit scan FILE DATA` then needs no flags. Mixtures are written as the
    parameters of their components. The file is read back and compared with the
    estimator before it takes its name. sbi's standardising steps and embedding nets
    are part of the file; its correction for mass outside a bounded prior (leakage) is
    not: the file holds the density that was trained, and a warning says how much of it
    is outside.

    Args:
        estimator: a zuko flow or GMM, an nflows Flow, sbi's trainer (NPE, NLE), what
            its train() returns or its DirectPosterior, or a module whose forward(x)
            returns a distribution.
        path: the file; `.onnx`, `.pt2` or `.pt` says which format.
        condition_shape: the shape of one condition; sbi's estimators know theirs.
        x: typical conditions [N, ...] to compare at; by default standard normal ones.
        target_space: for example "rt:positive,choice:{-1,1}".
        seed: of the rows that are compared.
        role: "posterior", q(θ|x), or "likelihood", q(x|θ), whose x= and condition are
            θ; needed for what sbi's train() returns where nothing tells (`roles`).
        truncated: write the density alone, with the prior's box as the range of θ: a
            scan with --unnormalised then audits sbi's own posterior (`bounds`).
        exporter: "auto", or "dynamo" to leave traces out, as files written before.
        progress: is told what is being done; None: stderr is, if it is a terminal.

    Returns:
        The path.

    Raises:
        ConfigError: the suffix, the role or the shape of a condition is not known.
        ModelError: the estimator is of no known kind, no exporter can write it, or the
            file differs from it.
    """
    path = known_format(path)
    told = told_by(estimator)
    known = chosen(role, told)
    require_told(told, known, tuple(x.shape[1:]) if x is not None else condition_shape)
    rows = conditions(told.estimator, condition_shape, x, seed)
    try:
        with torch.no_grad():
            inside, own = take_apart(told.estimator, rows)
    except (RuntimeError, TypeError) as error:
        raise misfit(rows, error) from None
    inside.eval().requires_grad_(False)
    how = How(traced(exporter), progress or on_terminal, known or Role.POSTERIOR)
    if not truncated:
        warn_of_leakage(told.prior, inside, rows, path.name)
    if not isinstance(inside, Density):
        if truncated:
            raise _not_of_mixtures(estimator)
        return _mixture(inside, own, path, rows, how)
    if truncated:
        target_space = space_of(told.prior, inside.size)
        inside.law, inside.obstacle = "", "its draws would leave the prior's bounds"
    generator = torch.Generator().manual_seed(seed)
    if target_space is None and path.suffix == ".pt":  # which declares no shapes
        target_space = f"{how.role.target}:real*{inside.size}"
    extra = {"target_space": target_space} if target_space else {}
    return _density(inside, own, path, rows, extra, generator, how)


def _not_of_mixtures(estimator: Foreign) -> ConfigError:
    return ConfigError(
        f"truncated=True was given for a {type(estimator).__name__} of a mixture",
        "Expected a flow: a mixture is written as its parameters, without bounds",
        "Leave it out, or train a flow (NPE with maf or nsf)",
    )


def _density(
    module: Density,
    own: LogProb,
    path: Path,
    x: Tensor,
    extra: Mapping[str, str],
    generator: torch.Generator,
    how: How,
) -> Path:
    """Write both outputs, else log_prob alone and say what follows."""
    z = base_noise(module.law, len(x), module.size, generator).to(x)
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        torch.manual_seed(generator.initial_seed())
        theta = module.sample(x, z) if module.law else module.draw(x)
        log_prob = own(x, theta)
    require_finite(log_prob, x)
    role, named = how.role, named_for(module, how.role)
    inputs = role.names({"x": x, "theta": theta})
    expected = {"log_prob": log_prob}
    reason = module.obstacle
    options: dict[str, Any] = {
        "traced": how.traced,
        "tell": how.tell,
        "condition": role.condition,
    }
    if module.law:
        full, values = inputs | {"z": z}, expected | {"sample": theta}
        document = density_contract(module, extra, role)
        try:
            return write(Task(named, path, full, values, document, **options))
        except ModelError as error:
            reason = error.given
    document = density_contract(None, extra, role)
    written = write(Task(named, path, inputs, expected, document, **options))
    warnings.warn(
        f"'{path.name}' holds log_prob and no sampler: {reason}. A scan integrates "
        "over a grid where there are one or two parameters; for more it needs draws of "
        "the model in the data (--draws KEY) or takes them by NUTS",
        stacklevel=3,
    )
    return written


def _mixture(module: Components, own: LogProb, path: Path, x: Tensor, how: How) -> Path:
    """Write the components' parameters, whose density must be the estimator's own."""
    with torch.no_grad():
        expected = module(x)
        law = module.law_of(expected)
        theta = law.sample()
        values = own(x, theta)
        gap = float((law.log_prob(theta) - values).abs().max())
    require_finite(values, x)
    if not gap <= module.tolerance:
        raise ModelError(
            f"The mixture's log_prob differs from the estimator's by {gap:.1e}",
            f"They should agree within {module.tolerance:.0e} on {len(x)} rows",
            "Pass typical conditions as x=",
        )
    role = how.role
    document = mixture_contract(module, list(expected), role)
    named, inputs = named_for(module, role), {role.condition: x}
    return write(
        Task(named, path, inputs, expected, document, role.condition, tell=how.tell)
    )
