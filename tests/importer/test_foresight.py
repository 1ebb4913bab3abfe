"""What shape arithmetic may make: the size of the result counts, not a product."""

from functools import partial

import numpy as np
import pytest

from audit.ground.errors import ModelError
from audit.importer.foresight import Small
from audit.importer.limits import MAX_ELEMENTS
from audit.importer.ops import host
from audit.importer.program import Node

DRAWS = 20_480  # of five coordinates: their indices multiply to more than the limit


def small(op, run, **attributes):
    return Small(Node(op, (), (), attributes), run)


def indices(count):
    return np.arange(count, dtype=np.int64)


@pytest.mark.parametrize("op", ["Add", "Mul", "Max", "Where"])
def test_indices_of_many_draws_may_be_added_elementwise(op):
    run = {"Add": np.add, "Mul": np.multiply, "Max": host.max_, "Where": np.where}[op]
    operands = [indices(DRAWS)] * (3 if op == "Where" else 2)
    assert DRAWS**2 > MAX_ELEMENTS
    np.testing.assert_array_equal(small(op, run)(*operands), run(*operands))


@pytest.mark.parametrize("axis", [0, -1])
def test_and_gathered_and_joined(axis):
    x, index = indices(DRAWS), indices(DRAWS)[::-1]
    picked = small("Gather", host.gather, axis=axis)(x, index)
    np.testing.assert_array_equal(picked, index)
    joined = small("Concat", partial(host.concat, axis=0))(x, index)
    assert joined.shape == (2 * DRAWS,)


@pytest.mark.parametrize(
    ("op", "operands"),
    [
        ("Add", (indices(DRAWS)[:, None], indices(DRAWS)[None])),
        ("Gather", (indices(1 << 14).reshape(2, -1), np.zeros(1 << 15, np.int64))),
    ],
)
def test_what_makes_too_much_is_refused_before_it_runs(op, operands):
    def ran(*_):
        raise AssertionError("it ran")

    with pytest.raises(ModelError, match=f"The result of {op} would have the shape"):
        small(op, ran)(*operands)
