"""The laws of every divergence, to run over a new one.

    check_divergence(SHIFT, law, phi)

The law has to be one of which the divergence knows exact values, or draws to estimate
them from; a few of different shape tell more than one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audit.families import build_family
from audit.families.draws import draws_of
from audit.families.interface import Family
from audit.families.tensors import Pointwise
from audit.geometry.contract import checked
from audit.geometry.divergence import Divergence
from audit.ground.checking import answering, demand, keep
from audit.linalg.averaged import Sampled
from audit.nodes.noise import Noise

_SIZES = (2e-2, 2.5e-3)
_DRAWS, _ERRORS = 20_000, 4.5
_SHARP = 5e-2


@dataclass(frozen=True)
class Subject:
    """A divergence, and a law with parameters φ [N, p] to compare."""

    divergence: Divergence
    law: Family
    phi: Tensor

    def demand(
        self, holds: bool | Tensor, law: str, expected: object, found: object
    ) -> None:
        """Raise LawBroken where a law does not hold."""
        demand(bool(holds), self.divergence.name, law, expected, found, self.where)

    @property
    def where(self) -> str:
        """At which parameters it is looked at."""
        return f"φ = {self.phi.tolist()} of {type(self.law).__name__}"

    def step(self, size: float) -> Tensor:
        """Return a step of φ [N, p], in units of each parameter's own size."""
        generator = torch.Generator().manual_seed(5)
        step = torch.randn(self.phi.shape, generator=generator, dtype=torch.float64)
        return size * step * self.phi.abs().clamp_min(0.05)

    def noise(self, draws: int) -> Noise:
        """Return the noise of the inputs."""
        return Noise(1, np.arange(len(self.phi)), draws)


def it_says_what_it_is(it: Subject) -> None:
    """It has a name, a unit and a positive constant."""
    law, divergence = "it has a name, a unit and a positive constant", it.divergence
    named = bool(divergence.name and divergence.unit)
    it.demand(named, law, "texts", divergence)
    it.demand(divergence.scale > 0, law, "c > 0", divergence.scale)


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


def its_values_are_those_of_a_divergence(it: Subject) -> None:
    """Its exact value is float64 [N], zero between equals, else above zero."""
    law = "its exact value is float64 [N], zero between equals, else above zero"
    for other, what in ((it.phi, "equals"), (it.phi + it.step(0.1), "others")):
        value = it.divergence.exact(it.law, it.phi, other)
        if value is None:
            continue
        it.demand(list(value.shape) == [len(it.phi)], law, [len(it.phi)], value.shape)
        it.demand(value.dtype == torch.float64, law, torch.float64, value.dtype)
        equal = what == "equals"
        right = value.abs() < 1e-12 if equal else value > 0
        it.demand(right.all(), law, f"{'0' if equal else '> 0'} of {what}", value)


def its_form_predicts_its_values(it: Subject) -> None:
    """The second difference of its exact value is c|Bδ|²."""
    exact, c = it.divergence.exact, it.divergence.scale
    root = it.divergence.metric_root(it.law, it.phi, it.noise(_DRAWS))
    if exact(it.law, it.phi, it.phi) is None:
        return
    errors = []
    for size in _SIZES:
        step = it.step(size)
        form = c * root.matmat(step.unsqueeze(-1)).square().sum((-2, -1))
        values = [exact(it.law, it.phi, it.phi + s) for s in (step, -step)]
        mean = sum(v for v in values if v is not None) / 2
        errors.append((form / mean - 1).abs().max().item())
    sampled = isinstance(root, Sampled)
    limit = 2 * _SHARP if sampled else max(errors[0] / 4, 1e-5)
    law = f"(D(δ) + D(−δ))/2 tends to {c:g} |Bδ|²"
    it.demand(errors[1] < min(limit, 2 * _SHARP), law, "an error that falls", errors)


def its_pointwise_values_have_its_constant(it: Subject) -> None:
    """g(log t) is not negative and c (log t)² near 0; its mean is the divergence."""
    if it.divergence.pointwise is not None:
        _has_its_constant(it, it.divergence.pointwise)
        other = it.phi + it.step(0.1)
        _has_its_mean(it, it.divergence.pointwise, it.phi, other, "D = E_q[g(q'/q)]")


def its_exchanged_values_have_its_constant(it: Subject) -> None:
    """So has the g of a mean over the other law, whose mean is the divergence."""
    if it.divergence.exchanged is not None:
        _has_its_constant(it, it.divergence.exchanged)
        other = it.phi + it.step(0.1)
        _has_its_mean(it, it.divergence.exchanged, other, it.phi, "D = E_q'[g(q/q')]")


def _has_its_constant(it: Subject, pointwise: Pointwise) -> None:
    c = it.divergence.scale
    law = "g(log t) is not negative, and c (log t)² near 0"
    wide = pointwise(torch.linspace(-8, 8, 401, dtype=torch.float64))
    it.demand((wide >= -1e-15).all(), law, "≥ 0", wide.min())
    small = torch.tensor([-1e-4, 1e-4], dtype=torch.float64)
    near = pointwise(small) / small.square()
    it.demand(((near / c - 1).abs() < 1e-3).all(), law, c, near)


def _has_its_mean(
    it: Subject, pointwise: Pointwise, drawn: Tensor, other: Tensor, law: str
) -> None:
    """Demand that E g(log of the other density over the drawn one) is D."""
    exact = it.divergence.exact(it.law, it.phi, it.phi + it.step(0.1))
    if exact is None:
        return
    points = draws_of(it.law, drawn, it.noise(_DRAWS)).values
    here, there = (it.law.distribution(p).log_prob(points) for p in (drawn, other))
    values = pointwise(there - here)
    error = values.std(0) / _DRAWS**0.5
    gap = (values.mean(0) - exact).abs()
    it.demand((gap <= _ERRORS * error).all(), law, exact, values.mean(0))


LAWS: tuple[Callable[[Subject], None], ...] = (
    it_says_what_it_is,
    its_root_is_wide_and_alone,
    its_values_are_those_of_a_divergence,
    its_form_predicts_its_values,
    its_pointwise_values_have_its_constant,
    its_exchanged_values_have_its_constant,
)


def check_divergence(
    divergence: Divergence | Callable[[], Divergence],
    law: Family | None = None,
    phi: Tensor | None = None,
) -> None:
    """Hold a divergence to the laws of robaudit's own suite.

    Args:
        divergence: it, or the function that makes it.
        law: of which it knows exact values; by default normal ones in two dimensions.
        phi: parameters of some members [N, p].

    Raises:
        LawBroken: names the law, the parameters, what was expected and what found.
        BrokenPlugin: it is no divergence, or its root has another shape.
    """
    if not isinstance(divergence, Divergence):
        name = getattr(divergence, "__qualname__", repr(divergence))
        with answering(name, "it makes a Divergence"):
            divergence = checked(divergence(), divergence, Divergence)
    if law is None or phi is None:
        law, phi = _normals()
    it = Subject(divergence, law, phi.to(torch.float64))
    keep(LAWS, it, divergence.name, it.where)


def _normals() -> tuple[Family, Tensor]:
    rows = [[0.3, -1.2, 0.5, 1.4], [2.0, 0.1, 2.5, 0.8]]
    law = build_family("normal", {"loc": (2,), "scale": (2,)})
    return law, torch.tensor(rows, dtype=torch.float64)
