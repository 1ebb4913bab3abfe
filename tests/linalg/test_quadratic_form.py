"""A quadratic form is what its matrix says."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.spectrum import Estimate
from audit.linalg.stored import Matrix

sizes = st.integers(1, 5)


@given(n=sizes, r=sizes, d=sizes, scale=st.floats(0.01, 10), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_form_is_scale_times_delta_g_delta(n, r, d, scale, seed):
    rng = np.random.default_rng(seed)
    a, delta = rng.normal(size=(n, r, d)), rng.normal(size=(n, d))
    form = QuadraticForm(scale, Matrix(torch.from_numpy(a)))
    g = a.transpose(0, 2, 1) @ a
    expected = scale * np.einsum("ni,nij,nj->n", delta, g, delta)
    found = form(torch.from_numpy(delta)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)
    assert (found >= 0).all()


def test_many_perturbations_are_taken_as_columns():
    rng = np.random.default_rng(0)
    a, delta = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 5))
    form = QuadraticForm(0.5, Matrix(torch.from_numpy(a)))
    columns = form(torch.from_numpy(delta)).numpy()
    one_by_one = [form(torch.from_numpy(delta[:, :, k])).numpy() for k in range(5)]
    np.testing.assert_allclose(columns, np.stack(one_by_one, axis=1), rtol=1e-12)


def test_a_scaled_estimate_scales_its_error_by_the_size_of_the_factor():
    estimate = Estimate(torch.tensor([2.0]), torch.tensor([0.5])).scaled(-3)
    assert (estimate.value.item(), estimate.standard_error.item()) == (-6.0, 1.5)
    assert Estimate(torch.ones(1)).scaled(2).standard_error is None


@pytest.mark.parametrize(("factor", "ends"), [(3, (3, 15)), (-3, (-15, -3))])
def test_a_scaled_estimate_keeps_the_ends_of_its_interval_in_order(factor, ends):
    interval = torch.tensor([1.0]), torch.tensor([5.0])
    scaled = Estimate(torch.tensor([2.0]), None, interval).scaled(factor)
    assert tuple(end.item() for end in scaled.interval) == ends


def test_what_is_added_without_bound_is_certain():
    one, beyond = torch.ones(2), torch.tensor([0.0, math.inf])
    found = Estimate(one, 0.1 * one, (0.9 * one, 1.2 * one)).extended(beyond)
    assert torch.equal(found.value, torch.tensor([1.0, math.inf]))
    assert torch.equal(found.standard_error, torch.tensor([0.1, 0.0]))
    low, high = found.interval
    assert torch.equal(low, torch.tensor([0.9, math.inf]))
    assert torch.equal(high, torch.tensor([1.2, math.inf]))
