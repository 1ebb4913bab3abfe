"""Maxima inside of balls: D that rises and falls along a ray, by curves of its own."""

import numpy as np
import pytest
import torch
from scans import columns, scan, written

NORMAL = {"family": "normal", "parameters": {"loc": "loc", "scale": "scale"}}
NORMS = ("2", "1", "inf")  # which are one where there is one feature
X = np.array([[0.3], [-0.55], [0.0], [np.pi / 6]])  # at the last a wave is at rest
PLANE = np.array([[0.1, -0.2], [-0.4, 0.3], [0.0, 0.0]])


def law(loc):
    return {"loc": loc, "scale": torch.ones_like(loc)}


def wave(x):
    return torch.sin(3 * x)


def bumps(x):
    near, far = -8 * (x - 0.6) ** 2, -30 * (x + 1.4) ** 2
    return 3 * torch.exp(near) + 4 * torch.exp(far) + x / 2


def hill(x):
    apart = (x[:, :1] - 0.5) ** 2 + (x[:, 1:] - 0.4) ** 2
    return 3 * torch.exp(-4 * apart) + x[:, :1] / 5


def witnesses(folder, move, x, norm, sizes):
    options = {"divergences": ("kl",), "sizes": sizes, "norm": norm, "verify": "all"}
    found = columns(scan(written(folder, lambda t: law(move(t)), x, NORMAL, **options)))
    return [found[f"witness@{size:g}"] for size in sizes]


def largest(move, x, moves):
    """The largest of half the squared shifts, over moves [k, d] of each x."""
    x, moves = torch.from_numpy(x), torch.from_numpy(moves)
    return np.array(
        [float((move(one + moves) - move(one[None])).square().max() / 2) for one in x]
    )


@pytest.mark.sweep(2)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("sizes", [(2.0,), (0.1, 0.3, 1.0, 3.0)])
@pytest.mark.parametrize("move", [wave, bumps])
def test_of_one_feature_every_ball_is_searched_to_its_middle(
    move, sizes, norm, tmp_path
):
    for size, found in zip(
        sizes, witnesses(tmp_path, move, X, norm, sizes), strict=True
    ):
        truth = largest(move, X, np.linspace(-size, size, 100_001)[:, None])
        assert (found <= truth * (1 + 1e-6)).all()
        assert (found >= 0.999 * truth).all()


def test_a_wave_reaches_its_crests(tmp_path):
    """Of sin(3 x) the shift is at most 1 + |sin(3 x)|, wherever the ball ends."""
    crest = (1 + np.abs(np.sin(3 * X[:, 0]))) ** 2 / 2
    for size in (1.6, 1.9, 2.3):
        (found,) = witnesses(tmp_path, wave, X, "inf", (size,))
        np.testing.assert_allclose(found, crest, rtol=1e-3)


@pytest.mark.parametrize("norm", ["2", "inf"])
def test_a_hill_inside_of_a_square_is_found(norm, tmp_path):
    (found,) = witnesses(tmp_path, hill, PLANE, norm, (2.0,))
    side = np.linspace(-2, 2, 801)
    moves = np.stack(np.meshgrid(side, side), axis=2).reshape(-1, 2)
    inside = np.linalg.norm(moves, np.inf if norm == "inf" else 2, axis=1) <= 2
    truth = largest(hill, PLANE, moves[inside])
    assert (found >= 0.99 * truth).all()
