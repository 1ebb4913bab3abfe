"""Convolutions and maxima where no derivative is asked for, against their definition.

A window is a sum, or a maximum, of cells that are listed one by one with NumPy.
"""

import itertools

import numpy as np
import pytest
import torch

from audit.importer.ops import convolution
from audit.importer.ops.convolution import conv
from audit.importer.ops.pooling import max_pool

CASES = {  # image, channels, and where the windows lie
    "line": ((9,), 3, {"strides": [2], "pads": [1, 0], "dilations": [2]}),
    "plane": ((4, 4), 12, {"pads": [1, 1, 1, 0]}),
    "uneven pads": ((5, 4), 2, {"strides": [2, 1], "pads": [0, 1, 2, 0]}),
    "gaps": ((6, 7), 1, {"dilations": [2, 3], "strides": [1, 1]}),
    "same": ((4, 3), 5, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "space": ((3, 4, 3), 2, {"pads": [0, 1, 0, 0, 0, 1], "strides": [1, 2, 1]}),
}
KERNEL = {1: (3,), 2: (3, 2), 3: (2, 3, 2)}


def cells(image, kernel, strides=None, pads=None, dilations=None, auto_pad=None):
    """For each window its places [K, rank] in the image, and which of them are in it.

    From the standard: window o reads the padded image at o s + j d.
    """
    rank = len(image)
    s, d = strides or [1] * rank, dilations or [1] * rank
    ends = pads or [0] * (2 * rank)
    if auto_pad == "SAME_LOWER":
        total = [
            max((-(-n // step) - 1) * step + k - n, 0)
            for n, k, step in zip(image, kernel, s, strict=True)
        ]
        ends = [t - t // 2 for t in total] + [t // 2 for t in total]
    counts = [
        (n + ends[i] + ends[i + rank] - (kernel[i] - 1) * d[i] - 1) // s[i] + 1
        for i, n in enumerate(image)
    ]
    steps = np.array(list(itertools.product(*map(range, kernel)))) * d
    found = []
    for o in itertools.product(*map(range, counts)):
        at = np.array(o) * s + steps - ends[:rank]
        found.append((at, ((at >= 0) & (at < image)).all(axis=1)))
    return counts, found


def by_windows(x, image, kernel, places, of):
    """What `of` makes of the cells [n, C, k] of each window and of which they are."""
    counts, found = cells(image, kernel, **places)
    columns = [of(x[(..., *at[inside].T)], inside) for at, inside in found]
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, *counts)


@pytest.mark.parametrize("name", CASES)
def test_images_with_few_windows_share_a_product_of_their_columns(name, monkeypatch):
    image, channels, places = CASES[name]
    kernel, rng = KERNEL[len(image)], np.random.default_rng(len(name))
    x = rng.standard_normal((7, channels, *image))
    w, b = rng.standard_normal((4, channels, *kernel)), rng.standard_normal(4)
    flat = w.reshape(4, channels, -1)

    def total(part, inside):
        return np.einsum("nck,ock->no", part, flat[:, :, inside]) + b

    want = by_windows(x, image, kernel, places, total)
    given = [torch.from_numpy(one) for one in (x, w, b)]
    assert want[0, 0].size <= convolution._FEW
    shared, own = [], convolution._together
    monkeypatch.setattr(
        convolution, "_together", lambda *a: shared.append(a) or own(*a)
    )
    monkeypatch.setattr(convolution, "_TOGETHER", 400)  # several images, not all
    with torch.no_grad():
        found = conv(*given, **places)
    assert len(shared) == 1
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-13, atol=1e-13)
    recorded = conv(*given, **places)
    assert len(shared) == 1
    np.testing.assert_allclose(recorded.numpy(), want, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_maxima_along_one_axis_after_the_other_are_those_of_windows(name, dtype):
    image, channels, places = CASES[name]
    kernel, rng = KERNEL[len(image)], np.random.default_rng(len(name))
    x = rng.standard_normal((3, channels, *image)).round(1)
    x[0].flat[::5], x[1].flat[::4], x[2].flat[::7] = -np.inf, np.inf, np.nan
    x = torch.from_numpy(x).to(dtype)

    def largest(part, inside):
        outside = np.full((*part.shape[:2], 1), -np.inf)
        return np.concatenate([part, outside], axis=2).max(axis=2)

    want = by_windows(x.numpy(), image, kernel, places, largest)
    with torch.no_grad():
        found = max_pool(x, kernel_shape=list(kernel), site=Alone(), **places)
    assert np.array_equal(found.numpy(), want.astype(found.numpy().dtype), True)


@pytest.mark.parametrize("size", range(5, 12))
def test_a_last_window_beyond_the_image_is_the_maximum_of_what_is_left(size):
    x = torch.randn(2, 3, size, size)
    given = {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1}
    recorded = max_pool(x, **given, site=Alone())
    with torch.no_grad():
        assert torch.equal(max_pool(x, **given, site=Alone()), recorded)


def test_a_derivative_of_a_maximum_goes_to_one_cell_only():
    x = torch.ones(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    y = max_pool(x, kernel_shape=[2, 2], strides=[2, 2], site=Alone())
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert int((gradient == 1).sum()) == 4
    assert float(gradient.sum()) == 4


class Alone:
    """A site that wants the values alone."""

    def wants(self, output):
        return output == 0
