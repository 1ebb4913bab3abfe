"""The laws of every attack, to run over a new one.

    check_attack(Heavy(df=5.0, scale=0.1))

What an attack expects is held against its own draws, or its own rule for the norm.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.attacks.bases import Attack, DirectedAttack, RandomAttack
from audit.ground.checking import demand, keep
from audit.linalg.decompose import decompose
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Estimate
from audit.linalg.stored import Matrix

_N, _D, _DRAWS, _ERRORS = 3, 5, 200_000, 4.5
_EXACT = 1e-12  # relative


def form(scale: float = 0.5, d: int = _D) -> QuadraticForm:
    """Return δ -> c |A δ|² at three inputs."""
    entries = np.random.default_rng(0).normal(size=(_N, 2, d))
    return QuadraticForm(scale, Matrix(torch.from_numpy(entries)))


def expected(attack: Attack, law: QuadraticForm) -> Tensor:
    """Return E[law(δ)] [N], an Estimate's value."""
    found = attack.expected(law, decompose(law, 2))
    rule = "expected gives an Estimate [N] in float64"
    given = isinstance(found, Estimate) and list(found.value.shape) == [_N]
    given = given and found.value.dtype == torch.float64
    demand(given, _name(attack), rule, f"Estimate of float64 [{_N}]", found)
    return found.value


def its_cost_is_that_of_the_form(attack: Attack) -> None:
    """It costs at least nothing, and c times what it costs under c = 1."""
    once, twice = expected(attack, form(0.5)), expected(attack, form(1.0))
    rule = "the cost is at least zero and grows with the divergence's constant"
    demand(bool((once >= 0).all()), _name(attack), rule, "≥ 0", once)
    same = torch.allclose(twice, 2 * once, rtol=_EXACT, atol=0)
    demand(same, _name(attack), rule, 2 * once, twice)


def its_draws_cost_what_it_expects(attack: Attack) -> None:
    """A random attack's draws cost on average what it expects."""
    if not isinstance(attack, RandomAttack):
        return
    delta, law = _draws(attack), form()
    costs = law(torch.from_numpy(delta.T).expand(_N, -1, -1)).numpy()
    rule = f"the form's mean over {_DRAWS} draws is what it expects"
    _mean_is(attack, rule, costs, expected(attack, law).numpy())
    rule = "its draws have the mean that center gives"
    _mean_is(attack, rule, delta.T, attack.center(_D))


def its_draws_are_those_of_the_generator(attack: Attack) -> None:
    """Draws are float64 [count, d], and depend on the generator alone."""
    if not isinstance(attack, RandomAttack):
        return
    rule = "draws are float64 [count, d], and depend on the generator alone"
    once, again, other = (
        attack.draw(np.random.default_rng(seed), 6, _D) for seed in (1, 1, 2)
    )
    right = once.shape == (6, _D) and once.dtype == np.float64
    demand(right, _name(attack), rule, [6, _D], (once.shape, once.dtype))
    demand(np.array_equal(once, again), _name(attack), rule, once, again)
    moves = not once.any() or not np.array_equal(once, other)
    demand(moves, _name(attack), rule, "other draws for another seed", other)


def its_norms_integrate_the_form(attack: Attack) -> None:
    """A directed attack's rule for its norm integrates the form to what it expects."""
    if not isinstance(attack, DirectedAttack):
        return
    norms, weights = attack.rule(torch.empty(0, dtype=torch.float64))
    rule = "norms are not negative, and their weights sum to one"
    total = weights.sum().item()
    right = abs(total - 1) < _EXACT and bool((norms >= 0).all())
    demand(right, _name(attack), rule, 1, (total, norms))
    law = form()
    worst = decompose(law, 1).directions[:, :, :1]
    found, wanted = law(worst * norms) @ weights, expected(attack, law)
    rule = "its norms along the worst direction cost what it expects"
    same = torch.allclose(found, wanted, rtol=_EXACT, atol=0)
    demand(same, _name(attack), rule, wanted, found)


def its_mean_size_is_that_of_its_draws(attack: Attack) -> None:
    """The mean size is E|vᵀδ| for a unit v, or None where that depends on v."""
    size = attack.mean_size(_D)
    if size is None or not isinstance(attack, RandomAttack):
        return
    v = np.array([3.0, 0.0, -4.0, 0.0, 0.0]) / 5
    rule = "mean_size is E|vᵀδ| for a unit vector v"
    _mean_is(attack, rule, np.abs(_draws(attack) @ v)[None], np.array([size]))


def its_damped_mean_is_that_of_its_draws(attack: Attack) -> None:
    """What is said to be the mean of a damped form is its mean over the draws."""
    if not isinstance(attack, RandomAttack):
        return
    law, rates = form(), torch.tensor([0.3, 3.0], dtype=torch.float64)
    means = attack.damped(law, rates.expand(_N, -1))
    if means is None:
        return
    costs = law(torch.from_numpy(_draws(attack).T).expand(_N, -1, -1)).numpy()
    for rate, wanted in zip(rates.tolist(), means.mT.numpy(), strict=True):
        rule = f"the mean of (1 − e^(−s Q))/s over {_DRAWS} draws is what damped gives"
        _mean_is(attack, rule, -np.expm1(-rate * costs) / rate, wanted)


LAWS: tuple[Callable[[Attack], None], ...] = (
    its_cost_is_that_of_the_form,
    its_draws_cost_what_it_expects,
    its_draws_are_those_of_the_generator,
    its_norms_integrate_the_form,
    its_mean_size_is_that_of_its_draws,
    its_damped_mean_is_that_of_its_draws,
)


def check_attack(attack: Attack) -> None:
    """Hold an attack to the laws of robaudit's own suite.

    Args:
        attack: one of some size, for perturbations of five features.

    Raises:
        LawBroken: names the law, the attack, what was expected and what found.
    """
    rule = "an attack is a RandomAttack (it draws δ) or a DirectedAttack (its norm)"
    known = isinstance(attack, RandomAttack | DirectedAttack)
    demand(known, _name(attack), rule, "one of them", type(attack).__mro__)
    keep(LAWS, attack, _name(attack))


def _draws(attack: RandomAttack) -> NDArray[np.float64]:
    return attack.draw(np.random.default_rng(2), _DRAWS, _D)


def _mean_is(
    attack: Attack,
    rule: str,
    samples: NDArray[np.float64],
    wanted: NDArray[np.float64],
) -> None:
    error = samples.std(axis=-1, ddof=1) / samples.shape[-1] ** 0.5
    found = samples.mean(axis=-1)
    holds = bool((np.abs(found - wanted) <= _ERRORS * error + _EXACT).all())
    demand(holds, _name(attack), rule, wanted, found)


def _name(attack: Attack) -> str:
    return repr(attack)
