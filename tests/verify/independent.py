"""An ascent of KL in plain torch on saved TorchScript files: nothing of ours in it."""

import math

import numpy as np
import torch
from scans import DATA, SAMPLES
from torch.distributions import StudentT


def normal(p, q):
    """KL of normals [n] from loc and log_scale [n, 1]."""
    m, s, k, t = p["loc"], p["log_scale"], q["loc"], q["log_scale"]
    ratio = (2 * (s - t)).exp() + ((k - m) / t.exp()) ** 2
    return (t - s + ratio / 2 - 0.5).sum(1)


def categorical(p, q):
    """KL of categorical laws [n] from logits [n, K]."""
    a, b = (one["logits"].log_softmax(1) for one in (p, q))
    return (a.exp() * (a - b)).sum(1)


def poisson(p, q):
    """KL of Poisson laws [n] from rates [n, 1]."""
    a, b = p["rate"], q["rate"]
    return (a * (a / b).log() - a + b).sum(1)


def student(p, q):
    """KL of Student's t laws [n], by the trapezoid rule in z = sinh s."""
    s = torch.linspace(-14, 14, 600, dtype=torch.float64)
    z, width = torch.sinh(s), torch.cosh(s) * (s[1] - s[0])
    here, there = (StudentT(one["df"], one["loc"], one["scale"]) for one in (p, q))
    theta = p["loc"] + p["scale"] * z
    log_p = here.log_prob(theta)
    mass = log_p.exp() * p["scale"] * width
    return (mass * (log_p - there.log_prob(theta))).sum(1)


KL = {
    "heteroscedastic": normal,
    "digits_cnn": categorical,
    "sunspots_gru": student,
    "counts": poisson,
}


class Plain:
    """A sample model in float64, by torch alone; reverse: by KL(moved ‖ own)."""

    def __init__(self, name, count, reverse=False):
        self.kl, self.reverse = KL[name], reverse
        self.net = torch.jit.load(str(SAMPLES / f"{name}.pt")).double().eval()
        with np.load(SAMPLES / f"{DATA[name]}.npz") as data:
            self.x = torch.from_numpy(data["x"][:count]).double()
        with torch.no_grad():
            self.law = self.run(self.x)

    def run(self, x):
        """Return the outputs by name."""
        with torch.jit.optimized_execution(False):
            found = self.net(x)
        if isinstance(found, dict):
            return found
        if torch.is_tensor(found):
            return {"logits": found}
        return dict(zip(("loc", "log_scale"), found, strict=True))

    def value(self, u):
        """Return KL [R · n] at x + u, for u [R, n, d]."""
        many = {k: v.repeat(len(u), *[1] * (v.dim() - 1)) for k, v in self.law.items()}
        x = self.x.repeat(len(u), *[1] * (self.x.dim() - 1))
        moved = x + u.reshape(x.shape)
        laws = (many, self.run(moved))
        return self.kl(*(laws[::-1] if self.reverse else laws))

    def ascent(self, size, steps, restarts, seed=0):
        """Return the best KL [n] of projected gradient ascent on ‖u‖₂ ≤ size."""
        torch.manual_seed(seed)
        n, d = len(self.x), math.prod(self.x.shape[1:])
        u = torch.randn(restarts, n, d, dtype=torch.float64)
        u *= size / u.norm(dim=2, keepdim=True)
        best = torch.zeros(n, dtype=torch.float64)
        for step in range(steps + 1):
            u.requires_grad_()
            value = self.value(u)
            (slope,) = torch.autograd.grad(value.sum(), u)
            found = value.detach().reshape(restarts, n).nan_to_num(0).amax(0)
            best = torch.maximum(best, found)
            slope = slope / slope.norm(dim=2, keepdim=True).clamp_min(1e-300)
            u = u.detach() + slope * size * (1 - step / (steps + 1))
            u *= (size / u.norm(dim=2, keepdim=True)).clamp_max(1)
        return best
