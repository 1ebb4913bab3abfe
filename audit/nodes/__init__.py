"""Expectations as sums over weighted points: keyed draws, lines, grids, chains.

A *node rule* for a law q is a set of points θ_k and weights w_k ≥ 0 with

    E_q[g] ≈ Σ_k w_k g(θ_k)

for every g that is as smooth as q and does not grow beyond its tails. A Fisher
information is one such sum (g = s sᵀ, s the score), a divergence another, and Z = ∫ q
a third. Every input of a model is a law of its own and gets points of its own, many
laws at once. There are three ways to them; what is known of q decides.

    face          q is                                  points are        error
    line_nodes    a named law on a line                 panels            none is given
    grid_nodes    a function of 1-2 coordinates         adaptive cells    `Nodes.error`
    nuts_draws    a function of more of them            Markov chains     R-hat and ESS

**Lines.** A named law says where its bulks are, how wide, and what its log density is
in a chart y of its support. Edges at centre ± h sinh(t) follow it outwards until a tail
holds less than e^-46 (`survey`, `panels`); in each panel 16 Gauss-Legendre nodes
integrate a fall of ten nats to machine precision (Trefethen, Approximation Theory and
Approximation Practice, 2013, chapter 19). Missed: a bulk that the law does not name. A
law that no panels resolve is `lost`, and every sum for it is NaN: never a number.

**Grids.** Nothing is known but log q as a function. A search finds its modes
(`search`), a chart with its scale and correlation the box (`zoom`), Clenshaw-Curtis
cells of 17 points a side are halved until their two rules agree (`cells`, `halving`;
Piessens et al., QUADPACK, 1983), and fresh points in cells that agree look for what
their nodes did not see (`probe`, `assurance`; Good, Biometrika 40, 1953). Z is measured
with its relative error, infinite where nothing was found. Missed in silence: a mode in
the bulk of a broad one of scale σ that is thinner than σ/10000 on a line and σ/100 on a
plane, and thinner ones outside that bulk (`search` has the figures), and legs of a
ridge that are as thin. Said aloud: a ridge that leads above all nodes (`ridges`), tails
beyond the numbers that doubles hold (log-Cauchy), mass where 1 − x has no digits (a
beta law of shape .05), noise of single precision.

**Chains.** The No-U-Turn sampler (Hoffman & Gelman, JMLR 15, 2014) from four starts
apart. Equal weights; consecutive draws depend on each other, and `Chains.ess` says how
many they are worth. Missed in silence: a mode that no chain has found, with R-hat 1.

**Keyed draws.** Where a sampler exists, or nothing better, points are drawn: `Noise` is
keyed by (seed, input index), so that an input's numbers depend on no batch, worker or
engine (Salmon et al., SC11, 2011). Points come in independent units, and the spread of
the units' means is the standard error (L'Ecuyer & Lemieux, 2002). Over base noise z of
one or two numbers, `noise_grid` integrates and `noise_draws` draws where a map moves.

`tests/nodes/test_hard_densities.py` holds eleven densities that are hard to integrate
with their exact values, and what `scipy.integrate.cubature` says of the same ones.
"""

from typing import TYPE_CHECKING

from audit.ground.lazy import handed_on

if TYPE_CHECKING:
    from audit.nodes.chains import Chains, nuts_draws
    from audit.nodes.grid import LogDensity, Nodes, grid_nodes
    from audit.nodes.lines import Line
    from audit.nodes.noise import Noise
    from audit.nodes.space import TargetSpace
    from audit.nodes.weighted import LineNodes, line_nodes

__all__ = ["Chains", "Line", "LineNodes", "LogDensity", "Nodes", "Noise"]
__all__ += ["TargetSpace", "grid_nodes", "line_nodes", "nuts_draws"]
__getattr__, __dir__ = handed_on(__name__)
