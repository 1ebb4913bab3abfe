"""Eigenvalues that are there several times: each start finds one copy of each."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audit.linalg import krylov
from audit.linalg.krylov import SETTLED, decompose_krylov
from audit.linalg.krylov.halves import Halves
from audit.linalg.krylov.lanczos import Lanczos
from audit.linalg.krylov.rules import Beside, Settling
from audit.linalg.krylov.space import Side, Space, orthonormal
from audit.linalg.operators import Diagonal
from tests.linalg.test_krylov import EXACT, keyed

SIDE, INPUTS, TOP = 400, 24, 5
PLACES = np.arange(1, SIDE + 1)
SPECTRA = {
    "power": 1 / PLACES,
    "slow power": 1 / PLACES**0.7,
    "geometric": 0.9**PLACES,
}


def found_in(values, inputs=INPUTS, seed=0, top=TOP):
    """Decompose diag(values): a random start has no favourite basis."""
    root = torch.from_numpy(np.sqrt(values)).expand(inputs, len(values)).contiguous()
    return decompose_krylov(Diagonal(root), top, keyed(inputs, seed), EXACT)


def with_copies(name, place, times):
    """Return a spectrum with one of its eigenvalues so many times, descending."""
    values = SPECTRA[name]
    more = np.full(times - 1, values[place])
    return np.sort(np.concatenate([values, more]))[::-1].copy()


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize(("place", "times"), [(0, 2), (1, 2), (3, 2), (0, 3), (0, 7)])
def test_every_copy_is_found(name, place, times):
    values = with_copies(name, place, times)
    found = found_in(values)
    expected = np.broadcast_to(values[:TOP], (INPUTS, TOP))
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=2e-6)
    assert (found.residual <= SETTLED).all()


@pytest.mark.sweep(2)
@pytest.mark.parametrize(("times", "next_", "last"), [(2, 0.995, 0.5), (3, 0.99, 0.2)])
def test_copies_above_a_spectrum_that_hardly_falls_are_found(times, next_, last):
    """One start and a few products with a fresh vector miss them: a block does not."""
    values = np.concatenate([np.ones(times), np.linspace(next_, last, SIDE - times)])
    found = found_in(values, inputs=6)
    expected = np.broadcast_to(values[:TOP], (6, TOP))
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=2e-6)


def test_copies_are_missed_without_a_search_beside(monkeypatch):
    """The search tells something: a single start without it misses copies."""
    monkeypatch.setattr(krylov, "BLOCK", 1)
    monkeypatch.setattr(krylov._Search, "_searched_beside", lambda _, found, *__: found)
    values = with_copies("power", 0, 2)
    found = found_in(values)
    missed = np.isclose(found.eigenvalues[:, 1], values[2], rtol=1e-5)
    assert missed.any()


def test_more_copies_than_vectors_to_look_with_are_left_open(monkeypatch):
    monkeypatch.setattr(krylov, "BLOCK", 1)
    monkeypatch.setattr(krylov, "_SPARE", -9)
    found = found_in(with_copies("power", 0, 7), inputs=3)
    assert found.eigenvalues.isnan().all()
    assert found.unsettled.all()


def steps_until_nothing_escaped(values, q, g, x):
    """Lanczos in three terms from g beside a basis q [s, r]; return how many steps.

    Until Christoffel's Σ p_i(x)² leaves a random vector of s − r dimensions so little
    of an eigenvector above x as rarely as 1 in 1,000.
    """
    beside = lambda v: v - q @ (q.T @ v)  # noqa: E731
    w, before, beta = beside(g) / np.linalg.norm(beside(g)), 0 * g, 0.0
    polynomials, alphas, betas = [0.0, 1.0], [], [0.0]
    while True:
        left = beside(values * w) - beta * before
        alpha = w @ left
        left = left - alpha * w
        beta, before, w = np.linalg.norm(left), w, left / np.linalg.norm(left)
        raised = (x - alpha) * polynomials[-1] - betas[-1] * polynomials[-2]
        polynomials.append(raised / beta)
        alphas.append(alpha)
        betas.append(beta)
        mass = 1 / np.square(polynomials).sum()
        if np.sqrt(2 * (len(g) - q.shape[1]) * mass / np.pi) <= krylov.ESCAPED:
            return len(alphas)


def lowered(x, values, q):
    """Return x less what the Ritz pairs of a basis that have not settled may lift."""
    theta, y = np.linalg.eigh(q.T @ (values[:, None] * q))
    ritz = q @ y
    left = np.linalg.norm(values[:, None] * ritz - ritz * theta, axis=0)
    open_ = left > SETTLED * theta[-1]
    return x - (left**2 / (x - theta))[open_].sum()


@pytest.mark.parametrize("name", ["geometric", "power"])
def test_a_search_beside_ends_as_soon_as_nothing_can_have_escaped(name, monkeypatch):
    """However wide the space at rest is: none of its vectors was dropped."""
    values, seen = SPECTRA[name], []
    original = krylov._Search._searched_beside

    def recorded(search, found, fresh, open_, turns):
        after = original(search, found, fresh, open_, turns)
        g = search.starts[0, :, fresh].numpy()
        seen.append((found.space, found.values[0, -1], g, after.space, turns))
        return after

    monkeypatch.setattr(krylov._Search, "_searched_beside", recorded)
    found_in(values, inputs=1)
    before, x, g, after, turns = seen[0]
    q = before.q[0].numpy()
    q = q[:, np.linalg.norm(q, axis=0) > 0.5]
    expected = steps_until_nothing_escaped(values, q, g, lowered(float(x), values, q))
    assert expected < turns
    assert after.rank - before.rank == expected


def test_a_search_is_the_same_in_other_units(monkeypatch):
    """Times a power of two each number is itself times one, to the last bit."""
    values, widths, original = with_copies("power", 0, 3), [], Space.widen
    power = -40

    def counted(space, side, new):
        widths.append(int((new != 0).any(dim=1).sum()))
        return original(space, side, new)

    monkeypatch.setattr(Space, "widen", counted)
    found, first = found_in(values, inputs=2), list(widths)
    again, scale = found_in(values * 2.0**power, inputs=2), 2.0**power
    assert widths == 2 * first
    torch.testing.assert_close(
        again.eigenvalues, found.eigenvalues * scale, rtol=0, atol=0
    )
    error = found.trace.standard_error * scale
    torch.testing.assert_close(again.trace.standard_error, error, rtol=1e-12, atol=0)


def test_a_search_beside_makes_as_many_steps_as_the_first_or_a_few():
    """As many as a block had, where nothing is known; six at the least."""
    values = torch.from_numpy(SPECTRA["power"][None].copy())
    side = Side(Diagonal(values.sqrt().expand(3, -1).contiguous()))
    start = keyed(3)(SIDE, 1, 0)
    space = Space.empty(3, SIDE, start)
    block = orthonormal(start, torch.ones(3).double(), space.q)
    settling = Settling(2, 1, torch.full((3,), 20.0).double())
    found = Lanczos(side, 2).from_block(space, block, settling)
    made = torch.tensor([4.0, 40.0, 100.0])
    assert Beside.of(found, made, 1).most.tolist() == [6, 40, 100]
    assert Beside.of(found, made, 5).most.tolist() == [6, 8, 20]


def test_pairs_that_settle_at_once_are_looked_at_for_twelve_products():
    """Two values far above the others settle in four products."""
    values = np.where(PLACES < 3, 4.0 - PLACES, 1e-7 / PLACES)
    side = Side(Diagonal(torch.from_numpy(np.sqrt(values))[None]))
    start = keyed(1)(SIDE, 1, 0)
    space = Space.empty(1, SIDE, start)
    block = orthonormal(start, torch.ones(1).double(), space.q)
    settling = Settling(2, 1, torch.full((1,), 50.0).double())
    found = Lanczos(side, 2).from_block(space, block, settling)
    assert (found.residuals < SETTLED / 10).all()
    assert found.space.rank == 12


def test_a_space_that_was_shrunk_is_not_everything():
    """A hundred columns were there, and half of them are kept: the rest is probed."""
    values = 1 + 1e-3 * np.linspace(0, 1, 100)
    found = found_in(values, inputs=8)
    apart = np.abs(found.trace.value.numpy() - values.sum())
    assert (apart <= 4.5 * found.trace.standard_error.numpy() + 1e-9).all()


def test_a_trace_is_exact_where_all_of_it_was_seen():
    values = SPECTRA["geometric"][:12]
    found = found_in(values, inputs=3)
    assert (found.trace.standard_error == 0).all()
    np.testing.assert_allclose(found.trace.value, values.sum(), rtol=1e-12)


def test_a_search_pays_for_the_products_that_it_makes():
    """An input that rests keeps what it has left; one with too little stops."""
    rule = Settling(2, 5, torch.tensor([20.0, 20.0, 10.0, 9.0]))
    space = SimpleNamespace(rank=torch.full((4,), 4.0), q=torch.zeros(4, 50, 4))
    going = torch.tensor([True, False, True, True])
    stops = rule.stops(space, torch.ones(4, 2), going)
    assert rule.left.tolist() == [15, 20, 5, 4]
    assert stops.tolist() == [False, False, False, True]


@pytest.mark.parametrize("rank", [47, 48, 49])
def test_halves_are_kept_of_up_to_48_vectors(rank):
    """What was kept is put together; of more vectors new products are asked for."""
    own = torch.eye(60).double()[None, :, :rank]
    halves = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 7, rank)))
    kept, ranks = Halves(), torch.arange(1, rank + 1)
    for k in range(rank):
        kept.add(own[:, :, k : k + 1], halves[:, :, k : k + 1], ranks[k : k + 1])
    z = torch.from_numpy(np.random.default_rng(2).normal(size=(1, rank, 2)))
    asked = []
    side = SimpleNamespace(short=True, lifted=lambda v: asked.append(v) or v)
    found = kept.lifted(side, own @ z, torch.tensor([rank]))
    assert len(asked) == (rank > 48)
    if rank <= 48:
        torch.testing.assert_close(found, halves @ z)
