"""Discrete one-dimensional laws, and the linear law of their quantile distance.

The quantile function of a law on the integers is a step function: a small move of φ
moves draws by whole steps, on a set of levels of probability O(|δ|). So E(T − T')² is
linear in δ; its coefficient is that of the 1-Wasserstein distance Σ_k |C_k − C'_k|,
and for a family that is stochastically monotone in its one parameter it is |∂ mean|.

Divergences without a closed form are sums over a window that holds all the mass but
1e-20. Of laws so far apart that such a window is long, KL(f ‖ g) needs f's alone, as
Σ f log(f/g): a rate of 7 against one of a million takes 81 terms. A law whose parameter
has gone to the edge, rate 0 or probability 0, is a point mass and a member of its
family: steps that leave it there cost nothing, any other has an infinite Fisher
information, since dp²/p = p (d ln p)² is 0 or ∞ at p = 0.

Sources: Vallender, Theory of Probability and its Applications 18 (1974), for the
1-Wasserstein distance; `integrands` for the sums.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from audit.families.integrands import Integrand, RelativeEntropy
from audit.families.listed import refuse_steps, step_distance
from audit.families.runs import SHORT, Runs, alike
from audit.families.torch_laws import Counts
from audit.families.univariate import IntegratedCoordinates, Parameters
from audit.linalg.operators import Diagonal
from audit.linalg.stored import LinearOperator
from audit.nodes.special import times

LONGEST = 2_000_000  # terms of a sum
TAIL = 46.0  # nats that a window may leave out: e^-46 = 1e-20


class Lattice(IntegratedCoordinates):
    """Independent coordinates on the integers from 0."""

    discrete = True
    transport_name = "step quantile function of each coordinate"

    @abstractmethod
    def sampler(self, parameters: Parameters) -> Distribution:
        """Return a law that draws; its log probabilities are not used."""

    @abstractmethod
    def log_mass(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return the log probability [...] of integers k [...]."""

    @abstractmethod
    def log_change(self, k: Tensor, left: Parameters, right: Parameters) -> Tensor:
        """Return by how much that grows from left to right, for small steps too.

        The integers k [M, K] of a row rise, and most follow each other.
        """

    @abstractmethod
    def window(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return the first and last integer [...] that carry mass above 1e-20."""

    def pieces(self, parameters: Parameters) -> list[tuple[Tensor, Tensor]]:
        """Return the windows of the parts of the law, each [...]."""
        return [self.window(parameters)]

    @abstractmethod
    def mass_slopes(self, k: Tensor, parameters: Parameters) -> Tensor:
        """Return ∂p(k) [M, K, q] for integers k [M, K] and parameters [M, 1].

        It is finite where the score is not, at an edge of the family.
        """

    @abstractmethod
    def mean_slope(self, parameters: Parameters) -> Tensor:
        """Return |∂ mean / ∂ parameter| [...] of a one-parameter family."""

    def law(self, parameters: Parameters) -> Distribution:
        """Return the law, which is right at the edges of the family too."""
        sampler = self.sampler(parameters)
        return Counts(sampler, lambda k: self.log_mass(k, parameters))

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Refuse: a step function has no derivative."""
        return refuse_steps(self)

    def linear_root(self, phi: Tensor) -> LinearOperator | None:
        """Return one row for each coordinate: |∂ mean|."""
        return Diagonal(self.mean_slope(self.split(phi)))

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return E‖T − T'‖² [N] of the step functions."""
        laws = self.split(phi), self.split(other)
        return self.on_window(laws, self._step_distance, sparse=True).sum(-1)

    def on_window(
        self,
        laws: Sequence[Parameters],
        total: Callable[[Tensor, Sequence[Parameters]], Tensor],
        also: Sequence[Parameters] = (),
        by: int | None = None,
        sparse: bool = False,
    ) -> Tensor:
        """Apply `total` to integers k [M, K] that carry all the laws.

        Args:
            laws: parameters, each [...].
            total: k [M, K] and the laws' parameters [M, 1] -> what to return [M, ...].
            also: laws that the window has to carry too.
            by: how many of the laws, the first, make the window; None: all.
            sparse: whether integers without mass between parts may be left out.

        Returns:
            [..., ...]; NaN where more than LONGEST terms would be needed.
        """
        shape = laws[0][0].shape
        flat = [tuple(v.reshape(-1, 1) for v in p) for p in (*laws, *also)]
        runs = self._runs(flat[:by], sparse)
        too_long = ~(runs.length <= LONGEST)
        runs = runs.without(too_long)
        parts, order = [], []
        for some, longest in alike(runs.length):
            order.append(some)
            chosen = [tuple(v[some] for v in p) for p in flat[: len(laws)]]
            parts.append(total(runs.integers(some, longest), chosen))
        result = torch.cat(parts)[torch.argsort(torch.cat(order))]
        too_long = too_long.reshape(-1, *(1,) * (result.dim() - 1))
        result = result.masked_fill(too_long, torch.nan)
        return result.reshape(*shape, *result.shape[1:])

    def _divergence(
        self,
        left: Parameters,
        right: Parameters,
        integrand: Integrand,
        also: Sequence[Parameters] = (),
    ) -> Tensor:
        """Return the divergence [...] as a sum over a window."""

        def total(k: Tensor, laws: Sequence[Parameters]) -> Tensor:
            log_f, log_g = (self.log_mass(k, parameters) for parameters in laws)
            change = self.log_change(k, *laws)
            return integrand(log_f, log_g, torch.ones_like(log_f), change)

        def one_sided(k: Tensor, laws: Sequence[Parameters]) -> Tensor:
            f = self.log_mass(k, laws[0]).exp()
            change = torch.where(f == 0, 0.0, self.log_change(k, *laws))
            return -times(f, change).sum(-1)

        if isinstance(integrand, RelativeEntropy):
            far = self._far(left, right)
            if bool(far.all()):
                return self.on_window((left, right), one_sided, by=1, sparse=True)
            if bool(far.any()):
                near, apart = (
                    [tuple(v[rows] for v in law) for law in (left, right)]
                    for rows in (~far, far)
                )
                found = torch.zeros_like(left[0])
                found[~far] = self.on_window(near, total, sparse=True)
                found[far] = self.on_window(apart, one_sided, by=1, sparse=True)
                return found
        return self.on_window((left, right), total, also, sparse=True)

    def _far(self, left: Parameters, right: Parameters) -> Tensor:
        """Return where a sum over both laws is long, and most of it not left's."""
        flat = [tuple(v.reshape(-1, 1) for v in law) for law in (left, right)]
        both, own = (self._runs(laws, True).length for laws in (flat, flat[:1]))
        far = (both > SHORT) & ~(both < 2 * own)
        return far.reshape(left[0].shape)

    def _runs(self, laws: Sequence[Parameters], sparse: bool) -> Runs:
        """Return the integers that carry some laws, parameters [M, 1]."""
        found = [each for law in laws for each in self.pieces(law)]
        first, last = (torch.cat(ends, -1) for ends in zip(*found, strict=True))
        if not sparse:
            first, last = first.amin(-1, keepdim=True), last.amax(-1, keepdim=True)
        return Runs.of(first, last)

    def _step_distance(self, k: Tensor, laws: Sequence[Parameters]) -> Tensor:
        """Return E(T − T')² [M], by the levels at which either function steps."""
        ours, theirs = (self.log_mass(k, law).exp() for law in laws)
        return step_distance(ours, theirs, k)
