"""Draws from a density that is only known as a function, by Hamiltonian Markov chains.

For more than two coordinates a grid has too many cells; the No-U-Turn sampler of Pyro
follows the gradient of log q in unconstrained coordinates u, with log |dθ/du| added.
Discrete coordinates are summed over while u moves, and drawn given u afterwards.

The C chains of an input are one state of C c coordinates, each with its own block of
the mass matrix: one pass of the network serves all. They start apart, each at the best
of some hundred draws of very different widths, moved uphill by L-BFGS. Chains that
found different modes and do not mix show in split R-hat, which is above 1.1 then. A
mode that no chain has found shows nowhere: where all chains agree on one of several,
R-hat is one, and the draws are wrong.

Reference:
    Hoffman and Gelman, The No-U-Turn sampler, JMLR 15 (2014).
    Gelman et al., Bayesian Data Analysis, 3rd edition (2013), section 11.4 (R-hat).

Shapes: N inputs, S draws, C chains, n columns of θ (c continuous), D combinations.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from audit.ground.errors import ConfigError
from audit.nodes.noise import Noise, own_generator
from audit.nodes.sights import LogDensity
from audit.nodes.space import TargetSpace

STREAM = 7
GUESSES = 256  # points of which a chain starts at the best
WIDTHS = (-2.0, 4.0)  # powers of ten of the guesses' distance from zero
CLIMB = 40  # steps of L-BFGS
SHORTEST = 8  # draws of a chain


@dataclass(frozen=True)
class Chains:
    """Draws from each input's density, and whether to believe them.

    Args:
        targets: θ [S, N, n]; consecutive draws are of one chain, chain after chain.
        rhat: split R-hat of the worst coordinate [N]; above 1.05 the chains disagree,
            but 1 does not say that they have found all modes.
        ess: effective sample size of the worst coordinate [N], from 1 to S draws.
        divergences: how many steps ran away [N].
    """

    targets: Tensor
    rhat: Tensor
    ess: Tensor
    divergences: Tensor


def nuts_draws(
    log_density: LogDensity,
    phi: Tensor,
    space: TargetSpace,
    noise: Noise,
    warmup: int = 300,
    chains: int = 4,
) -> Chains:
    """Return draws from q(θ; φ) for each input, the same for the same seed.

    Args:
        log_density: θ [R, n], φ [R, p] -> log q [R], differentiable in θ; it need not
            be normalised.
        phi: parameters [N, p], float64.
        space: what θ may be; at least one coordinate is continuous.
        noise: of the N inputs; `noise.draws` is S.
        warmup: steps in which step size and mass matrix are learnt and not kept.
        chains: C, at least two.

    Raises:
        ConfigError: Pyro is not installed, or no coordinate is continuous.
    """
    _check(space)
    runs = []
    with own_generator(), torch.enable_grad():
        for row in range(len(phi)):
            torch.manual_seed(int(noise.generator(row, STREAM).integers(2**62)))
            law = _Law(log_density, phi[row].detach(), space)
            runs.append(_run(law, noise.draws, warmup, chains))
    targets, rhat, ess, divergences = zip(*runs, strict=True)
    diagnostics = (torch.stack(rhat), torch.stack(ess), torch.tensor(divergences))
    return Chains(torch.stack(targets, dim=1), *diagnostics)


def _check(space: TargetSpace) -> None:
    if not space.continuous:
        raise ConfigError(
            "The target has discrete coordinates only",
            "A Markov chain of this kind moves along continuous ones",
            "Leave the sampler out: a discrete target is summed over exactly",
        )
    if find_spec("pyro") is None:
        raise ConfigError(
            f"The target has {len(space.continuous)} continuous coordinates",
            "Drawing from its density takes Markov chains, and Pyro is not installed",
            "Run pip install 'robaudit[mcmc]', or give --sampler or --draws",
        )


@dataclass(frozen=True)
class _Law:
    """One input's density of u."""

    log_density: LogDensity
    phi: Tensor  # [p]
    space: TargetSpace

    def log_joint(self, u: Tensor) -> Tensor:
        """Return the log density [K, D] of u [K, c] and each discrete combination."""
        continuous, slope = self.space.to_target(u)
        targets = self.targets(continuous)
        flat = targets.flatten(0, 1)
        values = self.log_density(flat, self.phi.expand(len(flat), -1)).double()
        return values.reshape(targets.shape[:2]) + slope.unsqueeze(-1)

    def targets(self, continuous: Tensor) -> Tensor:
        """Return θ [K, D, n] of continuous coordinates [K, c]."""
        choices = self.space.choices()
        many = continuous.unsqueeze(1).expand(-1, len(choices), -1)
        return self.space.assemble(many, choices.expand(len(many), -1, -1))

    def energy(self, u: Tensor) -> Tensor:
        """Return −log density [K] of u [K, c]; infinite where there is none."""
        energy = -self.log_joint(u).logsumexp(-1)
        return torch.where(energy.isfinite(), energy, torch.inf)

    def complete(self, u: Tensor) -> Tensor:
        """Return θ [K, n] with discrete coordinates drawn given u [K, c]."""
        with torch.no_grad():
            share = self.log_joint(u).softmax(-1).cumsum(-1)
            pick = (torch.rand(len(u), 1, dtype=torch.float64) > share[:, :-1]).sum(-1)
            targets = self.targets(self.space.to_target(u)[0])
        return targets[torch.arange(len(u)), pick]


