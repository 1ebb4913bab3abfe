"""Who may be asked for draws at another φ: all but draws that came with the data."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audit.families import implicit
from audit.families.computed import MANY, ComputedFamily
from audit.families.givers import Nodes
from audit.families.implicit_values import implicit_reference
from audit.geometry.divergences import build_divergence
from audit.ground.errors import ConfigError
from audit.nodes.coordinates import Coordinate
from audit.nodes.noise import Noise
from audit.nodes.space import TargetSpace

NOISE = Noise(0, np.arange(2), 3)
PHI = torch.tensor([[1.0], [2.0]], dtype=torch.float64)


def law(source=None, base=None, made=ComputedFamily):
    def log_density(theta, phi):
        return -((theta - phi) ** 2).sum(1)

    def transport(phi, z):
        return phi + z

    space = TargetSpace((Coordinate("a"),))
    map_ = None if base is None else transport
    return made(1, space, log_density, map_, base, source)


def giver(fixed, weighted, count=5):
    given = Nodes(torch.full((3, 2, 1), 7.0))
    return SimpleNamespace(
        fixed=fixed,
        weighted=weighted,
        follows=True,
        count=lambda draws: count,
        nodes=lambda phi, noise: given,
    )


@pytest.mark.parametrize(
    ("fixed", "weighted"), [(True, True), (False, True), (False, False)]
)
def test_a_rule_and_a_sampler_draw_at_any_input(fixed, weighted):
    for base in (None, SimpleNamespace()):  # a map is asked where that is all
        found = law(giver(fixed, weighted), base).drawn(PHI, NOISE)
        assert (found.targets == 7).all()


def test_draws_of_the_data_belong_to_their_own_inputs():
    for source in (giver(True, False), None):
        with pytest.raises(ConfigError, match="draws that the data bring"):
            law(source).drawn(PHI, NOISE)


def test_scores_of_very_many_nodes_of_a_rule_are_summed():
    for count, weighted, summed in (
        (MANY, True, False),
        (MANY + 1, True, True),
        (MANY + 1, False, False),
    ):
        assert law(giver(False, weighted, count)).sums_scores is summed
    assert not law().sums_scores


@pytest.mark.parametrize("follows", [True, False])
def test_reverse_kl_is_compared_where_something_gives_theta_of_the_moved_law(follows):
    source = giver(False, True)
    source.follows = follows
    reverse, forward = (build_divergence(name) for name in ("reverse_kl", "kl"))
    found = implicit_reference(reverse, law(source), PHI, NOISE)
    assert (found is not None) is follows
    assert implicit_reference(forward, law(source), PHI, NOISE) is not None


def test_a_mass_is_estimated_where_no_grid_has_measured_it(monkeypatch):
    monkeypatch.setattr(implicit, "normalisation", lambda *given: "estimated")
    for source, known in (
        (None, "estimated"),
        (giver(False, False), "estimated"),
        (giver(True, False), "estimated"),
        (giver(False, True), None),
    ):
        family = law(source, made=implicit.ImplicitFamily)
        assert family.total(PHI, NOISE) == known


@pytest.mark.parametrize(("draws", "few"), [(100, 100), (256, 256), (4096, 256)])
def test_exact_values_are_of_256_draws_at_the_most(draws, few):
    family = law(made=implicit.ImplicitFamily)
    assert family.few(NOISE.with_draws(draws)).draws == few
