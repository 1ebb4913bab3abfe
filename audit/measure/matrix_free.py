"""A Jacobian that is not stored: for which models it may be, and what it takes then.

J has p · d numbers and takes p backward passes. Where both p and d are large, or J does
not fit in `--memory`, trace and leading directions come from products (`krylov`), tens
of passes; `planner` chooses. The law's root has to be known in closed form: with draws
of scores there are as many rows as draws, and with a quadrature the rows are its nodes.
"""

from __future__ import annotations

import numpy as np
import torch

from audit.families.interface import Family
from audit.geometry.divergence import Divergence
from audit.linalg.averaged import Averaged
from audit.linalg.krylov import WIDTH, halves, trace
from audit.linalg.stored import Matrix
from audit.models.maps import ReverseJacobian
from audit.models.opening import OpenModel
from audit.models.products import ByProducts, has_products
from audit.models.swept_cut import left_bytes
from audit.nodes.noise import Noise

_GRAPHS = 4  # forward, backward, and what runs through them, over what forward keeps
_SEED = 41


def refusal(model: OpenModel, asked: tuple[Divergence, ...]) -> str:
    """Return why a model cannot be measured by products alone; "" where it can."""
    family = model.density.family
    if not family.parametric:
        return "the law is a function of the file itself, not of its outputs"
    if model.space != "input":
        return "the parameters themselves are perturbed, and have no Jacobian"
    if model.by_differences:
        return "derivatives are taken by finite differences, a column at a time"
    phi = _first(model)
    for divergence in asked:
        if is_linear(divergence, family, phi):
            return f"{divergence.name} of a discrete law is linear, and takes every row"
        root = divergence.metric_root(family, phi, Noise(0, np.arange(len(phi)), 2))
        if isinstance(root, Averaged):
            return f"the tensor of {divergence.name} has no closed form for this law"
    if not _by_both(model):
        return "an operator on the way has no second derivative"
    return ""


def is_linear(divergence: Divergence, family: Family, phi: torch.Tensor) -> bool:
    """Tell whether a divergence is linear in δ: it has rows, and no quadratic form."""
    return divergence.is_transport and family.linear_root(phi) is not None


def passes_bytes(top: int, model: OpenModel, asked: tuple[Divergence, ...]) -> int:
    """Return the bytes of one input's passes, with their graphs and Krylov spaces."""
    p, d = model.density.family.size, model.density.d
    probes = trace.MOST
    space = min(p, d) * (4 * WIDTH + halves.MOST + 2 * probes + 4 * top)
    both = (p + d) * (halves.MOST + probes + 4 * top)
    phi = _first(model)
    roots = sum(_root_bytes(divergence, model, phi) for divergence in asked)
    passes = 8 * (space + both) + _GRAPHS * _kept_bytes(model)
    return passes + 2 * roots + left_bytes(p, d)


def _root_bytes(divergence: Divergence, model: OpenModel, phi: torch.Tensor) -> int:
    """Return the bytes of a law's root at one input, where it is stored."""
    noise = Noise(0, np.arange(len(phi)), 2)
    root = divergence.metric_root(model.density.family, phi, noise)
    return 8 * root.entries[0].numel() if isinstance(root, Matrix) else 0


def _kept_bytes(model: OpenModel) -> int:
    """Return what a forward pass keeps for one input: not the weights, which it shares.

    It is what the passes through one and two inputs differ by.
    """
    found = []
    for count in (1, 2):
        sizes: dict[int, int] = {}

        def keep(value: torch.Tensor, sizes: dict[int, int] = sizes) -> torch.Tensor:
            storage = value.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return value

        index = np.resize(model.probe_index()[:1], count)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            kept = model.density.parameter_map.linearize(*model.rows(index))
        found.append(sum(sizes.values()))
        del kept
    return max(0, found[1] - found[0])


def _first(model: OpenModel) -> torch.Tensor:
    """Return φ [1, p] of the first input without NaN."""
    return model.density.parameter_map(*model.rows(model.probe_index()[:1]))


def _by_both(model: OpenModel) -> bool:
    """Whether products with J and Jᵀ agree at one input."""
    rows = model.rows(model.probe_index()[:1])
    _, jacobian = model.density.parameter_map.linearize(*rows)
    if not isinstance(jacobian, ReverseJacobian):
        return False
    random = np.random.default_rng(_SEED)
    _, p, d = jacobian.shape
    u, v = (torch.from_numpy(random.standard_normal((1, m, 1))) for m in (p, d))
    both = ByProducts(jacobian.phi, jacobian.x)
    return has_products(both, u.to(both.x.device), v.to(both.x.device))
