"""⟨u, y⟩'s gradient is what autograd makes of the cotangent u, to the last bit."""

import pytest
import torch

from audit.linalg.cotangents import all_pulled_back, pulled_back


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_cotangent_pulled_back(dtype):
    torch.manual_seed(0)
    x = torch.randn(7, 5, dtype=dtype, requires_grad=True)
    weight = torch.randn(5, 3, dtype=dtype)
    y = torch.tanh(x @ weight) * x[:, :1].exp()
    u = torch.randn(7, 3, dtype=dtype) * torch.tensor([1e-30, 1.0, -0.0], dtype=dtype)
    (wanted,) = torch.autograd.grad(y, x, u, retain_graph=True)
    found = pulled_back(y, x, u, keep=True)
    assert found.numpy().tobytes() == wanted.numpy().tobytes()


def test_not_a_number_stays_in_its_row():
    x = torch.tensor([[0.0], [4.0]], requires_grad=True)
    y = x.sqrt() / x  # 0 / 0 in the first row
    found = pulled_back(y, x, torch.ones(2, 1))
    assert torch.isnan(found[0]).all()
    assert found[1].item() == pytest.approx(-0.5 * 4**-1.5)


def test_it_can_be_differentiated_by_the_cotangent():
    x = torch.tensor([[1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    y = torch.stack([x[:, 0] * x[:, 1], x[:, 0] ** 2], dim=1)
    u = torch.zeros_like(y, requires_grad=True)
    pulled = pulled_back(y, x, u, keep=True, create=True)
    column = pulled_back(pulled, u, torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    assert column.tolist() == [[2.0, 2.0]]  # J e₁, J = [[2, 1], [2, 0]]


def test_what_is_not_connected_has_no_gradient():
    x = torch.ones(2, requires_grad=True)
    z = torch.ones(2, requires_grad=True)
    assert pulled_back(z * 2, x, torch.ones(2)) is None


def test_whoever_records_nothing_gets_the_same():
    x = torch.tensor([2.0], requires_grad=True)
    y = x**3
    with torch.no_grad():
        found = pulled_back(y, x, torch.ones(1))
    assert found.item() == 12.0


def test_several_sources_get_what_autograd_gives_them():
    torch.manual_seed(1)
    x, z, other = (torch.randn(4, 3, requires_grad=True) for _ in range(3))
    y = torch.sin(x) * z.exp()
    for u in (None, torch.randn(4, 3)):
        given = torch.ones_like(y) if u is None else u
        wanted = torch.autograd.grad(y, (x, z), given, retain_graph=True)
        *found, nothing = all_pulled_back(y, (x, z, other), u, keep=True)
        assert nothing is None
        for one, its in zip(found, wanted, strict=True):
            assert one.numpy().tobytes() == its.numpy().tobytes()
