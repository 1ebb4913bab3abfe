"""Expectations over base noise of one or two numbers, by quadrature.

`noise_box` tells where the integrand f lives. The box is cut into cells, and `halving`
cuts on where their two rules disagree: at a jump or a kink of ∂T/∂φ in z, as long as it
matters. The error of the integral is told by the rules' difference in each cell, or by
QUADPACK's estimate where that is smaller (at kinks that cross a plane it is hundreds of
times too large), and by what its tails hold outside the box.

Shapes: N inputs, P cells, S nodes, m ∈ {1, 2} numbers of noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.nodes.base_laws import BaseLaw
from audit.nodes.cells import Cells, evaluate, log_sum
from audit.nodes.charts import picked
from audit.nodes.clenshaw_curtis import weights as rule_weights
from audit.nodes.halving import refine
from audit.nodes.noise_box import Field, Speed, outlook, sight
from audit.nodes.seeds import first_boxes
from audit.nodes.zoom import find_noise

# by the numbers of noise
PIECES = {1: 64, 2: 4}  # of the box, on each axis
TOLERANCE = {1: 1e-6, 2: 1e-3}  # of QUADPACK's estimate, which is far too large
ROUNDS = {1: 12, 2: 2}
LEFT_OUT = {1: 1e-10, 2: 1e-8}  # the share of f in nodes that are left out
LEAST = 1e-12  # of the integral of f: a map that moves less is at rest


@dataclass(frozen=True)
class NoiseGrid:
    """A rule for expectations over the noise, of each input's own.

    Args:
        points: z [S, N, m].
        weights: [S, N]; they add up to one but for what lies outside the box.
        error: an estimate of the relative error of E‖∂T/∂φ‖² [N].
        endless: whether that has no finite value [N].
    """

    points: Tensor
    weights: Tensor
    error: Tensor
    endless: Tensor


def noise_grid(law: BaseLaw, size: int, speed: Speed, inputs: int) -> NoiseGrid:
    """Return the grid of each of N inputs; the arguments are those of `sight`."""
    seen = sight(law, size, speed, inputs)
    field = seen.field
    boxes = first_boxes(seen.low, seen.high, PIECES[size])
    unknown = torch.full_like(boxes.low[..., 0], torch.inf)
    cells = evaluate(field, boxes.low, boxes.high, boxes.used, unknown)
    noise = find_noise(field, seen.low)
    limits = (noise, TOLERANCE[size], ROUNDS[size])
    cells = refine(field, cells, *limits, kinks=False)
    total = log_sum(cells.log_masses)
    moved = (1 - (-total).exp()).clamp_min(0)  # the share of E‖∂T/∂φ‖² in f
    mean = moved * total.exp() * field.scale
    beyond = outlook(seen)
    held, endless = beyond.tails(speed(beyond.z.transpose(0, 1)).T, mean)
    doubt = _doubt(cells, total) + noise
    return NoiseGrid(
        *_nodes(field, cells, total),
        torch.where(moved > LEAST, doubt / moved + held / mean, doubt),
        endless,
    )


def _doubt(cells: Cells, total: Tensor) -> Tensor:
    """Return the share of the integral of f [N] that its cells may be wrong by."""
    volume = ((cells.high - cells.low) / 2).prod(dim=-1)
    shares = (cells.values - total[:, None, None]).exp()
    rules = rule_weights(cells.low.shape[-1])
    fine, *coarse = (volume * (shares @ rule) for rule in rules)
    gaps = torch.stack([(fine - other).abs() for other in coarse]).amax(dim=0)
    errors = torch.minimum(gaps, (cells.log_error - total[:, None]).exp())
    return errors.sum(dim=-1)


def _nodes(field: Field, cells: Cells, total: Tensor) -> tuple[Tensor, Tensor]:
    """Return z [S, N, m] and weights [S, N] of the nodes that matter."""
    size = cells.low.shape[-1]
    shares = (cells.log_masses - total.unsqueeze(-1)).exp()
    shares, order = shares.sort(dim=-1, descending=True, stable=True)
    used = shares.flip(-1).cumsum(-1).flip(-1) > LEFT_OUT[size]
    most = int(used.sum(-1).max())
    used, order = used[:, :most], order[:, :most]
    s = picked(cells.points, order)
    volume = ((cells.high - cells.low) / 2).prod(dim=-1, keepdim=True)
    rule = (volume * rule_weights(size)[0]).flatten(1).gather(1, order)
    weights = torch.where(used, rule * field.log_law(s).exp(), 0.0)
    return field.law.place(s).transpose(0, 1), weights.T
