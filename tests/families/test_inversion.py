"""Quantile functions on panels, where the tail of a law ends instead of fading."""

from __future__ import annotations

import pytest
import torch

from audit.families.inversion import Levels, Placed, invert
from audit.nodes.panels import Panels


@pytest.mark.parametrize("edges", [[0.0, 1.0], [0.0, 0.2, 0.9, 1.0]])
def test_levels_at_the_end_of_a_support_are_found(edges):
    """A uniform law's quantile is its level, from either end."""
    panels = Panels(torch.tensor([edges], dtype=torch.float64))
    tail = torch.logspace(-16, -0.31, 200, dtype=torch.float64)[None]
    density = torch.ones_like(panels.nodes)
    law = Placed(
        panels, density, panels.nodes, 1 - panels.nodes, torch.ones_like(density) > 0
    )
    for below, above in ((tail, 1 - tail), (1 - tail, tail)):
        levels = Levels(below, above, torch.ones_like(tail) > 0)
        found = invert(law, levels)
        assert (found - below).abs().max() < 1e-15
