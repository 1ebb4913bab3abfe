"""Graphs of modules in float64 have the modules' own constants, not float32's."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from audit.models.torch_to_graph import graph_of_module

ACTIVATIONS = {
    "leaky relu": nn.LeakyReLU(0.1),
    "leaky relu in place": nn.LeakyReLU(0.3, inplace=True),
    "rrelu": nn.RReLU(),
    "elu": nn.ELU(0.3),
    "elu of 1": nn.ELU(),
    "celu": nn.CELU(0.7),
    "selu": nn.SELU(),
    "hard sigmoid": nn.Hardsigmoid(),
    "hard swish": nn.Hardswish(),
    "rms norm": nn.RMSNorm(4),
    "rms norm of an epsilon": nn.RMSNorm(4, eps=0.1),
    "rms norm without weights": nn.RMSNorm((4,), elementwise_affine=False),
}


def exported(module, x):
    graph = graph_of_module(module, ["x"], ["y"], {"x": x}, torch.device("cpu"))
    assert graph is not None
    return graph


@pytest.mark.parametrize("script", [False, True])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_graph_in_float64_is_its_module_to_the_last_digits(name, script):
    module = nn.Sequential(ACTIVATIONS[name]).double().eval()
    x = 10 * torch.randn(9, 4, generator=torch.Generator().manual_seed(1)).double()
    given = torch.jit.script(module) if script else module
    (y,) = exported(given, x[:2])(x)
    torch.testing.assert_close(y, module(x.clone()), rtol=1e-14, atol=1e-15)


def test_slopes_that_are_drawn_are_not_replaced_by_their_mean():
    """There is no graph of a module that draws, and none that pretends otherwise."""

    class Drawn(nn.Module):
        def forward(self, x):
            return functional.rrelu(x, 0.1, 0.3, training=True)

    x = torch.randn(2, 3).double()
    made = graph_of_module(Drawn(), ["x"], ["y"], {"x": x}, torch.device("cpu"))
    assert made is None


def test_an_exporter_writes_as_before_afterwards():
    """In float32 an attribute is the module's own number, and stays one."""
    x = torch.randn(2, 3)
    exported(nn.LeakyReLU(0.1).double(), x.double())
    plain = exported(nn.Sequential(nn.LeakyReLU(0.1)), x)
    assert [step.node.op for step in plain.plan.steps] == ["LeakyRelu"]
    torch.testing.assert_close(plain(x)[0], functional.leaky_relu(x, 0.1))
