"""Every operator is one and the same matrix, whichever question it is asked."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from audit.linalg.averaged import Sampled
from audit.linalg.operators import (
    CoordinateBlocks,
    Diagonal,
    Product,
    Unstored,
    compose,
)
from audit.linalg.stored import Matrix
from audit.models.maps import ReverseJacobian


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def matrix(g, n, a, b, c):
    return Matrix(normal(g, n, a, b))


def sampled(g, n, a, b, c):
    return Sampled(normal(g, n, a, b) / math.sqrt(a))


def diagonal(g, n, a, b, c):
    return Diagonal(normal(g, n, a))


def coordinate_blocks(g, n, a, b, c):
    return CoordinateBlocks(normal(g, n, c, a, b))


def product_of_matrices(g, n, a, b, c):
    return Product(Matrix(normal(g, n, a, b)), Matrix(normal(g, n, b, c)))


def product_of_blocks(g, n, a, b, c):
    blocks = CoordinateBlocks(normal(g, n, c, a, b))
    return Product(blocks, Matrix(normal(g, n, b * c, a + c)))


def product_of_products(g, n, a, b, c):
    inner = Product(Diagonal(normal(g, n, b)), Matrix(normal(g, n, b, c)))
    return Product(Matrix(normal(g, n, a, b)), inner)


def jacobian(g, n, a, b, c):
    x = normal(g, n, b).requires_grad_()
    return ReverseJacobian(torch.tanh(x @ normal(g, b, a)), x)


MAKERS = [
    matrix,
    sampled,
    diagonal,
    coordinate_blocks,
    product_of_matrices,
    product_of_blocks,
    product_of_products,
    jacobian,
]
each_operator = pytest.mark.parametrize("make", MAKERS, ids=lambda m: m.__name__)
small = st.integers(1, 4)


def given_shapes(test):
    shapes = given(size=st.tuples(small, small, small, small), seed=st.integers(0, 99))
    return each_operator(settings(max_examples=12, deadline=None)(shapes(test)))


def built(make, size, seed):
    generator = torch.Generator().manual_seed(seed)
    return make(generator, *size), generator


def entries(operator):
    n, _, columns = operator.shape
    eye = torch.eye(columns, dtype=torch.float64).expand(n, -1, -1)
    return operator.matmat(eye)


@given_shapes
def test_the_transpose_moves_across_the_inner_product(make, size, seed):
    operator, generator = built(make, size, seed)
    n, rows, columns = operator.shape
    v, u = normal(generator, n, columns, 1), normal(generator, n, rows, 1)
    left = (operator.matmat(v) * u).sum(dim=(1, 2))
    right = (v * operator.rmatmat(u)).sum(dim=(1, 2))
    assert_close(left, right, rtol=1e-10, atol=1e-10)


@given_shapes
def test_dense_has_the_columns_that_matmat_gives(make, size, seed):
    operator, _ = built(make, size, seed)
    assert operator.dense().shape == operator.shape
    assert_close(operator.dense(), entries(operator), rtol=1e-12, atol=1e-12)


@given_shapes
def test_matmat_takes_many_vectors_at_once(make, size, seed):
    operator, generator = built(make, size, seed)
    n, _, columns = operator.shape
    vectors = normal(generator, n, columns, 3)
    one_by_one = [operator.matmat(v.unsqueeze(-1)) for v in vectors.unbind(dim=2)]
    together = operator.matmat(vectors)
    assert_close(together, torch.cat(one_by_one, dim=2), rtol=1e-12, atol=1e-12)


@given_shapes
def test_gram_is_the_matrix_times_its_transpose(make, size, seed):
    operator, _ = built(make, size, seed)
    a = entries(operator).numpy()
    assert_close(
        operator.gram().numpy(), a @ a.transpose(0, 2, 1), rtol=1e-10, atol=1e-10
    )


@given_shapes
def test_one_input_does_not_change_the_matrix_of_another(make, size, seed):
    operator, generator = built(make, (3, *size[1:]), seed)
    _, _, columns = operator.shape
    v = normal(generator, 3, columns, 1)
    alone = torch.zeros_like(v)
    alone[1] = v[1]
    assert_close(operator.matmat(v)[1], operator.matmat(alone)[1])


@given(n=small, count=small, rows=small, columns=small)
@settings(max_examples=15, deadline=None)
def test_coordinate_blocks_are_laid_out_parameter_by_parameter(n, count, rows, columns):
    blocks = normal(torch.Generator().manual_seed(0), n, count, rows, columns)
    dense = CoordinateBlocks(blocks).dense().reshape(n, rows, count, columns, count)
    for i in range(count):
        for j in range(count):
            expected = blocks[:, i] if i == j else torch.zeros(n, rows, columns)
            assert_close(dense[:, :, i, :, j], expected.double())


def test_blocks_of_one_coordinate_are_a_plain_matrix():
    entries = normal(torch.Generator().manual_seed(1), 2, 1, 3, 4)
    assert_close(CoordinateBlocks(entries).dense(), entries[:, 0])


def test_blocks_of_one_parameter_are_a_diagonal():
    entries = normal(torch.Generator().manual_seed(1), 2, 5, 1, 1)
    found = CoordinateBlocks(entries).dense()
    assert_close(found, Diagonal(entries[:, :, 0, 0]).dense())


def test_the_gram_matrix_is_computed_once():
    operator = Matrix(torch.eye(2).expand(3, -1, -1))
    assert operator.gram() is operator.gram()


def test_a_jacobian_of_an_output_that_ignores_its_input_is_zero():
    x = torch.ones(3, 2, requires_grad=True)
    phi = torch.stack([x[:, 0], torch.zeros(3)], dim=1)
    found = ReverseJacobian(phi, x).dense()
    assert_close(found[:, 0], torch.tensor([1.0, 0.0]).double().expand(3, -1))
    assert found[:, 1].abs().sum() == 0


@pytest.mark.parametrize("outer", [matrix, sampled])
@pytest.mark.parametrize("inner", [Product, Unstored])
def test_an_average_takes_in_what_nobody_stores_and_is_a_product_else(outer, inner):
    g = torch.Generator().manual_seed(4)
    one = outer(g, 2, 6, 3, 0)
    frame = inner(matrix(g, 2, 3, 4, 0), matrix(g, 2, 4, 5, 0))
    found = compose(one, frame)
    kept = outer is sampled and inner is Unstored
    assert isinstance(found, Sampled if kept else Product)
    assert_close(found.dense(), one.dense() @ frame.dense())
