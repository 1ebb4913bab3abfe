"""The local law that is held against exact values, quadratic or linear."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from audit.attacks.balls import Ball
from audit.attacks.bases import Attack, RandomAttack
from audit.attacks.damped import leading_axes
from audit.geometry.divergence import Divergence
from audit.geometry.pullback import pull_back
from audit.linalg.averaged import Sampled
from audit.linalg.decompose import decompose
from audit.linalg.matrix_free import free_part
from audit.linalg.operators import Product
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Estimate, Spectrum
from audit.linalg.stored import Matrix
from audit.measure import linear_law
from audit.measure.linear_law import LinearLaw
from audit.verify.sites import Site

_DIRECTIONS = 8  # that are tried, with both signs, where no direction is the worst
_STREAM = 7  # of the noise


@dataclass(frozen=True)
class LocalLaw:
    """δ -> c |A δ|², or Σ|aᵢᵀ δ|, at n inputs, with its worst direction.

    Args:
        law: the form, or the linear law.
        spectrum: of a form; None for a linear law.
        worst: [n, m], unit; zero where no direction is the worst.
        size: λ_max, or the slope along `worst` [n].
    """

    law: QuadraticForm | LinearLaw
    spectrum: Spectrum | None
    worst: Tensor
    size: Tensor

    def at(self, rows: Tensor, u: Tensor) -> Tensor:
        """Return the law of some inputs [k] at u [k, K, m]: [k, K]."""
        return self.law.take(rows)(u.mT)

    def at_pairs(self, rows: Tensor, u: Tensor) -> Tensor:
        """Return the same, where the second half of u may mirror the first.

        A form is even: by products alone, where each value takes a pass of the network,
        half of them are copied.
        """
        half = u.shape[1] // 2
        if not self.by_products or not torch.equal(u[:, half:], -u[:, :half]):
            return self.at(rows, u)
        return self.at(rows, u[:, :half]).repeat(1, 2)

    @property
    def by_products(self) -> bool:
        """Whether the law is known by products alone, and its trace by probes."""
        if isinstance(self.law, LinearLaw):
            return False
        return free_part(self.law.root) is not None

    def expected(self, attack: Attack) -> Estimate | None:
        """Return E[law(δ)] [n] under an attack; None where two moments do not do."""
        if isinstance(self.law, LinearLaw):
            return self.law.expected(attack)
        assert self.spectrum is not None
        return attack.expected(self.law, self.spectrum)

    @cached_property
    def axes(self) -> Tensor | None:
        """The leading principal axes a_k of a form [n, A, m]; None where not known."""
        return None if isinstance(self.law, LinearLaw) else leading_axes(self.law)

    def along_axes(self, rows: Tensor, u: Tensor) -> tuple[Tensor, ...]:
        """Return c (a_kᵀ u)² at u [k, K, m], [k, K] for each of the axes."""
        if self.axes is None or isinstance(self.law, LinearLaw):
            return ()
        parts = self.axes[rows] @ u.mT
        return tuple((self.law.scale * parts.square()).transpose(0, 1))

    def damped(
        self, attack: RandomAttack, rows: Tensor, rates: Tensor
    ) -> Tensor | None:
        """Return E[(1 − e^{−s Q})/s] [k, 1 + A, R] of some inputs, then of the axes.

        None where it is not known.
        """
        if isinstance(self.law, LinearLaw):
            return None
        forms = [self.law.take(rows)]
        if self.axes is not None:
            each = self.axes[rows].unsqueeze(2).transpose(0, 1)  # [A, k, 1, m]
            forms += [QuadraticForm(self.law.scale, Matrix(one)) for one in each]
        found = [attack.damped(form, rates) for form in forms]
        known = [one for one in found if one is not None]
        return torch.stack(known, dim=1) if len(known) == len(found) else None

    def worst_of(self, ball: Ball) -> Tensor:
        """Return where the law is largest on a unit ball [n, m], as far as found.

        Zero where no direction is the worst.
        """
        if ball.p == 2:
            return self.worst
        if isinstance(self.law, LinearLaw):
            return self.law.worst(ball)[0]
        assert self.spectrum is not None
        return ball.largest(self.law, self.spectrum)

    def radius(self, tau: float) -> Tensor:
        """Return the norm along the worst direction at which the law is τ [n]."""
        if isinstance(self.law, LinearLaw):
            return tau * self.size.reciprocal()
        return math.sqrt(tau / self.law.scale) * self.size.rsqrt()

    @property
    def sampled(self) -> bool:
        """Whether the law is an average over draws, and depends on how many."""
        if isinstance(self.law, LinearLaw):
            return False
        root = self.law.root
        return isinstance(root.outer if isinstance(root, Product) else root, Sampled)

    @property
    def directed(self) -> Tensor:
        """Where there is a worst direction [n]."""
        return self.worst.abs().sum(dim=1) > 0


def local_law(divergence: Divergence, site: Site) -> LocalLaw:
    """Return a divergence's local law at a site."""
    point = site.point
    linear = linear_law(divergence, point)
    if linear is not None:
        return LocalLaw(linear, None, linear.direction, linear.coefficient)
    form = pull_back(divergence, point.family, point.phi, point.jacobian, site.noise)
    questions = site.questions
    side = questions.plan.decomposed
    spectrum = decompose(form, questions.top, point.rounding, side)
    worst = spectrum.directions[:, :, 0]
    return LocalLaw(form, spectrum, worst, spectrum.eigenvalues[:, 0])


def sampled_directions(site: Site, rows: Tensor) -> Tensor:
    """Return unit directions [k, 2·8, m], v and −v, for some inputs [k].

    They are uniform on the sphere and keyed by the input.
    """
    v = site.noise.normals((_DIRECTIONS, site.free), _STREAM, rows.tolist())
    v = v.to(site.x.device)
    v = v / v.norm(dim=2, keepdim=True)
    return torch.cat([v, -v], dim=1)
