"""The rows of the quantities that tell how far an estimate may be believed.

q(θ|x) is the density of the model, drawn from or put on a grid; G is its metric tensor.
"""

from __future__ import annotations

from audit.reports.formulas import PER_DELTA, Quantity
from audit.reports.roles import ERROR, named

TRUST_QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "draws",
        "draws",
        "M, the draws of θ behind this input's numbers",
        "Standard errors shrink with its square root.",
    ),
    Quantity(
        "units",
        "draws",
        "the draws, or groups of draws (pairs, nets, batches of a chain), that are "
        "independent of each other",
        "What intervals are computed from. Below 20 they hold less often than they "
        "say.",
    ),
    Quantity(
        "normalisation",
        "",
        "Z = ∫ q(θ|x) dθ",
        "1 for a normalised density. By a grid, anything else means that mass was "
        "missed, or that log q is known up to a constant (--unnormalised); scores are "
        "centred, so the numbers are those of q/Z. Without a grid it is measured on "
        "the verified inputs, and null where too few points carry the weight.",
    ),
    Quantity(
        "score_mean",
        "1/δ",
        "‖E_q[∇_x log q(θ|x)]‖",
        "Zero when the draws match the density. Well above score_mean_se, draws and "
        "density are of two models, the support moves with x (KL is infinite then), or "
        "the density is not normalised.",
    ),
    Quantity(
        named("score_mean", ERROR),
        "1/δ",
        "√(tr G / M), the size of score_mean expected from sampling alone",
        "What score_mean is held against: up to about twice it is no more than noise.",
    ),
    Quantity(
        "trace_share",
        "",
        "max_m s_m / Σ_m s_m,  s_m the summand of draw m in trace",
        "The largest single draw's share of the sum behind trace. Near 1/M it is "
        "shared fairly; above a tenth one draw decides, and the mean is not usable.",
    ),
    Quantity(
        "trace_median",
        PER_DELTA,
        "median over the draws of the summand of trace",
        "Robust where the mean of the draws is not usable, but of another size: for a "
        "normal law it is about a third of the trace in one dimension.",
    ),
    Quantity(
        "direction_angle",
        "degrees",
        "∠(v₁, v₂) of the worst directions from two halves of the draws, 0 to 90",
        "How stable the worst direction is. Near 0 the draws agree on it; near 90 they "
        "say nothing about it.",
    ),
    Quantity(
        "quadrature_error",
        "",
        "|I_grid − I| / I, estimated from a coarser grid",
        "By what fraction the integrals over the grid of θ may be off.",
    ),
    Quantity(
        "rhat",
        "",
        "R̂ of the NUTS chains, the largest over the coordinates of θ",
        "Near 1 the chains have forgotten where they began; above 1.05 they have not "
        "mixed, and no number drawn from them is to be believed. A mode that no chain "
        "has found does not show.",
    ),
    Quantity(
        "ess",
        "draws",
        "effective sample size of the NUTS chains, the smallest over θ",
        "How many independent draws the correlated ones are worth.",
    ),
)
"""The `_se` of a quantity without a row of its own is its Monte-Carlo error."""
TRUST = tuple(row.name for row in TRUST_QUANTITIES)
