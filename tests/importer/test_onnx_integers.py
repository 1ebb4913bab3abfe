"""Whole numbers at the ends of their range: refused, or what onnxruntime gives.

Nothing here may stop the process: quotients without a result are refused before torch
or onnxruntime divides. Expected values are Python's exact integers, cut into the type,
and those of onnxruntime.
"""

from itertools import product

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_harness import to_numpy, to_torch

from audit.ground.errors import ModelError
from audit.importer import load_graph

SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
WAYS = ("folded", "host", "run")


def model(op, arrays, way, opset=20, **attributes):
    """A graph of one node; its operands are constants, shape arithmetic or inputs."""
    names = [f"i{place}" for place in range(len(arrays))]
    kinds = [helper.np_dtype_to_tensor_dtype(array.dtype) for array in arrays]
    infos = [
        helper.make_tensor_value_info(name, kind, array.shape)
        for name, kind, array in zip(names, kinds, arrays, strict=True)
    ]
    nodes = [helper.make_node(op, names, ["y"], **attributes)]
    constants = [
        numpy_helper.from_array(a, n) for a, n in zip(arrays, names, strict=True)
    ]
    inputs = []
    if way == "run":
        inputs, constants = infos, []
    if way == "host":  # the first operand is made of a shape, so NumPy computes
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])]
        first = numpy_helper.from_array(arrays[0] - np.int64(1), "first")
        constants = [*constants[1:], first]
        nodes = [
            helper.make_node("Shape", ["x"], ["one"]),
            helper.make_node("Add", ["first", "one"], ["i0"]),
            *nodes,
        ]
    graph = helper.make_graph(
        nodes,
        "one",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)],
        constants,
    )
    graph.output[0].ClearField("type")
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def ours(op, arrays, way="run", **attributes):
    graph = load_graph(model(op, arrays, way, **attributes))
    given = {"run": arrays, "host": [np.zeros(1, np.float32)], "folded": []}[way]
    return to_numpy(graph(*map(to_torch, given))[0])


def theirs(op, arrays, **attributes):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model(op, arrays, "run", **attributes).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    named = {f"i{place}": array for place, array in enumerate(arrays)}
    return session.run(None, named)[0]


