"""Slices of a value are those of NumPy, with steps of either sign, and copies."""

from itertools import product

import numpy as np
import pytest
import torch

from audit.models.indexing import indexed

ENDS = (None, -9, -2, 0, 1, 3, 9)


@pytest.mark.parametrize("step", [None, 1, 2, 3, -1, -2])
@pytest.mark.parametrize("shape", [(5, 6), (1, 6), (3, 4, 7)])
def test_slices_of_any_step_are_those_of_numpy(shape, step):
    values = np.random.default_rng(0).normal(size=shape)
    whole = torch.from_numpy(values)
    for axis, start, stop in product(range(1, len(shape)), ENDS, ENDS):
        places = (*[slice(None)] * axis, slice(start, stop, step))
        found = indexed(whole, places)
        assert found.is_contiguous()
        assert np.array_equal(found.numpy(), values[places])


def test_a_part_may_be_written_to_without_the_whole():
    whole = torch.zeros(1, 4)
    indexed(whole, (slice(None), slice(0, 2))).add_(1)
    assert not whole.any()
