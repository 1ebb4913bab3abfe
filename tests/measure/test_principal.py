"""The covariance of inputs that come in parts, and the axes that hold 95 % of it."""

import numpy as np
import torch

from audit.measure.principal import HELD, _covariance, _leading


def test_a_covariance_by_parts_is_that_of_all_rows():
    """Of parts with means of their own, far from zero: nothing cancels."""
    rng = np.random.default_rng(0)
    parts = [
        1e6 + k + rng.normal(size=(40 + k, 4)) @ np.diag([1, 2, 3, 4]) for k in (0, 5)
    ]
    count, found = _covariance(map(torch.from_numpy, parts), 4)
    whole = np.concatenate(parts)
    assert count == len(whole)
    np.testing.assert_allclose(found, np.cov(whole.T, bias=True), rtol=1e-9, atol=1e-9)
    none, zero = _covariance(iter(()), 4)
    assert (none, float(zero.abs().max())) == (0, 0.0)


def test_axes_are_as_many_as_hold_the_share():
    """On axes of their own, where a share is exact to the last bit, and turned ones."""
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    for values, kept in (
        ([1 - HELD, HELD, 0.0, 0.0], 1),  # as much as is to be held
        ([1 - HELD + 1e-9, HELD - 1e-9, 0.0, 0.0], 2),
        ([1.0, 1.0, 1.0, 1.0], 4),
        ([1.0, 50.0, 0.5, 48.5], 2),
    ):
        largest = np.argsort(values)[::-1][:kept]
        for axes in (np.eye(4), turn):
            if values[1] == HELD and axes is turn:
                continue
            square = axes * np.array(values) @ axes.T
            found = _leading(9, torch.from_numpy(square)).basis
            assert found.shape == (4, kept)
            inside = np.linalg.norm(axes[:, largest].T @ found.numpy())
            np.testing.assert_allclose(inside**2, kept)
    assert _leading(9, torch.zeros(4, 4).double()).basis is None
