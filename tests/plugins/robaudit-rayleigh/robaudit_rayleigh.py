"""The Rayleigh family, written from scratch: all that an audit asks of a law."""

import math

import torch
from torch import distributions as td

from audit.plugins import Diagonal, Law, check_finite


class Rayleigh(Law):
    """Rayleigh coordinates: θ = scale · √(−2 ln u), the length of a normal vector."""

    parameterizations = (("scale",),)
    formula = "θ/σ² exp(−θ²/2σ²)"

    @property
    def size(self):
        return math.prod(self.event_shape)

    @property
    def event_shape(self):
        return self.shapes["scale"]

    def pack(self, values):
        return values["scale"].double().reshape(len(values["scale"]), -1)

    def unpack(self, phi):
        return {"scale": phi.reshape(*phi.shape[:-1], *self.event_shape)}

    def distribution(self, phi):
        scale = math.sqrt(2) * self.unpack(phi)["scale"]
        law = td.Weibull(scale, torch.full_like(scale, 2), validate_args=False)
        return td.Independent(law, len(self.event_shape))

    def violations(self, phi):
        return {**check_finite(phi), "scale is not positive": (phi <= 0).any(-1)}

    def fisher_root(self, phi):
        return Diagonal(2 / phi)

    def transport_root(self, phi):
        return Diagonal(torch.full_like(phi, math.sqrt(2)))

    def kl(self, phi, other):
        return ((phi / other).square() - 1 - 2 * (phi / other).log()).sum(-1)

    def transport_distance(self, phi, other):
        return 2 * (phi - other).square().sum(-1)
