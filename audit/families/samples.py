"""Samples θ_s(x), s = 1 … S, that a file returns, its noise inside and fixed.

Samples that share their noise are a transport: T(z_s) = θ_s, and ∂θ_s/∂x tells how each
is carried. So E[J_Tᵀ J_T] is the mean over s of J_sᵀ J_s, with a standard error over s;
the exact distance is that of the S samples. There is no density, and no Fisher
information. Samples that do not share their noise are no such function of x: the gate
that calls a file twice refuses them.

Source: the pathwise derivative, Glasserman, Monte Carlo Methods in Financial
Engineering (2003), section 7.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch import distributions as td

from audit.families.interface import Family
from audit.families.parameters import Shapes, check_finite
from audit.families.tensors import Estimation, Tensors
from audit.families.torch_laws import OwnLaw
from audit.ground.errors import ConfigError, NoFisher
from audit.linalg.averaged import Sampled
from audit.linalg.stored import LinearOperator


class Samples(Family):
    """S samples [S, *event] for each input; φ holds them one after the other.

    Density: none: a file that draws says nothing of it.

    Fisher information: none: kl is not defined, quantile is.
    """

    parameterizations = (("samples",),)
    transport_name = "the file's own, from the noise inside it to its samples"

    def __init__(self, shapes: Shapes, **options: object) -> None:
        super().__init__(shapes, **options)
        if len(self.shapes["samples"]) < 1 or self.shapes["samples"][0] < 4:
            raise ConfigError(
                f"The samples have the shape {self.shapes['samples']}",
                "Expected at least four samples of each input, on the first axis after "
                "the batch, and then the event",
                "Exchange the axes: --param samples='transpose(out)'",
            )

    @property
    def draws(self) -> int:
        """The number of samples, S."""
        return self.shapes["samples"][0]

    @property
    def size(self) -> int:
        """S n."""
        return math.prod(self.shapes["samples"])

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.shapes["samples"][1:]

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return samples [N, S, *event] as φ [N, S n]."""
        return values["samples"].to(torch.float64).flatten(1)

    def unpack(self, phi: Tensor) -> dict[str, Tensor]:
        """Return samples [..., S, *event]."""
        return {"samples": phi.reshape(*phi.shape[:-1], *self.shapes["samples"])}

    def estimation(self, tensor: Tensors, phi: Tensor, draws: int) -> Estimation:
        """Return how the tensor is found: by the samples that there are."""
        found = super().estimation(tensor, phi, draws)
        return found if found.draws is None else replace(found, draws=self.draws)

    def distribution(self, phi: Tensor) -> td.Distribution:
        """Return the law that takes one of the samples; it has no density."""
        return OneOf(self.unpack(phi)["samples"])

    def violations(self, phi: Tensor) -> dict[str, Tensor]:
        """Return which rows are not finite."""
        return check_finite(phi)

    def fisher_root(self, phi: Tensor) -> LinearOperator:
        """Refuse: samples have no density."""
        raise NoFisher(
            "The family samples has no Fisher information",
            "Samples are known, not the density that they come from",
            "Audit it with -d quantile",
        )

    def transport_root(self, phi: Tensor) -> LinearOperator:
        """Return a row for each number of each sample, over √S."""
        eye = torch.eye(self.size, dtype=phi.dtype, device=phi.device)
        entries = (eye / math.sqrt(self.draws)).expand(*phi.shape[:-1], -1, -1)
        return Sampled(entries, draw=max(1, math.prod(self.event_shape)))

    def kl(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return None: there is no density."""
        return None

    def transport_distance(self, phi: Tensor, other: Tensor) -> Tensor:
        """Return the mean over samples of ‖θ_s − θ'_s‖² [N]."""
        return (phi - other).square().sum(-1) / self.draws

    def wasserstein_distance(self, phi: Tensor, other: Tensor) -> Tensor | None:
        """Return W₂² [N] between the samples of one number, else None.

        Samples that differ stay with their own under a small step, so that its local
        form is that of the file's own transport; a large step may cross them.
        """
        if self.size != self.draws:
            return None
        gap = phi.sort(dim=-1).values - other.sort(dim=-1).values
        return gap.square().mean(-1)


class OneOf(OwnLaw):
    """One of S samples [N, S, *event], each as likely."""

    def __init__(self, samples: Tensor) -> None:
        self.samples = samples
        super().__init__(samples.shape[:1], samples.shape[2:], moves=True)

    def drawn(self, shape: torch.Size, how: str) -> Tensor:
        """Return draws [*shape, N, *event]."""
        rows, count = self.samples.shape[:2]
        chosen = torch.randint(count, (*shape, rows), device=self.samples.device)
        return self.samples[torch.arange(rows, device=chosen.device), chosen]
