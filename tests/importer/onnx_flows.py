"""Normalising flows as two-input modules, and how to save and differentiate them."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from audit.export.densities import unvalidated

THETA, CONTEXT = 3, 5  # features of what is modelled, and of the context


class LogDensity(nn.Module):
    """log q(theta | x)."""

    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def forward(self, x, theta):
        return self.flow(x).log_prob(theta)


class Sampler(nn.Module):
    """theta = T(x, z), the way zuko samples: its transform turned round."""

    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def forward(self, x, z):
        return self.flow(x).transform.inv(z)


class DirectSampler(nn.Module):
    """theta = T(x, z) of the inverse flow, whose transform runs from z to theta."""

    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def forward(self, x, z):
        return self.flow.transform(x)(z)


class NflowsLogDensity(nn.Module):
    """log q(theta | x) of a density estimator of sbi over nflows."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, theta):
        return self.net.log_prob(theta, context=x)


class NflowsSampler(nn.Module):
    """theta = T(x, z) of the same."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, z):
        context = self.net._embedding_net(x)
        return self.net._transform.inverse(z, context=context)[0]


def zuko_flow(kind):
    """Two transforms, weights away from their first values."""
    import zuko

    torch.manual_seed(0)
    flow = getattr(zuko.flows, kind)(
        THETA, CONTEXT, transforms=2, hidden_features=[16, 16]
    )
    with torch.no_grad():
        for weight in flow.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return flow.eval()


def sbi_net(kind):
    """What sbi trains, with its standardising steps for data off the origin."""
    from sbi.neural_nets.net_builders.flow import build_maf, build_nsf
    from sbi.neural_nets.net_builders.mdn import build_mdn

    make = {"maf": build_maf, "nsf": build_nsf, "mdn": build_mdn}[kind]
    torch.manual_seed(0)
    theta, x = 2 * torch.randn(100, THETA) + 1, 3 * torch.randn(100, CONTEXT) - 1
    return make(theta, x, hidden_features=16).net.eval()


def forget():
    """Drop zuko's cached quadrature nodes: torch.export leaves symbolic ones there."""
    import zuko

    zuko.utils.GaussLegendre.nodes.cache_clear()


@dataclass(frozen=True)
class Case:
    """One flow, one direction, one exporter."""

    name: str
    make: Callable[[], nn.Module]
    dynamo: bool

    def __str__(self):
        return f"{self.name}-{'dynamo' if self.dynamo else 'legacy'}"

    def export(self, path):
        """Save a fresh module with a free batch axis and return the module."""
        try:
            with unvalidated():  # whoever imported pyro before has asked for checks
                return self._export(path)
        finally:
            forget()

    def _export(self, path):
        module = self.make().requires_grad_(False)
        pair = (torch.randn(4, CONTEXT), torch.randn(4, THETA))
        names, batch = ["x", "theta"], torch.export.Dim("batch")
        logging.disable(logging.WARNING)
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                if self.dynamo:
                    torch.onnx.export(
                        module,
                        pair,
                        path,
                        dynamo=True,
                        input_names=names,
                        dynamic_shapes=({0: batch}, {0: batch}),
                        verbose=False,
                    )
                else:
                    torch.onnx.export(
                        module,
                        pair,
                        path,
                        dynamo=False,
                        input_names=names,
                        dynamic_axes={name: {0: "batch"} for name in names},
                        opset_version=17,
                    )
        finally:
            logging.disable(logging.NOTSET)
        return module


def inputs(rows, dtype=torch.float32):
    generator = torch.Generator().manual_seed(rows)
    return tuple(
        torch.randn(rows, size, generator=generator).to(dtype)
        for size in (CONTEXT, THETA)
    )


def jacobians(function, x, theta):
    """d out / d x and d out / d theta of each row, by one backward pass an output."""
    x, theta = x.clone().requires_grad_(), theta.clone().requires_grad_()
    columns = function(x, theta).reshape(len(x), -1).unbind(1)
    grads = [
        torch.autograd.grad(c.sum(), (x, theta), retain_graph=True) for c in columns
    ]
    return tuple(torch.stack(parts, 1) for parts in zip(*grads, strict=True))


def apart(a, b):
    """Relative Frobenius distance, in float64."""
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).norm() / b.norm())
