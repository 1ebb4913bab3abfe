"""Units and masks are a congruence of the metric tensor, and errors have words."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.geometry.frame import Frame, build_frame, read_mask, read_units
from audit.geometry.row_frame import OF_ROW, statistic
from audit.ground.errors import ConfigError
from audit.linalg.decompose import decompose
from audit.linalg.operators import Diagonal
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.stored import Matrix

CPU = torch.device("cpu")


def random_case(seed, d, p=3, n=2):
    rng = np.random.default_rng(seed)
    units, mask = rng.uniform(0.1, 5, d), rng.random(d) < 0.6
    mask[rng.integers(d)] = True
    s = np.diag(units)[:, mask]
    return rng.normal(size=(n, p, d)), units, mask, s, rng


@given(d=st.integers(1, 6), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_the_pulled_tensor_is_congruent_to_the_dense_one(d, seed):
    j, units, mask, s, _ = random_case(seed, d)
    frame = build_frame(units, mask, CPU)
    pulled = frame.pull(Matrix(torch.from_numpy(j))).dense().numpy()
    g = j.transpose(0, 2, 1) @ j
    found = pulled.transpose(0, 2, 1) @ pulled
    np.testing.assert_allclose(found, s.T @ g @ s, rtol=1e-10, atol=1e-12)


@given(d=st.integers(1, 6), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_a_step_in_the_frame_is_the_same_step_in_the_input(d, seed):
    j, units, mask, s, rng = random_case(seed, d)
    frame = build_frame(units, mask, CPU)
    u = rng.normal(size=(2, 4, int(mask.sum())))
    delta = frame.push(torch.from_numpy(u)).numpy()
    np.testing.assert_allclose(delta, u @ s.T, rtol=1e-12)
    pulled = frame.pull(Matrix(torch.from_numpy(j)))
    np.testing.assert_allclose(
        pulled.matmat(torch.from_numpy(u).mT), j @ delta.transpose(0, 2, 1), atol=1e-10
    )


@given(d=st.integers(1, 6), seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_a_direction_is_put_back_at_its_features_with_unit_norm(d, seed):
    j, units, mask, s, _ = random_case(seed, d)
    frame = build_frame(units, mask, CPU)
    root = frame.pull(Matrix(torch.from_numpy(j)))
    spectrum = decompose(QuadraticForm(1.0, root), 1)
    placed = frame.place(spectrum.directions).numpy()
    g = s.T @ (j.transpose(0, 2, 1) @ j) @ s
    u = placed[:, 0, mask]
    assert placed.shape == (2, 1, d)
    assert not placed[:, :, ~mask].any()
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1.0, rtol=1e-12)
    quotient = np.einsum("ni,nij,nj->n", u, g, u)
    np.testing.assert_allclose(quotient, np.linalg.eigvalsh(g)[:, -1], rtol=1e-9)


def test_the_plain_frame_hands_the_jacobian_through():
    jacobian = Matrix(torch.ones(1, 2, 3))
    frame = build_frame(np.ones((3,)), np.ones((3,), bool), CPU)
    assert frame.is_identity
    assert frame.pull(jacobian) is jacobian


@pytest.mark.parametrize("slope", [1.0, 2.0])
def test_a_diagonal_jacobian_is_scaled_at_the_free_features(slope):
    """J = slope · 1: J S is slope times the columns of S, the identity or not."""
    frame = build_frame(np.array([0.5, 3.0, 2.0]), np.array([True, False, True]), CPU)
    jacobian = Diagonal(torch.full((2, 3), slope, dtype=torch.float64))
    expected = slope * np.array([[0.5, 0.0], [0.0, 0.0], [0.0, 2.0]])
    found = frame.pull(jacobian).dense().numpy()
    np.testing.assert_array_equal(found, np.stack([expected] * 2))


def test_a_row_stands_still_that_has_no_unit_other_than_zero():
    unit = torch.tensor([[0.0, 0.0], [0.0, 1.0], [2.0, 1.0]], dtype=torch.float64)
    frame = Frame(unit, torch.tensor([0, 2]), 3)
    assert frame.still().tolist() == [True, False, False]


def test_a_step_is_told_in_units_and_nothing_in_no_unit_is_nothing():
    mask = np.array([True, True, False, True])
    frame = build_frame(np.array([0.5, 4.0, 3.0, 0.0]), mask, CPU)
    steps = torch.tensor([[1.0, -2.0, 9.0, 0.0], [0.0, 8.0, 0.0, 0.0]]).double()
    expected = [[2.0, -0.5, 0.0], [0.0, 2.0, 0.0]]
    assert frame.in_units(steps).tolist() == expected


@pytest.mark.parametrize(
    ("text", "event", "expected"),
    [
        (None, (3,), [1, 1, 1]),
        ("0:2", (4,), [1, 1, 0, 0]),
        ("::2", (4,), [1, 0, 1, 0]),
        ("-1", (3,), [0, 0, 1]),
        ("1", (2, 2), [[0, 0], [1, 1]]),
        (":, 1", (2, 2), [[0, 1], [0, 1]]),
        (" 0 , 1: ", (2, 3), [[0, 1, 1], [0, 0, 0]]),
        ("-2:", (3,), [0, 1, 1]),
    ],
)
def test_a_slice_frees_what_numpy_would_take(text, event, expected):
    np.testing.assert_array_equal(read_mask(text, event), np.array(expected, bool))


def test_a_mask_file_frees_its_true_features(tmp_path):
    mask = np.array([[True, False], [False, True]])
    np.save(tmp_path / "mask.npy", mask)
    np.savez(tmp_path / "mask.npz", m=mask.astype(np.int8))
    for name in ("mask.npy", "mask.npz"):
        np.testing.assert_array_equal(read_mask(str(tmp_path / name), (2, 2)), mask)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("7", r"--mask 7 does not fit\. One input has the shape \[3\]"),
        ("0,0", "does not fit"),
        ("0:3:0", "does not fit"),
        ("2:1", r"frees no feature of an input of shape \[3\]"),
        ("5:", "frees no feature"),
        ("1.5", "cannot be read"),
        ("'1'", "cannot be read"),
        ("0]+_[1", "cannot be read"),
        ("0][1", "cannot be read"),
        ("x[0]", "cannot be read"),
        ("", "Expected a slice such as 0:3"),
        ("none.npy", "No such file"),
    ],
)
def test_a_mask_that_fits_nothing_says_why(text, words):
    with pytest.raises(ConfigError, match=words):
        read_mask(text, (3,))


@pytest.mark.parametrize("read", ["mask", "units"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut", b"hello"])
def test_a_file_that_is_no_array_cannot_be_read(tmp_path, read, content):
    path = tmp_path / "array.npz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"--{read} .*cannot be read"):
        reader(read)(str(path))


@pytest.mark.parametrize("read", ["mask", "units"])
def test_two_keys_are_one_too_many(tmp_path, read):
    np.savez(tmp_path / "two.npz", a=np.ones(3), b=np.ones(3))
    with pytest.raises(ConfigError, match="one key"):
        reader(read)(str(tmp_path / "two.npz"))


@pytest.mark.parametrize("read", ["mask", "units"])
def test_another_shape_is_told_with_both_shapes(tmp_path, read):
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    with pytest.raises(ConfigError, match=r"has the shape \[2, 2\].*shape \[3\]"):
        reader(read)(str(tmp_path / "a.npy"))


def reader(option):
    if option == "mask":
        return lambda text: read_mask(text, (3,))
    return lambda text: read_units(text, (3,), np.ones(3))


def test_units_are_ones_the_given_deviations_or_a_files(tmp_path):
    std = np.array([1.0, 2.0, 0.0])
    np.save(tmp_path / "units.npy", 3.0)
    assert read_units("input", (3,), std).tolist() == [1.0, 1.0, 1.0]
    assert read_units("std", (3,), std).tolist() == std.tolist()
    assert read_units(str(tmp_path / "units.npy"), (3,), std).tolist() == [3.0] * 3


@pytest.mark.parametrize("units", [[1.0, 0.0, 1.0], [1, -1, 1], [np.nan, 1, 1]])
def test_a_unit_that_is_not_positive_is_refused(tmp_path, units):
    np.save(tmp_path / "units.npy", np.array(units))
    with pytest.raises(ConfigError, match=r"not all positive numbers.*Use --mask"):
        read_units(str(tmp_path / "units.npy"), (3,), np.ones(3))


def test_a_level_that_is_none_is_answered_by_all_that_there_are():
    assert statistic("row") == statistic("row:mean_abs")
    with pytest.raises(ConfigError, match="--units row:median names no") as caught:
        statistic("row:median")
    for name in OF_ROW:
        assert f"row:{name}" in caught.value.expected
