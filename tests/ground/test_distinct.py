"""Distinct values are those of np.unique, of any shape and type."""

import numpy as np
import pytest

from audit.ground.distinct import distinct


@pytest.mark.parametrize("size", [0, 1, 2, 7, 500])
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_distinct_values_are_those_of_numpy(size, dtype):
    values = np.random.default_rng(size).integers(-9, 9, size).astype(dtype)
    found = distinct(values)
    assert found.dtype == dtype
    assert np.array_equal(found, np.unique(values))


def test_a_table_is_taken_as_one_row():
    assert distinct(np.array([[3, 1], [1, -2]])).tolist() == [-2, 1, 3]
