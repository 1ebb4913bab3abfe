"""A directed attack at both signs, at inputs with a worst direction and without."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audit.attacks.laws import FixedNorm, UniformNorm
from audit.linalg.spectrum import Estimate
from audit.nodes.noise import Noise
from audit.verify import witness
from audit.verify.attacks import realised
from audit.verify.local import sampled_directions


class Cubic:
    """D(u) = |u|² + (Σ u)³ / 2, which is never asked of no inputs."""

    def __init__(self, n, m):
        noise = Noise(0, np.arange(n), 2)
        self.site = SimpleNamespace(noise=noise, free=m, x=torch.zeros(n, m).double())
        self.fresh = self  # nothing is drawn

    def __call__(self, rows, u):
        assert len(rows) > 0
        assert u.shape[1] > 0
        values = u.square().sum(dim=2) + u.sum(dim=2) ** 3 / 2
        return values, torch.zeros_like(values)


@pytest.mark.parametrize("directed", [[True] * 3, [False] * 3, [True, False, True]])
def test_the_worse_sign_counts_and_nothing_is_asked_of_no_input(directed):
    n, m, size = 3, 4, 0.3
    along = torch.zeros(n, m).double()
    along[:, 1] = -1.0
    along[~torch.tensor(directed)] = 0
    local = SimpleNamespace(
        worst=along, directed=torch.tensor(directed), size=along.norm(dim=1)
    )
    predicted = Estimate(torch.full((n,), size**2).double())
    found = realised(FixedNorm(size), predicted, Cubic(n, m), local)
    assert found.directed.tolist() == directed
    assert found.exact
    wanted = size**2 + size**3 / 2  # along +e, though the direction was −e
    most = size**2 + (size * m**0.5) ** 3 / 2  # along (1, 1, 1, 1) / 2
    for value, known in zip(found.total.value.tolist(), directed, strict=True):
        if known:
            assert value == pytest.approx(wanted, rel=1e-12)
        else:
            assert size**2 < value <= most * (1 + 1e-12)


def test_a_uniform_norm_is_averaged_along_one_of_the_signs():
    """∫₀¹ (m² u² + m³ u³ / 2) du = m²/3 + m³/8."""
    local = SimpleNamespace(
        worst=torch.tensor([[0.0, 1.0]]).double(),
        directed=torch.tensor([True]),
        size=torch.ones(1).double(),
    )
    predicted = Estimate(torch.ones(1).double())
    found = realised(UniformNorm(0.6), predicted, Cubic(1, 2), local)
    assert found.total.value.item() == pytest.approx(0.36 / 3 + 0.216 / 8, rel=1e-9)


def test_sixteen_directions_are_tried_where_none_is_the_worst():
    """Eight, and their opposites; unit vectors, the same for an input anywhere."""
    site = SimpleNamespace(
        noise=Noise(0, np.arange(5), 2), free=7, x=torch.zeros(5, 7).double()
    )
    found = sampled_directions(site, torch.tensor([3, 1]))
    assert found.shape == (2, 16, 7)
    assert torch.equal(found[:, 8:], -found[:, :8])
    torch.testing.assert_close(found.norm(dim=2), torch.ones(2, 16).double())
    assert torch.equal(sampled_directions(site, torch.tensor([1]))[0], found[1])


def test_the_rounds_of_a_search_share_its_time():
    """What is told of them adds up to the whole: a bar ends at its end."""
    assert sum((witness._FIRST, witness._SECOND, witness._LAST)) == pytest.approx(1)
