"""Nodes of laws that are near others, looked for where those live."""

import math

import pytest
import torch

from audit.nodes.grid import grid_nodes, nodes_within
from audit.nodes.space import parse_space, real_space

LINE = real_space(1)


def two_normals(theta, phi):
    """(1 − w) N(m, s²) + w N(m + d, s²), φ = (m, log s, w, d)."""
    m, log_s, w, d = phi.unbind(-1)
    z = (theta[:, 0] - m) / log_s.exp()
    other = (theta[:, 0] - m - d) / log_s.exp()
    both = [torch.log1p(-w) - z.square() / 2, w.log() - other.square() / 2]
    return torch.logaddexp(*both) - log_s - math.log(2 * math.pi) / 2


def rows(*laws):
    return torch.tensor(laws, dtype=torch.float64)


def test_moments_of_near_laws_are_exact():
    first = grid_nodes(two_normals, rows((0, 0, 0.3, 4), (5, -1, 0.1, 1)), LINE)
    moved = rows((0.4, 0.2, 0.25, 4.2), (5.5, 0.7, 0.2, 2), (-3, 0.0, 0.3, 4))
    region = first.region.take(torch.tensor([0, 1, 0]))
    nodes = nodes_within(two_normals, moved, LINE, region)
    assert nodes.normalisation.tolist() == pytest.approx([1] * 3, abs=1e-12)
    theta = nodes.targets[..., 0]
    mean = (nodes.weights * theta).sum(0)
    square = (nodes.weights * theta.square()).sum(0)
    m, log_s, w, d = moved.unbind(-1)
    assert mean.tolist() == pytest.approx((m + w * d).tolist(), rel=1e-10)
    wanted = (m + w * d).square() + w * (1 - w) * d.square() + (2 * log_s).exp()
    assert square.tolist() == pytest.approx(wanted.tolist(), rel=1e-10)


def test_what_lies_elsewhere_is_lacking_in_the_mass():
    first = grid_nodes(two_normals, rows((0, 0, 0.3, 4)), LINE)
    far = rows((0, 0, 0.01, 1e4))
    nodes = nodes_within(two_normals, far, LINE, first.region)
    assert nodes.normalisation.item() == pytest.approx(0.99, abs=1e-10)


def test_choices_keep_their_places():
    space = parse_space("a:real,choice:{0,1,2}")

    def chosen(theta, phi):
        share = torch.stack([phi[:, 1], phi[:, 2], 1 - phi[:, 1] - phi[:, 2]], -1)
        place = theta[:, 1:].long()
        z = theta[:, 0] - phi[:, 0] - 100 * theta[:, 1]
        normal = -z.square() / 2 - math.log(2 * math.pi) / 2
        return share.gather(1, place).squeeze(1).log() + normal

    first = grid_nodes(chosen, rows((0, 0.2, 0.3), (7, 0.5, 0.1)), space)
    moved = rows((7.5, 0.4, 0.2), (0.3, 0.3, 0.3))
    region = first.region.take(torch.tensor([1, 0]))
    nodes = nodes_within(chosen, moved, space, region)
    assert nodes.normalisation.tolist() == pytest.approx([1, 1], abs=1e-12)
    for c, share in enumerate(([0.4, 0.3], [0.2, 0.3], [0.4, 0.4])):
        there = torch.where(nodes.targets[..., 1] == c, nodes.weights, 0.0).sum(0)
        assert there.tolist() == pytest.approx(share, rel=1e-10)


def test_a_plane_too():
    def normal(theta, phi):
        z = (theta - phi[:, :2]) / phi[:, 2:3]
        return -z.square().sum(-1) / 2 - 2 * phi[:, 2].log() - math.log(2 * math.pi)

    first = grid_nodes(normal, rows((0, 0, 1)), real_space(2))
    nodes = nodes_within(normal, rows((1, -2, 1.5)), real_space(2), first.region)
    assert nodes.normalisation.item() == pytest.approx(1, abs=1e-6)
    mean = (nodes.weights.unsqueeze(-1) * nodes.targets).sum(0)
    assert mean[0].tolist() == pytest.approx([1, -2], rel=1e-6)
