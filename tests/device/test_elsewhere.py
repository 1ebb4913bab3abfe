"""Scans hold to their device: tried with one that is not there, on the CPU."""

import numpy as np
import pytest
import torch

from audit.models.indexing import _sliced
from tests.device.comparing import distance, on
from tests.device.elsewhere import NAME, Elsewhere, OfElsewhere
from tests.device.samples import columns, reported
from tests.golden.hashes import ROOT, models, settings

FAST = ("counts.onnx", "heteroscedastic.onnx", "digits_cnn.onnx", "sunspots_gru.onnx")
SLOWEST = {"decoder_batch8.onnx", "mixture.onnx"}  # many calls of Python
# how far a mass, a score and a trace are off, as shares: by rounding, that of one
OF_ONE = ("normalisation_error", "score_mean", "quadrature_error")
GRAPHS = {path.name for path in models() if path.suffix == ".onnx"} - SLOWEST


@pytest.fixture
def there():
    with OfElsewhere():
        yield torch.arange(6.0).reshape(2, 3).to(NAME)


def test_what_is_computed_elsewhere_stays_there(there):
    x = there.detach().requires_grad_()
    (slope,) = torch.autograd.grad((x * x).sum(), x)
    assert isinstance(slope, Elsewhere)
    assert slope.device.type == NAME
    assert torch.equal(slope.cpu(), 2 * torch.arange(6.0).reshape(2, 3))
    assert float(there.sum()) == 15
    assert there.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert there[:, [0, 2]].cpu().tolist() == [[0, 2], [3, 5]]
    assert there.new_tensor([1]).device == there.device


@pytest.mark.parametrize(
    "mixed",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.stack([x[0], torch.ones(3)]),
        lambda x: x.index_add(0, torch.tensor([0]), x[:1]),
        lambda x: torch.where(torch.ones(2, 3) > 0, x, x),
    ],
)
def test_what_mixes_devices_is_refused(there, mixed):
    with pytest.raises(RuntimeError, match="Expected all tensors on one device"):
        mixed(there)


def test_numpy_is_refused(there):
    with pytest.raises((RuntimeError, TypeError), match="numpy"):
        there.numpy()


def test_a_slice_of_an_output_stays_there(there):
    assert _sliced(there, 1, slice(0, 2)).cpu().tolist() == [[0, 1], [3, 4]]


def held_to_it(name, find):
    config = settings(ROOT / "sample_models" / name)
    ours = find(on(config, "cpu"))
    with OfElsewhere():
        theirs = find(on(config, NAME))
    assert ours.keys() == theirs.keys()
    for column, numbers in ours.items():
        whole = float(column.endswith(OF_ONE))
        assert distance(whole + numbers, whole + theirs[column]) <= 1e-6, column
    assert any(np.isfinite(numbers).any() for numbers in ours.values())


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", FAST)
def test_every_column_is_measured_elsewhere(name):
    held_to_it(name, columns)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(GRAPHS - {*FAST}))
def test_every_column_of_every_graph_is_measured_elsewhere(name):
    held_to_it(name, columns)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["counts.onnx", "heteroscedastic.onnx"])
def test_a_whole_scan_is_done_elsewhere(name):
    held_to_it(name, reported)
