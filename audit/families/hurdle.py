"""Amounts that are exactly 0 with probability 1 − π, else a draw of a density f.

Whether a draw is 0 shows, so information and divergence add up:

    F = blkdiag(1/(π(1−π)), π F_f),      KL = KL_Bernoulli(π ‖ π') + π KL_f

    Σ∫ q^α q'^{1−α} = (1−π)^α (1−π')^{1−α} + π^α π'^{1−α} e^{(α−1) D_α(f ‖ f')}

Source: Cragg, Econometrica 39 (1971).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.gates import Gated
from audit.families.parameters import Shapes
from audit.families.torch_laws import OwnLaw
from audit.families.univariate import Parameters
from audit.ground.errors import ConfigError, NoTransport
from audit.nodes.special import times


class Hurdle(Gated):
    """Independent coordinates; the component has a density, so no mass at 0.

    Density: 1 − π at 0, else π f(θ); f the component's.

    Fisher information: blkdiag(1/(π(1 − π)), π F), F the component's.

    Parameters: the gate, as `probs` or `logits` of π, or as `gate` or `gate_logits` of
    1 − π; and the component's.
    """

    def __init__(self, component: str, shapes: Shapes, **options: object) -> None:
        super().__init__("hurdle", component, shapes, **options)
        if self.component.discrete:
            raise ConfigError(
                f"The family {self.name} has a component with mass at 0",
                "hurdle: takes a family with a density, such as log_normal or gamma",
                f"Write zero_inflated:{component}",
            )

    def law(self, parameters: Parameters) -> td.Distribution:
        """Return the law of one coordinate."""
        coin, own = self.opened(parameters)
        return Atomic(*self.sides(coin), self.component.law(own))

    def fisher_block(self, parameters: Parameters) -> Tensor:
        """Return blkdiag(B_Bernoulli, √π B_f)."""
        coin, own = self.opened(parameters)
        first = self.coin.fisher_block((coin,))
        share = (self.sides(coin)[1] / 2).exp()[..., None, None]
        rest = self.component.fisher_block(own)
        rest = times(share.expand_as(rest), rest)
        whole = rest.new_zeros(*rest.shape[:-2], 1 + rest.shape[-2], 1 + rest.shape[-1])
        whole[..., :1, :1], whole[..., 1:, 1:] = first, rest
        return whole

    def transport_block(self, parameters: Parameters) -> Tensor:
        """Refuse: mass that leaves the atom jumps."""
        raise NoTransport(
            f"The family {self.name} has no transport tensor",
            "A step of its gate moves mass from the atom by whole amounts, and the "
            "quantile distance grows linearly",
            "Audit it with -d kl",
        )

    def relative_entropy(self, left: Parameters, right: Parameters) -> Tensor:
        """Return KL of the coins and π times that of the components."""
        (coin, own), (other, others) = self.opened(left), self.opened(right)
        first = self.coin.relative_entropy((coin,), (other,))
        share = self.sides(coin)[1].exp()
        return first + times(share, self.component.relative_entropy(own, others))

    def renyi_divergence(
        self, left: Parameters, right: Parameters, alpha: float
    ) -> Tensor:
        """Return the Rényi divergence of order α [...]; sharp where it is small."""
        (coin, own), (other, others) = self.opened(left), self.opened(right)
        gap, beta = alpha - 1, 1 - alpha
        inside = gap * self.component.renyi_divergence(own, others, alpha)
        changes = self.side_changes(coin, other)
        log_atom, log_rest = (
            torch.where(torch.isneginf(side), -torch.inf, side + beta * change)
            for side, change in zip(self.sides(coin), changes, strict=True)
        )
        of_coins = torch.expm1(
            gap * self.coin.renyi_divergence((coin,), (other,), alpha)
        )
        excess = of_coins + times(log_rest.exp(), torch.expm1(inside))
        far = torch.logaddexp(
            log_atom,
            torch.where(torch.isneginf(log_rest), -torch.inf, log_rest + inside),
        )
        close = excess.abs() < 0.5
        near = torch.log1p(torch.where(close, excess, 0.0))
        return torch.where(close, near, far) / gap

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return None."""
        return None


class Atomic(OwnLaw):
    """An atom at 0 beside a density.

    Args:
        log_atom: its log probability [...].
        log_rest: that of the rest [...].
        law: the rest, batch shape [...].
    """

    def __init__(
        self, log_atom: Tensor, log_rest: Tensor, law: td.Distribution
    ) -> None:
        self.log_atom, self.log_rest, self.law_of_rest = log_atom, log_rest, law
        super().__init__(law.batch_shape)

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, *batch]."""
        drawn: Tensor = self.law_of_rest.sample(shape)
        kept = torch.rand_like(drawn) < self.log_rest.exp()
        return torch.where(kept, drawn, 0.0)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density, and the log probability of the atom at 0."""
        zero = value == 0
        inside = self.law_of_rest.log_prob(torch.where(zero, 1.0, value))
        return torch.where(zero, self.log_atom, self.log_rest + inside)
