"""Products with dφ/dx of a saved file by the sweep, beside those of plain torch."""

import numpy as np
import pytest
import torch

from audit.importer.sweep import pointwise
from audit.importer.sweep.cut import narrowest
from audit.models import swept_cut, swept_products
from audit.models.swept_cut import Hidden, is_worth, left_bytes
from audit.models.swept_products import SweptProducts, with_products
from tests.models.saved import data_file, onnx_file, opened
from tests.models.test_swept import HEADS, TEXT, plain, weights

ROWS = 6


def model_of(folder, head="slices", text=TEXT, **options):
    path, data = onnx_file(folder, text, **weights()), data_file(folder, n=40)
    made = opened(path, data, family="normal", parameters=HEADS[head], **options)
    return with_products(made)


def jacobian_at(model):
    return model.products.linearize(*model.rows(np.arange(ROWS)))


def slopes_of(model, head):
    rows = model.rows(np.arange(ROWS))[0].double()
    of = torch.func.jacrev(lambda row: plain(row, head))
    return torch.stack([of(row) for row in rows])


def drawn(*shape):
    return torch.from_numpy(np.random.default_rng(3).normal(size=shape))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("dtype", "error"), [("auto", 3e-6), ("float64", 1e-13)])
def test_products_are_those_of_plain_torch(head, dtype, error, tmp_path):
    model = model_of(tmp_path, head, dtype=dtype)
    phi, jacobian = jacobian_at(model)
    assert isinstance(jacobian, SweptProducts)
    slopes = slopes_of(model, head)
    u, v = drawn(ROWS, slopes.shape[1], 5), drawn(ROWS, slopes.shape[2], 4)
    for ours, theirs in (
        (jacobian.rmatmat(u), slopes.mT @ u),
        (jacobian.matmat(v), slopes @ v),
    ):
        assert ours.dtype == torch.float64
        assert float((ours - theirs).norm() / theirs.norm()) < error
    values = torch.stack(
        [plain(row.double(), head) for row in model.rows(np.arange(ROWS))[0]]
    )
    torch.testing.assert_close(phi, values, rtol=10 * error, atol=error)


@pytest.mark.parametrize("head", ["slices", "mixed"])
def test_lengths_beyond_float32_are_kept(head, tmp_path):
    model = model_of(tmp_path, head)
    _, jacobian = jacobian_at(model)
    slopes = slopes_of(model, head)
    u, v = drawn(ROWS, slopes.shape[1], 2), drawn(ROWS, slopes.shape[2], 2)
    for factor in (1e60, 1e-60):
        for ours, theirs in (
            (jacobian.rmatmat(factor * u), slopes.mT @ (factor * u)),
            (jacobian.matmat(factor * v), slopes @ (factor * v)),
        ):
            assert float((ours / factor - theirs / factor).norm()) < 1e-5 * float(
                (theirs / factor).norm()
            )
    assert not jacobian.rmatmat(0 * u).any()


def test_columns_may_go_one_at_a_time(tmp_path, monkeypatch):
    _, jacobian = jacobian_at(model_of(tmp_path))
    v = drawn(ROWS, 3, 7)
    together = jacobian.matmat(v)
    monkeypatch.setattr(swept_cut, "_TOGETHER", 1)
    torch.testing.assert_close(jacobian.matmat(v), together, rtol=1e-5, atol=1e-6)


def test_a_vector_that_is_no_number_leaves_the_others(tmp_path):
    _, jacobian = jacobian_at(model_of(tmp_path))
    u = drawn(ROWS, 8, 1)
    whole = jacobian.rmatmat(u)
    u[2] = torch.nan
    found = jacobian.rmatmat(u)
    others = [0, 1, 3, 4, 5]
    torch.testing.assert_close(found[others], whole[others], rtol=1e-6, atol=1e-9)
    assert found[2].isnan().all()


def test_a_wrong_rule_leaves_products_to_autograd(tmp_path, monkeypatch):
    monkeypatch.setitem(pointwise.PARTIALS, "Tanh", lambda a, y, k: 1 - y)
    assert model_of(tmp_path).products is None


def test_a_rule_that_pushes_wrongly_is_seen(tmp_path, monkeypatch):
    push = pointwise.Pointwise.push
    twice = lambda *given: [2 * t for t in push(*given)]  # noqa: E731
    monkeypatch.setattr(pointwise.Pointwise, "push", twice)
    assert model_of(tmp_path).products is None


def test_a_step_without_a_rule_leaves_products_to_autograd(tmp_path):
    text = TEXT.replace("Tanh(a)", "LpNormalization <axis = 1> (a)")
    assert model_of(tmp_path, text=text).products is None


