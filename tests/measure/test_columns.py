"""What is made of a form: how far the Jacobian's own error may move an eigenvalue."""

import numpy as np
import pytest
import torch

from audit.linalg.decompose import decompose
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.stored import Matrix
from audit.measure.columns import relative_blur
from audit.reports.values import Outcome

rng = np.random.default_rng(0)
A = rng.normal(size=(5, 4, 6))


def form(array):
    return QuadraticForm(0.5, Matrix(torch.from_numpy(array)))


@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.1])
def test_the_blur_is_twice_the_errors_norm_over_the_largest_singular_value(size):
    error = size * rng.normal(size=A.shape)
    found = relative_blur(form(error), decompose(form(A), 1)).numbers
    norms = np.sqrt(np.square(error).sum(axis=(1, 2)))
    sigma = np.linalg.svd(A, compute_uv=False)[:, 0]
    np.testing.assert_allclose(found, 2 * norms / sigma, rtol=1e-12)
    moved = np.linalg.svd(A + error, compute_uv=False)[:, 0]
    change = np.abs(np.square(moved) / np.square(sigma) - 1)
    assert (change <= found + np.square(found) / 4).all()


def test_a_jacobian_without_error_is_not_blurred_even_at_rest():
    """0 of 0 is no error at all; an error of a form at rest is infinitely large."""
    at_rest = np.concatenate([np.zeros((2, 4, 6)), A[2:]])
    error = np.zeros_like(A)
    error[1], error[3] = 1e-3, 1e-3
    found = relative_blur(form(error), decompose(form(at_rest), 1))
    assert found.numbers[[0, 2, 4]].tolist() == [0.0, 0.0, 0.0]
    assert found.numbers[1] == np.inf
    assert 0 < found.numbers[3] < 1
    assert found.outcome(0) is Outcome.FINITE
