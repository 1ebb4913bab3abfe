"""A form known by products alone is even: mirrored perturbations cost nothing."""

from dataclasses import dataclass, field

import numpy as np
import torch

from audit.linalg.matrix_free import MatrixFree
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.stored import Matrix
from audit.verify.local import LocalLaw

A = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 4, 6)))


@dataclass
class Counted:
    """A matrix that counts the columns it is multiplied by."""

    matrix: Matrix
    columns: list = field(default_factory=list)

    @property
    def shape(self):
        return self.matrix.shape

    def matmat(self, vectors):
        self.columns.append(vectors.shape[2])
        return self.matrix.matmat(vectors)


def law_of(root):
    return LocalLaw(QuadraticForm(0.5, root), None, torch.ones(2, 6), torch.ones(2))


def values(u):
    return 0.5 * torch.einsum("nrd,nkd->nkr", A, u).square().sum(dim=2)


def test_half_of_mirrored_pairs_are_copied():
    counted = Counted(Matrix(A))
    law = law_of(MatrixFree(counted, lambda *_: A))
    u = torch.from_numpy(np.random.default_rng(2).normal(size=(2, 5, 6)))
    both = torch.cat([u, -u], dim=1)
    rows = torch.arange(2)
    torch.testing.assert_close(law.at_pairs(rows, both), values(both))
    assert counted.columns == [5]


def test_pairs_about_another_centre_are_not():
    counted = Counted(Matrix(A))
    law = law_of(MatrixFree(counted, lambda *_: A))
    u = torch.from_numpy(np.random.default_rng(3).normal(size=(2, 5, 6)))
    both = torch.cat([u, 2 - u], dim=1)
    torch.testing.assert_close(law.at_pairs(torch.arange(2), both), values(both))
    assert counted.columns == [10]
