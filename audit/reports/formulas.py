"""The rows of the table of quantities: unit, formula and reading of each number.

G = AᵀA is the local metric tensor, c the divergence's constant: D ≈ c δᵀ G δ.
"""

from __future__ import annotations

from dataclasses import dataclass

from audit.reports.roles import LOWER, PARTED, RATIO, UPPER, named


@dataclass(frozen=True)
class Quantity:
    """One kind of number: its unit, its formula and what it tells."""

    name: str
    unit: str
    """May hold {unit}, the divergence's own; δ is the perturbation's unit."""
    formula: str
    reading: str
    at_sizes: bool = False
    """Whether it is measured at several sizes ε of the perturbation."""


PER_DELTA = "{unit}/δ²"

FORM_QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "trace",
        PER_DELTA,
        "tr G",
        "Sensitivity to noise in all directions at once: white noise of standard "
        "deviation σ costs c σ² tr G on average.",
    ),
    Quantity(
        "eigenvalue",
        PER_DELTA,
        "λ_max(G), without c",
        "Sensitivity along the worst direction: a step of norm ε along it costs "
        "c ε² λ_max.",
    ),
    Quantity(
        named("eigenvalue", UPPER),
        PER_DELTA,
        "naive Monte-Carlo λ_max, and its 95 % margin",
        "The upper end of the bracket: the top eigenvalue of a sampled G, which is "
        "biased upwards, E ≥ λ_max.",
    ),
    Quantity(
        named("eigenvalue", LOWER),
        PER_DELTA,
        "cross-fitted λ_max, less its 95 % margin",
        "The lower end of the bracket: the direction comes from one half of the draws, "
        "its Rayleigh quotient from the other, E ≤ λ_max.",
    ),
    Quantity(
        "tail_share",
        "",
        "tr Jᵀ B_tᵀ B_t J / tr G, with B_t the rows of the root for the outer levels",
        "The share of the trace that a quantile head assumes: beyond its outer levels "
        "the quantile function is taken to be constant.",
    ),
    Quantity(
        "trace_bound",
        PER_DELTA,
        "tr of the complete-data G ⪰ G",
        "A certified upper bound on the trace of a mixture, as if the component of "
        "each draw were known.",
    ),
    Quantity(
        "eigenvalue_bound",
        PER_DELTA,
        "λ_max of the complete-data G ⪰ G",
        "A certified upper bound on the worst direction of a mixture, as if the "
        "component of each draw were known.",
    ),
    Quantity(
        "derivative_error",
        "",
        "2 ‖E‖ / σ_max, E the estimated error of A",
        "With finite differences: by what fraction trace and eigenvalue may be off.",
    ),
    Quantity(
        "residual",
        "",
        "max over the directions kept of ‖K u − λ u‖ / λ_max, K = A Aᵀ or AᵀA",
        "Where only products with the Jacobian were made (method krylov): some "
        "eigenvalue lies within this part of λ_max of each that is reported.",
    ),
    Quantity(
        "gap",
        "",
        "(λ₁ − λ₂) / λ₁",
        "Near 0 the worst direction is not unique: compare subspaces, not vectors. "
        "Near 1 a single direction carries the damage.",
    ),
    Quantity(
        "radius",
        "δ",
        "√(τ / (c λ_max))",
        "The second-order radius: the perturbation along the worst direction that "
        "would move the distribution by τ if the divergence were quadratic. How far "
        "that is from the truth stands beside it, critical_radius / radius.",
    ),
    Quantity(
        named("radius", RATIO),
        "",
        "critical_radius / radius",
        "How far the second-order radius is from the exact one: below 1 it is too "
        "optimistic.",
    ),
    Quantity(
        named("radius", PARTED),
        "",
        "1 where critical_radius is more than 10 % from radius, else 0",
        "The mean is the share of inputs whose second-order radius is not to be "
        "believed.",
    ),
    Quantity(
        "critical_radius",
        "δ",
        "min ‖δ‖ with D(q_x ‖ q_{x+δ}) = τ, δ = ± r v by a ladder, then by witnesses",
        "A perturbation of this norm moves the distribution by τ: found on the exact "
        "divergence along the worst direction v, on its worse side, then lowered by an "
        "ascent among all directions: of the first divergence where a formula makes "
        "that affordable, of all with --sizes (critical_radius_along, what v alone "
        "needs, stands beside it then). The true smallest norm is at most this. "
        "Infinite where τ was not reached, along v within 1,000 second-order radii. "
        "--bounds do not cut it. Larger is more robust.",
    ),
    Quantity(
        "validity_radius",
        "δ",
        "max r with |D(q_x ‖ q_{x ± s v}) / (c s² λ_max) − 1| ≤ 10 % for every s ≤ r",
        "Up to this norm along the worst direction the second-order number is right "
        "within a tenth, on both sides. Beyond it, read realised values. Infinite "
        "where it is right at every radius that was tried.",
    ),
    Quantity(
        "skew",
        "",
        "(D(q_x ‖ q_{x + r v}) − D(q_x ‖ q_{x − r v})) / their sum, r the validity "
        "radius",
        "Which side of the worst direction v is worse, and by how much: above 0 it is "
        "+v, below 0 −v; to second order it is 0. The worse side costs (1 + |skew|) / "
        "(1 − |skew|) times as much.",
    ),
    Quantity(
        "predicted",
        "{unit}",
        "max c |A u|² over ‖u‖_p ≤ ε",
        "What a perturbation of this size does to second order. It is no bound.",
        at_sizes=True,
    ),
    Quantity(
        "along",
        "{unit}",
        "max over ± of D(q_x ‖ q_{x ± ε v})",
        "What a step of this size along the worst direction really does, on its worse "
        "side.",
        at_sizes=True,
    ),
    Quantity(
        "witness",
        "{unit}",
        "D(q_x ‖ q_{x+δ}) at the worst δ of this size that an ascent found",
        "What some perturbation of this size does: the truth is at least this. Anyone "
        "can replay it.",
        at_sizes=True,
    ),
    Quantity(
        "certificate",
        "{unit}",
        "B ≥ max D(q_x ‖ q_{x+δ}) over ‖u‖_p ≤ ε, by linear relaxation of the network",
        "What no perturbation of this size exceeds: the truth is at most this.",
        at_sizes=True,
    ),
    Quantity(
        "certified_radius",
        "δ",
        "the largest ε whose certificate is at most τ",
        "No perturbation smaller than this moves the distribution by more than τ: "
        "proven. Never above the critical radius.",
    ),
    Quantity(
        "effective_rank",
        "directions",
        "(Σ λᵢ)² / Σ λᵢ²",
        "How many directions matter: 1 when one carries everything, rank G when all "
        "are alike.",
    ),
    Quantity(
        "rank",
        "directions",
        "rank G",
        "Directions that cost anything to second order; at most the number of "
        "parameters of the distribution.",
    ),
    Quantity(
        "model_norm",
        "{unit}/φ²",
        "‖F(φ)‖_F",
        "How vulnerable the distribution itself is, at its parameters φ. Depends on "
        "the parameterisation.",
    ),
    Quantity(
        "map_norm",
        "φ²/δ²",
        "‖J Jᵀ‖_F",
        "How much the learned map x → φ stretches a perturbation. Depends on the "
        "parameterisation.",
    ),
    Quantity(
        "jacobian_norm",
        "φ²/δ²",
        "‖J‖_F²",
        "The classic Jacobian regularizer (Hoffman et al. 2019): the last and loosest "
        "factor of the chain.",
    ),
    Quantity(
        "map_effective_rank",
        "directions",
        "‖J‖_F⁴ / ‖J Jᵀ‖_F²",
        "How many directions of φ the map moves: 1 when one carries everything.",
    ),
    Quantity(
        "von_neumann",
        PER_DELTA,
        "Σᵢ λᵢ(F) λᵢ(J Jᵀ) ≥ tr G",
        "The trace if the map stretched exactly where the distribution is weakest: the "
        "tightest bound from the two spectra alone.",
    ),
    Quantity(
        "alignment",
        "",
        "tr G / Σᵢ λᵢ(F) λᵢ(J Jᵀ), in [0, 1]",
        "1: the map stretches where the distribution is weakest. Near 0: it stretches "
        "where nothing is lost.",
    ),
    Quantity(
        "angle",
        "degrees",
        "∠(v, w) of the two divergences' worst directions, 0 to 90",
        "0: both divergences fear the same direction. 90: what is worst for one does "
        "not touch the other.",
    ),
    Quantity(
        "attained",
        "",
        "wᵀ G w / λ_max(G), w the other divergence's worst direction",
        "The share of this divergence's worst case that the other's worst direction "
        "reaches. 1: one attack serves both.",
    ),
    Quantity(
        "linear",
        "{unit}/δ",
        "W₁ ≈ linear · ‖δ‖ along the worst direction",
        "Discrete distributions have no smooth transport: the distance grows linearly "
        "with the perturbation, with this slope.",
    ),
)
MOVED_QUANTITIES: tuple[Quantity, ...] = (
    *(
        Quantity(
            f"{role}_share",
            "",
            "(‖b_1 + … + b_g‖² − ‖b_1 + … + b_{g−1}‖²) / ‖B J v‖²,  b_g = B P_g J v",
            f"The share of the worst direction's cost that is paid by the law's {role} "
            "parameters: exact where role_overlap is 0, else by substituting location, "
            "scale, shape and weights one after the other.",
        )
        for role in ("location", "scale", "shape", "weights")
    ),
    Quantity(
        "role_overlap",
        "",
        "Σ_{g≠h} b_gᵀ b_h / ‖B J v‖²",
        "0: the shares of location, scale, shape and weights are exact. Away from 0 "
        "their parts help or undo each other, and shares are by substitution.",
    ),
    Quantity(
        "principal_share",
        "",
        "‖Q v‖², Q the projection on the principal axes with 95 % of the variance",
        "1: the data vary along the worst direction themselves. Near 0 it leaves the "
        "space of the data: the model is sensitive where it has seen nothing.",
    ),
)
"""What the top direction moves."""
ATTACK_QUANTITIES: tuple[Quantity, ...] = (
    Quantity(
        "gaussian",
        "{unit}",
        "c σ² tr G,  δ ~ N(0, σ² I)",
        "What white noise costs on average.",
    ),
    Quantity(
        "moments",
        "{unit}",
        "c [tr(G Σ) + μᵀ G μ]",
        "What noise of mean μ and covariance Σ costs on average.",
    ),
    Quantity(
        "fixed_norm",
        "{unit}",
        "c ε² λ_max,  δ = ε v",
        "What the worst perturbation of norm ε costs.",
    ),
    Quantity(
        "uniform_norm",
        "{unit}",
        "c ε_max² λ_max / 3,  δ = ε v, ε ~ U[0, ε_max]",
        "What a worst-direction perturbation of random norm costs on average.",
    ),
    Quantity(
        "worst_case",
        "{unit}",
        "max c |A u|² over ‖u‖_p ≤ ε",
        "What the worst perturbation of a ball costs to second order; its realised "
        "value is the most that an ascent on the exact divergence finds.",
    ),
    Quantity(
        "certified",
        "{unit}",
        "max c |A u|² over ‖u‖_p ≤ ε",
        "What the worst perturbation of a ball costs to second order; the certificate "
        "beside it is a proven upper bound.",
    ),
    Quantity(
        "random_direction",
        "{unit}",
        "c ε_max² tr G / (3 d),  δ = ε u, u uniform on the sphere",
        "What a perturbation in a random direction costs on average.",
    ),
)
