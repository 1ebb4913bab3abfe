"""Eigenpairs of many matrices at once, against closed forms, mpmath and LAPACK."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from audit.linalg.exact import decompose_exact
from audit.linalg.stored import Matrix
from audit.linalg.tridiagonal import eigenpairs, tridiagonal, twisted

MANY = 256


def spread(rows: int, count: int = MANY) -> Tensor:
    """Return matrices A Aᵀ with rows of A of different sizes."""
    generator = torch.Generator().manual_seed(rows)
    size = (count, rows, 2 * rows)
    a = torch.randn(size, generator=generator, dtype=torch.float64)
    a *= torch.logspace(0, -1, rows).double().unsqueeze(-1)
    return a @ a.mT


def turns(rows: int) -> Tensor:
    """Return orthogonal matrices, all different."""
    generator = torch.Generator().manual_seed(1)
    size = (MANY, rows, rows)
    drawn = torch.randn(size, generator=generator, dtype=torch.float64)
    q: Tensor = torch.linalg.qr(drawn)[0]
    return q


def of(values: Tensor, q: Tensor) -> Tensor:
    """Return matrices with these eigenvalues and eigenvectors."""
    found: Tensor = (q * values) @ q.mT
    return found


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave LAPACK nothing but the eigenvalues of tridiagonal matrices."""

    def refused(*_: object) -> None:
        raise AssertionError("decomposed by LAPACK")

    monkeypatch.setattr(torch.linalg, "eigh", refused)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Keep how many matrices LAPACK decomposes in each call."""
    calls: list[int] = []
    whole = torch.linalg.eigh

    def counted(matrices: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(len(matrices))
        values, vectors = whole(matrices)
        return values, vectors

    monkeypatch.setattr(torch.linalg, "eigh", counted)
    return calls


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("rows", [16, 20, 33, 48])
@pytest.mark.parametrize("top", [1, 4])
def test_eigenvectors_of_second_differences_are_sines(rows: int, top: int) -> None:
    k = torch.arange(1, rows + 1, dtype=torch.float64)
    values = 2 - 2 * torch.cos(k * math.pi / (rows + 1))
    sines = torch.sin(k.unsqueeze(1) * k * math.pi / (rows + 1))
    sines *= math.sqrt(2 / (rows + 1))
    q = turns(rows)
    plain = 2 * torch.eye(rows).double()
    for side in (1, -1):
        plain -= torch.ones(rows - 1).double().diag(side)
    cases = (plain.expand(MANY, -1, -1), sines.expand(MANY, -1, -1)), (of(values, q), q)
    for matrices, known in cases:
        found, vectors = eigenpairs(matrices, top)
        assert vectors.shape == (MANY, rows, top)
        assert float((found - values).abs().max()) <= 2e-14
        aligned = (vectors * known[:, :, -top:]).sum(dim=1).abs()
        assert float((aligned - 1).abs().max()) <= 1e-14


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("scale", [1e-290, 1.0, 1e290])
@pytest.mark.parametrize(("rows", "count"), [(16, 256), (20, 512), (44, 288)])
def test_eigenpairs_leave_no_more_than_lapack(
    rows: int, count: int, scale: float
) -> None:
    matrices, top = spread(rows, count) * scale, 4
    values, vectors = eigenpairs(matrices, top)
    plain = np.linalg.eigvalsh(matrices.numpy())
    largest = plain[:, -1:]
    assert np.abs((values.numpy() - plain) / largest).max() <= 1e-14
    off = matrices @ vectors - vectors * values[:, None, -top:]
    assert (off / torch.from_numpy(largest).unsqueeze(2)).abs().max() <= 1e-14
    assert (vectors.mT @ vectors - torch.eye(top)).abs().max() <= 5e-15


@pytest.mark.usefixtures("alone")
def test_eigenpairs_are_those_of_forty_digits() -> None:
    matrices = spread(16)
    values, vectors = eigenpairs(matrices, 3)
    with mpmath.workdps(40):
        for place in (0, 100, 255):
            exact, q = mpmath.eigsy(mpmath.matrix(matrices[place].tolist()))
            known = torch.tensor([float(v) for v in exact], dtype=torch.float64)
            columns = torch.tensor(
                [[float(q[i, j]) for j in (13, 14, 15)] for i in range(16)],
                dtype=torch.float64,
            )
            assert (values[place] / known[-1] - known / known[-1]).abs().max() <= 2e-15
            along = vectors[place].mT @ columns
            assert (along.abs() - torch.eye(3)).abs().max() <= 1e-13


@pytest.mark.parametrize("apart", [1e-3, 1e-6, 1e-9, 1e-12, 0.0])
def test_vectors_of_close_eigenvalues_are_orthogonal_and_span_their_plane(
    apart: float,
) -> None:
    rows, q = 16, turns(16)
    values = torch.linspace(0.1, 1, rows).double()
    values[-2] = 1 - apart
    found, vectors = eigenpairs(of(values, q), 3)
    assert (found - values).abs().max() <= 1e-14
    assert (vectors.mT @ vectors - torch.eye(3)).abs().max() <= 1e-14
    off = of(values, q) @ vectors - vectors * found[:, None, -3:]
    assert off.abs().max() <= 1e-14
    inside = (q[:, :, -2:].mT @ vectors[:, :, 1:]).square().sum(dim=1)
    assert (inside - 1).abs().max() <= 1e-12


def test_multiple_eigenvalues_and_zeros_are_lapack_s(asked: list[int]) -> None:
    matrices = spread(16)
    matrices[3] = 0.0
    matrices[100] = torch.eye(16)
    matrices[255] = of(torch.tensor([0.0] * 13 + [1.0, 2.0, 2.0]), turns(16)[:1])[0]
    values, vectors = eigenpairs(matrices, 4)
    assert asked == [3]
    assert not values[3].any()
    assert (values[100] == 1).all()
    assert (vectors.mT @ vectors - torch.eye(4)).abs().max() <= 1e-14
    off = matrices @ vectors - vectors * values[:, None, -4:]
    assert off.abs().max() <= 1e-13 * float(values.max())


def test_matrices_that_fall_apart_seldom_need_lapack(asked: list[int]) -> None:
    diagonal = torch.arange(1, 17).double().diag().expand(MANY, -1, -1)
    values, vectors = eigenpairs(diagonal, 5)
    assert (values - torch.arange(1, 17)).abs().max() <= 1e-14
    assert torch.equal(vectors[0].abs(), torch.eye(16).double()[:, 11:])
    blocks = torch.zeros(MANY, 16, 16).double()
    blocks[:, :8, :8], blocks[:, 8:, 8:] = spread(8), 2.5 * spread(9)[:, :8, :8]
    assert not asked
    values, vectors = eigenpairs(blocks, 5)
    assert sum(asked) < MANY // 16  # a pivot is zero where they part
    off = blocks @ vectors - vectors * values[:, None, -5:]
    assert (off.abs().amax(dim=(1, 2)) / values[:, -1]).max() <= 1e-14


def test_numbers_of_a_matrix_do_not_depend_on_the_others() -> None:
    matrices, order = spread(20, 512), torch.randperm(512)
    values, vectors = eigenpairs(matrices, 4)
    other, turned = eigenpairs(matrices[order], 4)
    assert torch.equal(other, values[order])
    assert torch.equal(turned, vectors[order])
    other, turned = eigenpairs(matrices[:256], 4)
    assert torch.equal(other, values[:256])
    assert torch.equal(turned, vectors[:256])
    broken = matrices.clone()
    broken[::2] = torch.eye(20)
    other, turned = eigenpairs(broken, 4)
    assert torch.equal(other[1::2], values[1::2])
    assert torch.equal(turned[1::2], vectors[1::2])


def test_more_matrices_than_fit_together_are_parted() -> None:
    matrices = spread(48, 544)  # some 224 of them go together
    values, vectors = eigenpairs(matrices, 2)
    plain = np.linalg.eigvalsh(matrices.numpy())
    assert np.abs(values.numpy() / plain[:, -1:] - plain / plain[:, -1:]).max() <= 1e-14
    off = matrices @ vectors - vectors * values[:, None, -2:]
    assert (off.abs().amax(dim=(1, 2)) / values[:, -1]).max() <= 1e-14


@pytest.mark.parametrize(
    ("count", "rows", "top"),
    [
        (255, 20, 4),
        (264, 20, 4),
        (240, 20, 4),
        (256, 15, 2),
        (256, 49, 2),
        (256, 20, 7),
    ],
)
def test_few_small_large_and_whole_decompositions_are_lapack_s(
    count: int, rows: int, top: int, asked: list[int]
) -> None:
    matrices = spread(rows, count)
    values, vectors = eigenpairs(matrices, top)
    assert asked == [count]
    theirs, whole = torch.linalg.eigh(matrices)
    assert torch.equal(values, theirs)
    assert torch.equal(vectors, whole[:, :, -top:])


def test_reflections_keep_eigenvalues_and_pivots_find_vectors() -> None:
    matrices = spread(12)
    own = np.ascontiguousarray(matrices.numpy().transpose(1, 2, 0))
    diagonal, beside, _ = tridiagonal(own)
    plain = np.linalg.eigvalsh(matrices.numpy())
    for place in (0, 200):
        t = np.diag(diagonal[:, place])
        t += np.diag(beside[:, place], 1) + np.diag(beside[:, place], -1)
        values, vectors = np.linalg.eigh(t)
        np.testing.assert_allclose(values, plain[place], rtol=0, atol=1e-13)
        given = np.ascontiguousarray(plain[:, -2:].T)
        own_vectors = twisted(diagonal, beside, given)[:, :, place]
        along = np.abs(own_vectors.T @ vectors[:, -2:])
        np.testing.assert_allclose(along, np.eye(2), rtol=0, atol=1e-11)


@pytest.mark.usefixtures("alone")
def test_a_decomposition_takes_them_for_many_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    size = (MANY, 16, 30)
    root = torch.randn(size, generator=generator, dtype=torch.float64)
    spectrum = decompose_exact(Matrix(root.float()), 3)
    singular = np.linalg.svd(root.float().double().numpy(), compute_uv=False)
    found = spectrum.eigenvalues.numpy()
    assert (
        np.abs(found / singular[:, :1] ** 2 - (singular / singular[:, :1]) ** 2).max()
        <= 1e-14
    )
