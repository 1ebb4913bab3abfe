"""torch.export programs with branches and loops, held against plain Python."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch._higher_order_ops import map as mapped
from torch._higher_order_ops import scan, while_loop

from models.saved import Head, data_file, jacobian, opened, pt2_file

NORMAL = {"family": "normal", "parameters": {"loc": "loc", "scale": "exp(log_scale)"}}


class Steered(nn.Module):
    """A head of h(x), h being some control flow."""

    def __init__(self, flow):
        super().__init__()
        self.head, self.flow = Head(), flow

    def forward(self, x):
        return self.head(self.flow(x))


def branches(x):
    return torch.cond(x.shape[0] > 0, torch.sin, torch.cos, (x,))


def repeats(x):
    start = (torch.zeros((), dtype=torch.int64), x)
    body = lambda i, y: (i + 1, torch.sin(y) + 0.5)  # noqa: E731
    return while_loop(lambda i, _: i < 3, body, start)[1]


def maps(x):
    return mapped(lambda row: row * torch.exp(-row), x)


def scans(x):
    columns = x.T.contiguous()
    body = lambda c, v: (torch.tanh(c + v), c * v)  # noqa: E731
    last, made = scan(body, torch.zeros_like(x[:, 0]), columns, dim=0)
    return made.T + last[:, None]


def repeated(x):
    for _ in range(3):
        x = torch.sin(x) + 0.5
    return x


def scanned(x):
    carried, made = torch.zeros_like(x[:, 0]), []
    for v in x.T:
        made.append(carried * v)
        carried = torch.tanh(carried + v)
    return torch.stack(made, 1) + carried[:, None]


FLOWS = {
    "branches": (branches, torch.sin),
    "repeats": (repeats, repeated),
    "maps": (maps, lambda x: x * torch.exp(-x)),
    "scans": (scans, scanned),
}


@pytest.mark.parametrize("name", FLOWS)
def test_control_flow_is_what_it_means(tmp_path, name):
    flow, plain = FLOWS[name]
    example = torch.from_numpy(np.load(data_file(tmp_path))["x"])
    path = pt2_file(tmp_path, Steered(flow), example)
    model = opened(path, data_file(tmp_path), **NORMAL)
    phi, found = jacobian(model)
    x, _ = model.rows(model.probe_index())
    head = Head().double()

    def expected(row):
        made = head(plain(row[None]))
        return torch.cat([made["loc"], made["log_scale"].exp()], 1)[0]

    rows = [row.double() for row in x]
    exact = torch.stack([torch.func.jacrev(expected)(row) for row in rows])
    assert phi.shape == (len(x), 4)
    assert torch.allclose(found, exact, rtol=1e-5, atol=1e-6)


def test_threads_do_not_meet_in_a_branch(tmp_path):
    """torch traces a branch anew at each call, through state that all threads share."""
    example = torch.from_numpy(np.load(data_file(tmp_path))["x"])
    path = pt2_file(tmp_path, Steered(branches), example)
    model = opened(path, data_file(tmp_path), **NORMAL)
    _, expected = jacobian(model)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: jacobian(model)[1], range(16)))
    assert all(torch.equal(each, expected) for each in found)