def test_a_narrow_place_makes_two_factors(tmp_path):
    """L J_h is J, whatever is wider before and after it."""
    _, jacobian = jacobian_at(model_of(tmp_path))
    slopes = slopes_of(model_of(tmp_path), "slices")
    cut = narrowest(jacobian.linear.way)
    hidden = Hidden(jacobian.linear, cut, jacobian.x)
    left = jacobian.head.pushed(
        cut.after(jacobian.linear, jacobian.x, 0, ROWS), (ROWS, cut.width)
    ).mT
    assert hidden.shape == (ROWS, cut.width, slopes.shape[2])
    u, v = drawn(ROWS, slopes.shape[1], 5), drawn(ROWS, slopes.shape[2], 4)
    for factor in (1, 1e60, 1e-60):
        for ours, theirs in (
            (hidden.rmatmat(left.mT @ (factor * u)), slopes.mT @ (factor * u)),
            (left @ hidden.matmat(factor * v), slopes @ (factor * v)),
        ):
            apart = (ours / factor - theirs / factor).norm()
            assert float(apart) < 1e-5 * float((theirs / factor).norm())
    torch.testing.assert_close(left @ hidden.dense(), slopes, rtol=1e-5, atol=1e-6)


WIDE = """
g (float[n, 60] x) => (float[n, 96] out) {
    a = Gemm <transB = 1> (x, w)
    t = Tanh(a)
    out = MatMul(t, v)
}
"""


def wide_model(folder, loc="out[:, :48]"):
    """60 features, eight hidden numbers, 96 outputs; and J of its first rows."""
    random = np.random.default_rng(8)
    shapes = {"w": (8, 60), "v": (8, 96)}
    own = {n: random.normal(size=s).astype(np.float32) / 4 for n, s in shapes.items()}
    path = onnx_file(folder, WIDE, **own)
    parameters = {"loc": loc, "scale": "exp(out[:, 48:])"}
    data = data_file(folder, n=40, d=60)
    model = with_products(opened(path, data, family="normal", parameters=parameters))
    x = model.rows(np.arange(ROWS))[0].double().numpy()
    w, v = (one.astype(float) for one in own.values())
    t = np.tanh(x @ w.T)
    slopes = np.einsum("nh,hk,hd->nkd", 1 - t**2, v, w)
    slopes[:, 48:] *= np.exp(t @ v[:, 48:])[:, :, None]
    return model, torch.from_numpy(slopes)


@pytest.mark.parametrize("numbers", [1, 96 * 8 * 4, 2**20])
def test_layers_are_cut_at_a_much_narrower_place(numbers, tmp_path, monkeypatch):
    """L is wider than any value on the way, and made for a few inputs at a time."""
    model, slopes = wide_model(tmp_path)
    monkeypatch.setattr(swept_cut, "_LEFT", max(numbers, 96 * 8))
    _, jacobian = jacobian_at(model)
    assert jacobian.linear.way.widest < 96 * 8
    lefts, hidden = jacobian.factors()
    lefts = list(lefts)
    most = max(1, max(numbers, 96 * 8) // (96 * 8))
    assert [len(left) for left in lefts[:-1]] == [most] * (len(lefts) - 1)
    assert hidden.shape == (ROWS, 8, 60)
    found = torch.cat(lefts) @ hidden.dense()
    assert float((found - slopes).norm() / slopes.norm()) < 3e-6


def test_a_head_that_mixes_numbers_is_not_cut_so(tmp_path, monkeypatch):
    """A column of L is a pass through it: L that is no wider than a pass has few."""
    model, _ = wide_model(tmp_path, loc="out[:, :48] + out[:, 48:]")
    assert jacobian_at(model)[1].factors() is None
    _, jacobian = jacobian_at(model_of(tmp_path, "mixed"))
    monkeypatch.setattr(swept_products, "is_worth", lambda *_: True)
    assert jacobian.factors() is None  # L has 64 numbers, and a pass 11 at hand


class Way:
    def __init__(self, widest, is_layers):
        self.widest, self.is_layers = widest, is_layers


@pytest.mark.parametrize("is_layers", [True, False])
def test_what_is_cut_is_counted(is_layers):
    """Of layers, which alone are cut so that L is more than a pass has at hand."""
    sizes = [3, 64, 1000, 20_000, 200_000]
    for p, d, width in ((p, d, w) for p in sizes for d in sizes for w in (1, 16, 256)):
        if is_worth(Way(width + max(p, d), is_layers), width, p, d):
            fits = p * width <= width + max(p, d)
            assert width < min(p, d)
            assert fits or (is_layers and 3 * 8 * p * width <= left_bytes(p, d))
    assert is_worth(Way(20_000, is_layers), 256, 20_000, 10_000) == is_layers
