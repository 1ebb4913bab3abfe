"""A cut wider than the draws: each score is pulled back by itself, numbers stay."""

import numpy as np
import pytest
import torch
from scans import columns
from torch import nn

from audit.models.maps import ReverseJacobian, RowByRow
from implicit.laws import NORMAL, notes_of, onnx_file, report_of

WIDTH, DRAWS = 600, 64
INPUTS = {"x": 4, "theta": 2, "z": 2}
ROWS = np.random.default_rng(0).standard_normal((6, 4))
ROWS[4, 0] = 0  # where √|x₀| has no derivative; the cut is tried on the first four


class Wide(nn.Module):
    """θ meets all of an embedding that is far wider than there are draws."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embedding = nn.Sequential(
                nn.Linear(5, 128), nn.Tanh(), nn.Linear(128, WIDTH)
            )
            self.mean, self.mixed = nn.Linear(WIDTH, 2), nn.Linear(2, WIDTH)

    def forward(self, x, theta, z):
        h = self.embedding(torch.cat([x, x[:, :1].abs().sqrt()], dim=1))
        mean = self.mean(torch.tanh(h))
        tilt = torch.tanh(h + self.mixed(theta)).sum(dim=-1)
        return -0.5 * (theta - mean).square().sum(-1) + 0.1 * tilt, mean + z


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide")
    return onnx_file(folder / "m.onnx", Wide(), INPUTS, ["log_prob", "sample"])


def scanned(path, **options):
    options = {"draws_per_input": DRAWS, "divergences": ("kl",)} | options
    return report_of(path, ROWS, NORMAL | {"dtype": "float64"}, **options)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("options", [{"units": "std", "mask": ":3"}, {}])
def test_the_numbers_and_what_is_skipped(path, options):
    found = scanned(path, **options)
    assert "runs once for each input" in notes_of(found)
    plain = scanned(path, bottleneck="off", **options)
    stored = scanned(path, plan={"rows": "autograd"}, **options)
    assert (found.run["plan"]["rows"], stored.run["plan"]["rows"]) == (
        "pulled",
        "autograd",
    )
    assert found.skipped == stored.skipped
    for other in (plain, stored):
        assert [s.index for s in other.skipped] == [4]
        for name, values in columns(other).items():
            np.testing.assert_allclose(columns(found)[name], values, 1e-8, err_msg=name)


@pytest.mark.slow
def test_rows_are_pulled_back_only_where_they_are_fewer(path, monkeypatch):
    passes = []

    def counted(self, vectors):
        passes.append(vectors.shape[2])
        return ReverseJacobian.rmatmat(self, vectors)

    monkeypatch.setattr(RowByRow, "rmatmat", counted)
    scanned(path)
    assert DRAWS in passes
    passes.clear()
    scanned(path, draws_per_input=1024)
    scanned(path, rel_error=0.5)
    scanned(path, divergences=("kl", "quantile"), draws_per_input=256)
    assert not passes


def test_a_pass_for_each_column():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, generator=generator, requires_grad=True)
    phi = torch.tanh(x @ torch.randn(4, 7, generator=generator)).double()
    vectors = torch.randn(3, 7, 2, generator=generator, dtype=torch.float64)
    whole, by_rows = ReverseJacobian(phi, x), RowByRow(phi, x)
    torch.testing.assert_close(by_rows.rmatmat(vectors), whole.rmatmat(vectors))
    torch.testing.assert_close(by_rows.dense(), whole.dense())