def _run(
    law: _Law, draws: int, warmup: int, chains: int
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Return draws [S, n], R-hat, effective sample size and divergences."""
    infer, stats = import_module("pyro.infer"), import_module("pyro.ops.stats")
    names = [f"chain{i}" for i in range(chains)]

    def potential(params: dict[str, Tensor]) -> Tensor:
        return law.energy(torch.stack([params[name] for name in names])).sum()

    kernel = infer.NUTS(potential_fn=potential, full_mass=[(name,) for name in names])
    length = max(SHORTEST, -(-draws // chains))
    starts = dict(zip(names, _starts(law, chains), strict=True))
    options = {"initial_params": starts, "disable_progbar": True}
    sampler = infer.MCMC(kernel, length, warmup, **options)
    sampler.run()
    samples = sampler.get_samples()
    u = torch.stack([samples[name] for name in names]).detach()  # [C, length, c]
    rhat, ess = _mixing(stats, u, draws)
    lost = sampler.diagnostics()["divergences"].values()
    targets = law.complete(u.flatten(0, 1))[:draws]
    return targets, rhat, ess, sum(map(len, lost))


def _mixing(stats: Any, u: Tensor, draws: int) -> tuple[Tensor, Tensor]:  # noqa: ANN401 (a module)
    """Return the worst coordinate's split R-hat and effective sample size.

    The estimate of the latter may be negative, infinite or NaN; it is kept in [1, S].
    """
    rhat = stats.split_gelman_rubin(u, chain_dim=0, sample_dim=1)
    ess = stats.effective_sample_size(u, chain_dim=0, sample_dim=1)
    rhat = rhat.nan_to_num(torch.inf, torch.inf, torch.inf)
    return rhat.amax(), ess.nan_to_num(1.0, 1.0, 1.0).clamp(1.0, max(1, draws)).amin()


def _starts(law: _Law, chains: int) -> Tensor:
    """Return where the chains start [C, c]."""
    powers = torch.empty(chains, GUESSES, 1, dtype=torch.float64).uniform_(*WIDTHS)
    axes = len(law.space.continuous)
    spread = torch.randn(chains, GUESSES, axes, dtype=torch.float64)
    guesses = spread * 10**powers
    with torch.no_grad():
        energy = law.energy(guesses.flatten(0, 1)).reshape(chains, GUESSES)
    best = energy.argmin(-1)
    return torch.stack([_climb(law, g[i]) for g, i in zip(guesses, best, strict=True)])


def _climb(law: _Law, start: Tensor) -> Tensor:
    """Return a point [c] uphill of the start, or the start if there is none."""
    point = start.clone().requires_grad_()
    search = torch.optim.LBFGS([point], max_iter=CLIMB, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        energy = law.energy(point.unsqueeze(0)).sum()
        energy.backward()  # type: ignore[no-untyped-call]
        return energy

    search.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        before, after = law.energy(torch.stack([start, point])).nan_to_num(torch.inf)
    return point.detach() if after < before else start
