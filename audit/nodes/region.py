"""Where densities live, as far as it tells where others do that are near them.

The search for the modes of a density and for the box around them takes some ten
thousand looks at it. A density that was moved by a little lives in the same box, or
beyond one of its faces: the chart is kept, the faces are moved outwards until nothing
is behind them (`zoom.widened`), and the box is cut into equal pieces, as many as a
first search begins with.

Shapes: N inputs, D combinations of discrete values, M = N D laws, c coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audit.nodes.cells import evaluate
from audit.nodes.charts import SinhChart, lattice
from audit.nodes.seeds import first_boxes
from audit.nodes.sights import PIECES, Laws, Sight
from audit.nodes.zoom import faces, widened

LOOKS = 65  # points on an axis that tell how high a density is, about


@dataclass(frozen=True)
class Region:
    """The boxes of M laws in their charts.

    Shapes: low, high [M, c]; noise, of log q [M]. choices: D.
    """

    chart: SinhChart
    low: Tensor
    high: Tensor
    noise: Tensor
    choices: int

    @classmethod
    def of(cls, sight: Sight) -> Region:
        """Return the region of laws that were looked at."""
        cells = sight.cells
        used = (cells.high > cells.low).all(-1, keepdim=True)
        low = cells.low.masked_fill(~used, torch.inf).amin(1)
        high = cells.high.masked_fill(~used, -torch.inf).amax(1)
        choices = len(sight.laws.space.choices())
        return cls(sight.chart, low, high, sight.noise, choices)

    def take(self, inputs: Tensor) -> Region:
        """Return that of some inputs."""
        step = torch.arange(self.choices, device=inputs.device)
        laws = (inputs.unsqueeze(1) * self.choices + step).flatten()
        chart = SinhChart(self.chart.center[laws], self.chart.root[laws])
        parts = (self.low[laws], self.high[laws], self.noise[laws])
        return Region(chart, *parts, self.choices)

    def look(self, laws: Laws) -> Sight:
        """Return the sight of as many other laws."""
        density = self.chart.density(laws.field)
        unit = torch.linspace(0, 1, LOOKS, dtype=torch.float64)[:, None]
        size = (self.high - self.low).unsqueeze(1)
        top = density(lattice(self.low.unsqueeze(1) + size * unit)).amax(-1)
        box, limits = (self.low, self.high), laws.space.limits()
        low, high = widened(laws.field, self.chart, top, box, limits)
        boxes = first_boxes(low, high, PIECES[low.shape[-1]])
        unknown = torch.full_like(boxes.low[..., 0], torch.inf)
        cells = evaluate(density, *boxes, unknown)
        outside = faces(density, low, high)
        return Sight(laws, self.chart, cells, self.noise, outside)