def ends(kind):
    """The numbers at the ends of a type and around zero."""
    known = np.iinfo(kind)
    middle = [0, 1, 2, 3, 7, 100, known.max // 2, known.max // 2 + 1]
    some = {known.min, known.min + 1, known.max - 1, known.max, *middle}
    return np.array(sorted(some | ({-1, -2, -7} if known.min else set())), kind)


def pairs(kind, allowed):
    """Every pair of such numbers that is allowed, as two arrays."""
    found = [
        (a, b) for a, b in product(ends(kind), repeat=2) if allowed(int(a), int(b))
    ]
    first, second = zip(*found, strict=True)
    return np.array(first, kind), np.array(second, kind)


def exact(function, a, b):
    """A function on Python's integers, cut into the type of the operands."""
    bits = np.iinfo(a.dtype).bits
    whole = [function(int(p), int(q)) % 2**bits for p, q in zip(a, b, strict=True)]
    return np.array(whole, f"uint{bits}").view(a.dtype)


def cut(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


# Division


@pytest.mark.parametrize("kind", SIGNED + UNSIGNED)
def test_quotients_and_remainders_are_exact_and_those_of_onnxruntime(kind):
    lowest = np.iinfo(kind).min
    fits = lambda a, b: b != 0 and (a, b) != (lowest, -1)  # noqa: E731
    rest = lambda a, b: a - b * cut(a, b)  # noqa: E731
    a, b = pairs(kind, fits)
    assert np.array_equal(ours("Div", [a, b]), exact(cut, a, b))
    assert np.array_equal(ours("Div", [a, b]), theirs("Div", [a, b]))
    a, b = pairs(kind, lambda a, b: b != 0)
    for fmod, expected in ((0, lambda a, b: a % b), (1, rest)):
        mine = ours("Mod", [a, b], fmod=fmod)
        assert np.array_equal(mine, exact(expected, a, b))
        assert np.array_equal(mine, theirs("Mod", [a, b], fmod=fmod))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", SIGNED)
def test_the_smallest_number_divided_by_minus_one_is_refused(kind, way):
    if way == "host" and kind != "int64":
        return  # shapes are int64
    lowest = np.iinfo(kind).min
    many = np.full(40, 5, kind)  # vector code and the rest of it
    for place in (0, 39):
        a, b = many.copy(), many.copy()
        a[place], b[place] = lowest, -1
        with pytest.raises(ModelError) as error:
            ours("Div", [a, b], way)
        assert f"(Div, opset 20): It divides {lowest} by -1. " in str(error.value)
        assert "Expected whole numbers with a result that their type holds" in str(
            error.value
        )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("op", "attributes"), [("Div", {}), ("Mod", {"fmod": 0}), ("Mod", {"fmod": 1})]
)
def test_a_divisor_of_zero_is_refused(op, attributes, way):
    for kind in ("int64",) if way == "host" else SIGNED + UNSIGNED:
        arrays = [np.array([7], kind), np.array([0], kind)]
        with pytest.raises(ModelError, match="It divides a whole number by zero"):
            ours(op, arrays, way, **attributes)


def test_a_remainder_by_minus_one_is_zero_in_shape_arithmetic():
    arrays = [np.array([7], np.int64), np.array([-1], np.int64)]
    assert ours("Mod", arrays, "host") == 0
    assert ours("Div", arrays, "host") == -7


def test_reals_divide_by_zero():
    arrays = [np.float32([1, -1, 0]), np.float32([0, 0, 0])]
    for way in ("run", "folded"):
        assert np.array_equal(ours("Div", arrays, way), [np.inf, -np.inf, np.nan], True)


@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_the_mean_of_no_whole_number_is_refused(kind):
    arrays = [np.zeros((0, 3), kind), np.array([0])]
    with pytest.raises(ModelError, match="the mean of no whole number"):
        ours("ReduceMean", arrays)


# Order: uint64 is not int64


@pytest.mark.parametrize("op", ["Less", "LessOrEqual", "Greater", "GreaterOrEqual"])
@pytest.mark.parametrize("kind", SIGNED + UNSIGNED)
def test_comparisons_know_the_sign(op, kind):
    a, b = pairs(kind, lambda a, b: True)
    expected = {"Less": a < b, "LessOrEqual": a <= b, "Greater": a > b}
    assert np.array_equal(ours(op, [a, b]), expected.get(op, a >= b))


@pytest.mark.parametrize("kind", SIGNED + UNSIGNED)
def test_extremes_know_the_sign(kind):
    a, b = pairs(kind, lambda a, b: True)
    assert np.array_equal(ours("Max", [a, b]), np.maximum(a, b))
    assert np.array_equal(ours("Min", [a, b]), np.minimum(a, b))


@pytest.mark.parametrize("kind", ["int8", "int32", "int64"])
def test_the_place_of_the_smallest_number_is_found(kind):
    values = np.array([5, np.iinfo(kind).min, np.iinfo(kind).max, 0], kind)
    assert ours("ArgMin", [values]) == [1]
    assert ours("ArgMax", [values]) == [2]


# What wraps around does so everywhere


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("kind", ["int32", "int64", "uint32", "uint64"])
def test_sums_and_products_wrap_around(op, kind):
    a, b = pairs(kind, lambda a, b: True)
    function = {
        "Add": lambda a, b: a + b,
        "Sub": lambda a, b: a - b,
        "Mul": lambda a, b: a * b,
    }[op]
    assert np.array_equal(ours(op, [a, b]), exact(function, a, b))
    assert np.array_equal(ours(op, [a, b]), theirs(op, [a, b]))


@pytest.mark.parametrize("op", ["Abs", "Neg"])
@pytest.mark.parametrize("kind", SIGNED)
def test_the_absolute_value_of_the_smallest_number_is_itself(op, kind):
    values = ends(kind)
    for way in ("run", "folded"):
        assert np.array_equal(ours(op, [values], way), theirs(op, [values]))


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("kind", UNSIGNED)
def test_shifts_leave_nothing_beyond_the_width(direction, kind):
    bits = np.iinfo(kind).bits
    values = np.repeat(ends(kind), 6)
    by = np.resize(np.array([0, 1, bits - 1, bits, bits + 1, 200], kind), values.shape)
    mine = ours("BitShift", [values, by], direction=direction)
    left = direction == "LEFT"
    shift = (lambda a, b: a << b) if left else (lambda a, b: a >> b)
    assert np.array_equal(mine, exact(shift, values, by))
    assert np.array_equal(mine, theirs("BitShift", [values, by], direction=direction))


# Powers


@pytest.mark.parametrize("kind", ["int32", "int64"])
@pytest.mark.parametrize("way", ["run", "folded"])
def test_powers_are_exact(kind, way):
    base = np.array([2, -2, 3, 10, 1, -1, 0, 5, 7], kind)
    power = np.array([30, 29, 19, 9, 200, 201, 0, 1, 2], kind)
    mine = ours("Pow", [base, power], way)
    assert np.array_equal(mine, exact(lambda a, b: a**b, base, power))
    assert np.array_equal(mine, theirs("Pow", [base, power]))


def test_negative_powers_are_cut_towards_zero():
    base, power = np.array([2, 1, -1, -1, 3]), np.array([-1, -5, -3, -2, -40])
    for way in ("run", "folded"):
        assert ours("Pow", [base, power], way).tolist() == [0, 1, -1, 1, 0]
    assert theirs("Pow", [base, power]).tolist() == [0, 1, -1, 1, 0]


@pytest.mark.parametrize(
    ("base", "power", "words"),
    [
        (np.array([0]), np.array([-1]), "a negative power of 0"),
        (np.array([3]), np.array([40]), "A power is too large for int64"),
        (np.array([-3]), np.array([10**18]), "A power is too large for int64"),
        (np.array([3], np.int32), np.array([20], np.int32), "too large for int32"),
        (np.array([10]), np.array([30.0], np.float32), "too large for int64"),
    ],
)
def test_powers_that_do_not_exist_or_fit_are_refused(base, power, words):
    for way in ("run", "folded"):
        with pytest.raises(ModelError, match=words):
            ours("Pow", [base, power], way)


# Counting


@pytest.mark.parametrize("way", ["run", "folded"])
@pytest.mark.parametrize(
    ("first", "last", "step"),
    [
        (0, 5, 2),
        (5, 0, -2),
        (0, -5, 1),
        (2**60, 2**60 + 3, 1),
        (-(2**62), -(2**62) + 7, 3),
    ],
)
def test_a_range_is_exact(way, first, last, step):
    arrays = [np.array(number, np.int64) for number in (first, last, step)]
    assert ours("Range", arrays, way).tolist() == list(range(first, last, step))
    if abs(first) < 2**53:  # onnxruntime counts in float64
        assert theirs("Range", arrays).tolist() == list(range(first, last, step))


@pytest.mark.parametrize("way", ["run", "folded"])
@pytest.mark.parametrize(
    "numbers",
    [
        (np.int64(0), np.int64(5), np.int64(0)),
        (np.float32(0), np.float32(5), np.float32(0)),
        (np.float32(0), np.float32(np.inf), np.float32(1)),
        (np.float32(0), np.float32(5), np.float32(np.nan)),
    ],
)
def test_a_range_that_never_ends_is_refused(way, numbers):
    arrays = [np.asarray(number) for number in numbers]
    with pytest.raises(ModelError, match="It counts from 0"):
        ours("Range", arrays, way)
    huge = [np.asarray(n, np.float32) for n in (-3e38, 3e38, 1e-30)]
    with pytest.raises(ModelError, match="Expected at most"):
        ours("Range", huge, way)


# Reals that no whole number holds


@pytest.mark.parametrize("kind", SIGNED + UNSIGNED)
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_reals_become_the_whole_numbers_of_onnxruntime(kind, real):
    some = [0.9, -0.9, 1.5, 127.7, 128, -129, 255.5, 256, 65536.5, 3e9, -3e9]
    values = np.array([*some, 1e19, -1e19, 1e30, np.inf, -np.inf, np.nan] * 3, real)
    to = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    for way in ("run", "folded"):
        mine = ours("Cast", [values], way, to=to)
        assert np.array_equal(mine, theirs("Cast", [values], to=to))
