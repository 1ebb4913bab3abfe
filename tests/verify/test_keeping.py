"""Where a kept witness lies in numbers of the file's own type: no further than δ."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audit.verify.keeping import _points, _predicted


def points(x, delta, dtype, space="input"):
    """Return x and x + δ as they are kept."""
    frame = SimpleNamespace(taken=lambda rows: SimpleNamespace(push=lambda u: delta))
    network = SimpleNamespace(dtype_of=lambda name: dtype)
    roles = SimpleNamespace(condition="x")
    model = SimpleNamespace(space=space, network=network, roles=roles)
    site = SimpleNamespace(x=x, frame=frame)
    return _points(site, torch.arange(len(x)), delta, model)


def test_what_the_type_holds_is_kept_as_it_is():
    x = torch.tensor([[1.0, -2.0, 0.0]])
    delta = torch.tensor([[0.5, 0.25, -0.125]], dtype=torch.float64)
    start, moved = points(x, delta, torch.float32)
    assert torch.equal(start, x.double())
    assert torch.equal(moved, x.double() + delta)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_it_does_not_hold_is_the_nearest_number_that_is_no_further(dtype):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(200, 5))).to(dtype)
    delta = torch.from_numpy(0.1 * rng.normal(size=(200, 5)))
    start, moved = points(x, delta, dtype)
    assert torch.equal(start, x.double())
    assert torch.equal(moved.to(dtype).double(), moved)
    assert ((moved - start).abs() <= delta.abs()).all()
    far = (torch.inf * delta.sign()).to(dtype)
    beyond = torch.nextafter(moved.to(dtype), far).double()
    assert ((beyond - start).abs() > delta.abs()).all()


def test_parameters_are_kept_in_float64():
    x = torch.tensor([[1.0]])
    delta = torch.tensor([[0.1]], dtype=torch.float64)
    _, moved = points(x, delta, torch.float32, "parameters")
    assert float(moved) == 1.1


def test_rows_of_several_passes_have_their_own_held_values():
    held = {"h": torch.tensor([[1.0], [-2.0], [3.0]], dtype=torch.float64)}
    density = SimpleNamespace(parameter_map=lambda x, held: x * held["h"])
    site = SimpleNamespace(model=SimpleNamespace(density=density), held=held)
    x = torch.arange(2500, dtype=torch.float64).unsqueeze(1)
    rows = torch.arange(2500) % 3
    assert torch.equal(_predicted(site, rows, x), x * held["h"][rows])
