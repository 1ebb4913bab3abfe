"""Makes a notebook of five cells: from a live zuko flow to its worst input.

python -m tests.api.notebook worst_input.ipynb
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat

CELLS = (
    """import numpy as np, torch, zuko
import audit

torch.manual_seed(0)
theta = torch.randn(4096, 2)
t = torch.linspace(0, 3, 16)

def simulate(theta):
    wave = torch.sin(2 * t * (1 + 0.3 * theta[:, :1])) * torch.exp(0.3 * theta[:, 1:])
    return wave + 0.1 * torch.randn(len(theta), 16)

x = simulate(theta)""",
    """flow = zuko.flows.MAF(2, 16, transforms=2, hidden_features=(32,))
optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)
for step in range(200):
    rows = torch.randint(len(x), (256,))
    loss = -flow(x[rows]).log_prob(theta[rows]).mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()""",
    """report = audit.scan(flow, x[:24], divergences=["kl"], draws_per_input=128)
report""",
    """(worst,) = report.worst(1)
worst.index, worst.radius, worst.direction.round(2)""",
    """from IPython.display import SVG

def line(values, colour):
    points = " ".join(f"{20 * i + 10},{60 - 20 * v:.1f}" for i, v in enumerate(values))
    return f'<polyline points="{points}" fill="none" stroke="{colour}"/>'

drawn = line(worst.x, "black") + line(worst.above, "crimson")
drawn += line(worst.below, "steelblue")
frame = 'xmlns="http://www.w3.org/2000/svg" width="330" height="120"'
SVG(f"<svg {frame}>{drawn}</svg>")""",
)


def notebook() -> nbformat.NotebookNode:
    """Return the notebook, its cells not run."""
    cells = [nbformat.v4.new_code_cell(text) for text in CELLS]
    return nbformat.v4.new_notebook(cells=cells)


if __name__ == "__main__":
    nbformat.write(notebook(), Path(sys.argv[1]))
