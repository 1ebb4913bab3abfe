"""The laws of exact values, and of the map of which the transport tensor is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from audit.families.checking.points import log_density, points_of
from audit.families.checking.subject import (
    DRAWS,
    ERRORS,
    RESOLVED,
    Subject,
    gram,
)

_SIZES = (2e-2, 2.5e-3)
_ROUGH, _FINE = 5e-2, 1e-5  # relative errors of a form at the smaller step
_SLOPED, _SLOPE_OFF = 1e-4, 1e-5  # of a step, and of the slope along it
_SPEED = 1e-2  # of a diagonal entry: what counting levels by nodes leaves
Exact = Callable[[Tensor, Tensor], Tensor | None]


def exact_values(it: Subject) -> Iterator[tuple[str, Exact, float, str]]:
    """Yield each exact value: its name, itself, its constant c and its root's name."""
    yield "kl", it.law.kl, 1 / 2, "fisher_root"
    half = partial(it.law.renyi, alpha=0.5)
    yield "renyi of order 1/2", half, 1 / 4, "fisher_root"
    yield "jensen_shannon", it.law.jensen_shannon, 1 / 8, "fisher_root"
    yield "transport_distance", it.law.transport_distance, 1.0, "transport_root"
    yield "wasserstein_distance", it.law.wasserstein_distance, 1.0, "wasserstein_root"


def exact_values_are_distances(it: Subject) -> None:
    """An exact value is float64 [N], zero between equals, else positive or ∞."""
    phi = it.phi.detach()
    for name, exact, _, _ in exact_values(it):
        law = f"{name} is float64 [N], zero between equals, else above zero"
        here, there = exact(phi, phi), exact(phi, phi + it.step(_SIZES[0]))
        if here is None or there is None:
            both = here is None and there is None
            it.demand(both, law, "known for all or for none", (here, there))
            continue
        for value in (here, there):
            shape = list(value.shape)
            it.demand(shape == [len(phi)], law, [len(phi)], shape)
            it.demand(value.dtype == torch.float64, law, torch.float64, value.dtype)
        infinite = torch.isinf(here)  # a distance without second moments
        it.demand(((here.abs() < 1e-12) | infinite).all(), law, 0.0, here)
        it.demand((there > 0).all(), law, "above 0", there)


def forms_predict_exact_values(it: Subject) -> None:
    """The second difference of an exact value is c|Bδ|², the better the smaller δ."""
    phi = it.phi.detach()
    for name, exact, scale, kind in exact_values(it):
        root = it.root(kind)
        if root is None or exact(phi, phi) is None:
            continue
        errors, law = [], f"(D(δ) + D(−δ))/2 of {name} tends to {scale:g} |Bδ|²"
        for size in _SIZES:
            step = it.step(size)
            form = scale * root.matmat(step.unsqueeze(-1)).square().sum((-2, -1))
            both = [_known(exact(phi, phi + s)) for s in (step, -step)]
            mean = (both[0] + both[1]) / 2
            known = torch.isfinite(mean) & torch.isfinite(form)
            if not bool(known.any()):
                break
            errors.append((form / mean - 1)[known].abs().max().item())
        if len(errors) == len(_SIZES):
            better = errors[1] < max(errors[0] / 4, _FINE) and errors[1] < _ROUGH
            it.demand(better, law, "an error that falls with δ", errors)


def kl_is_the_mean_log_ratio(it: Subject) -> None:
    """KL is E_q[log q − log q'], over draws and over all outcomes of one number."""
    phi = it.first()
    other = phi + it.step(0.1)[:1]
    known = it.law.kl(phi, other)
    if known is None or bool(
        torch.stack(list(it.law.violations(other).values())).any()
    ):
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(it.seed)
        points = it.law.distribution(phi.expand(DRAWS, -1)).sample()
    ratio = log_density(it, points, phi) - log_density(it, points, other)
    error = ratio.std() / DRAWS**0.5
    gap, law = (ratio.mean() - known[0]).abs(), "KL = E_q[log q − log q'] over draws"
    same = gap <= ERRORS * error + 1e-9 if torch.isfinite(known[0]) else True
    it.demand(same, law, f"{ratio.mean():g} ± {error:g}", known[0])


def stated_slopes_are_those_of_kl(it: Subject) -> None:
    """What a law states as ∂KL/∂φ' is what its KL rises by, where one is stated."""
    phi = it.phi.detach()
    other = phi + it.step(0.1)
    stated = it.law.kl_slope(phi, other)
    if stated is None:
        return
    law = "kl_slope is float64 [N, p], and KL rises by it along a step of φ'"
    it.demand(stated.shape == phi.shape, law, list(phi.shape), list(stated.shape))
    it.demand(stated.dtype == torch.float64, law, torch.float64, stated.dtype)
    move = it.step(_SLOPED).roll(1, dims=0)
    ends = [_known(it.law.kl(phi, other + s)) for s in (move, -move)]
    rise, found = (ends[0] - ends[1]) / 2, (stated * move).sum(dim=1)
    size = (stated * move).abs().sum(dim=1)
    off = ((rise - found).abs() / size)[torch.isfinite(rise) & (size > 0)]
    it.demand((off < _SLOPE_OFF).all(), law, rise, found)


def transport_is_the_speed_of_quantiles(it: Subject) -> None:
    """BᵀB of a continuous number is ∫ ∂Q ∂Qᵀ du, by differences of quantiles."""
    one = it.alone()
    if one.refuses("fisher_root"):  # its support moves: log q has no derivative there
        return
    root = one.root("transport_root")
    if root is None or one.law.discrete or one.numbers != 1:
        return
    tensor, phi = gram(root)[0], one.first()
    if not torch.isfinite(tensor).all():
        return
    try:
        points, weights = points_of(one)
        mass = weights * log_density(one, points, phi).exp()
    except NotImplementedError:  # it knows quantiles, not a density
        return
    if abs(mass.sum().item() - 1) > RESOLVED:
        return
    found = _mean_speed(one, points.reshape(-1), weights, mass)
    size = tensor.diagonal().sqrt()
    gap = (found - tensor).abs() / (size * size.unsqueeze(-1))
    law = "BᵀB = ∫ ∂Q ∂Qᵀ du, by differences of the law's own quantiles"
    one.demand((gap < _SPEED).all(), law, found, tensor)


def _mean_speed(one: Subject, x: Tensor, weights: Tensor, mass: Tensor) -> Tensor:
    """Return ∫ ∂Q ∂Qᵀ du = ∫ ∂F ∂Fᵀ / q dx [p, p], F counted from its nearer end."""
    phi, columns = one.first(), []
    shape = (-1, *one.law.event_shape)
    for column in range(one.law.size):
        h = 1e-4 * max(0.05, abs(phi[0, column].item()))
        moved = []
        for sign in (1, -1):
            other = phi.clone()
            other[0, column] += sign * h
            moved.append(log_density(one, x.reshape(shape), other).exp())
        change = torch.nan_to_num(weights * (moved[0] - moved[1]) / (2 * h))
        below = change.cumsum(0) - change / 2
        above = change.flip(0).cumsum(0).flip(0) - change / 2
        columns.append(torch.where(mass.cumsum(0) < 0.5, below, -above))
    speed = torch.stack(columns, -1)
    share = torch.where(mass > 1e-250, weights.square() / mass, 0.0)
    return (speed.mT * share) @ speed


def _known(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


LAWS = (
    exact_values_are_distances,
    forms_predict_exact_values,
    kl_is_the_mean_log_ratio,
    stated_slopes_are_those_of_kl,
    transport_is_the_speed_of_quantiles,
)
