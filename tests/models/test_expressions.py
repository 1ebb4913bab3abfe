"""Expressions: the grammar, its links, and the words of every refusal."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit.ground.errors import ConfigError
from audit.models.expressions import Expression, quoted
from audit.models.functions import FUNCTIONS, tril
from audit.reports.expressions import FUNCTIONS as EXPLAINED

OUT = torch.arange(1.0, 13.0, dtype=torch.float64).reshape(2, 6)
OUTPUTS = {
    "out": OUT,
    "row": torch.tensor([1.0, 2.0], dtype=torch.float64),
    "head/out:0": -OUT,
    "@body/h.1": 2 * OUT,
    "cube": torch.arange(12.0, dtype=torch.float64).reshape(2, 3, 2),
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("out", OUT),
        ("out[:, :3]", OUT[:, :3]),
        ("out[:, 3:]", OUT[:, 3:]),
        ("out[:, ::2]", OUT[:, ::2]),
        ("out[:, -1]", OUT[:, -1]),
        ("out[:, 1]", OUT[:, 1]),
        ("cube[:, 1, :]", OUTPUTS["cube"][:, 1, :]),
        ('"head/out:0"', -OUT),
        ('"head/out:0"[:, :2]', -OUT[:, :2]),
        ("@body/h.1", 2 * OUT),
        ("exp(@body/h.1 / 4)", (OUT / 2).exp()),
        ("exp(0.5 * out)", (OUT / 2).exp()),
        ("-out + 2", 2 - OUT),
        ("1e-3 + softplus(out[:, :1])", 1e-3 + torch.log1p(OUT[:, :1].exp())),
        ("sqrt(square(out))", OUT),
        ("identity(out) - out", 0 * OUT),
        ("softmax(out)", torch.softmax(OUT, 1)),
        ("sigmoid(out) * 2", 2 * torch.sigmoid(OUT)),
        ("out[..., 1]", OUT[:, 1]),
        ("cube[..., 0, 1]", OUTPUTS["cube"][:, 0, 1]),
        ("cube[..., 1]", OUTPUTS["cube"][:, :, 1]),
        ("cube[:, ..., 1]", OUTPUTS["cube"][:, :, 1]),
        ("cube[:, 1, ...]", OUTPUTS["cube"][:, 1]),
        ("out[:, ::-1]", OUT.flip(1)),
        ("out[:, 4:1:-2]", OUT[:, [4, 2]]),
        ("out[:, None, :2]", OUT[:, None, :2]),
        ("out[:, :, None]", OUT[:, :, None]),
        ("out ** 2", OUT**2),
        ("2 ** row", 2 ** OUTPUTS["row"]),
        ("out / row", OUT / OUTPUTS["row"][:, None]),
        ("row * out", OUT * OUTPUTS["row"][:, None]),
        ("4", torch.full((2,), 4.0, dtype=torch.float64)),
    ],
)
def test_an_expression_has_its_value(text, value):
    found = Expression(text)(OUTPUTS)
    assert found.shape == value.shape
    torch.testing.assert_close(found, value, rtol=1e-14, atol=1e-14)


def test_a_number_is_one_for_each_input_not_for_each_event():
    assert Expression("row + 0 * out")(OUTPUTS)[1].tolist() == [2.0] * 6


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("exp(a) + b[:, 0]", {"a", "b"}),
        ('"x/y:0" * @in/side', {"x/y:0", "@in/side"}),
        ("softplus(exp)", {"exp"}),  # an output may be called like a link
        ("3", set()),
    ],
)
def test_names_are_the_outputs_that_are_read(text, names):
    assert Expression(text).names == names


def test_tril_fills_row_by_row():
    assert tril(OUT)[0].tolist() == [[1, 0, 0], [2, 3, 0], [4, 5, 6]]
    assert tril(OUT.reshape(1, 2, 6)).shape == (1, 2, 6)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("out[", "is not an expression ('[' was never closed)"),
        ("", "is not an expression (invalid syntax)"),
        ("out % 2", "uses what the grammar does not have"),
        ("out @ out", "uses what the grammar does not have"),
        ("__import__('os')", "has the function __import__(), which there is not"),
        ("softmx(out)", "has the function softmx(), which there is not"),
        ("out.numpy()", "uses what the grammar does not have"),
        ("exp(*out)", "uses what the grammar does not have"),
        ("exp(out, out)", "gives exp() 2 values; it takes 1"),
        ("pad(out)", "gives pad() 1 values; it takes 3"),
        ("clamp(out, 1, 2, 3)", "gives clamp() 4 values; it takes 1 to 3"),
        ("cat()", "gives cat() 0 values; it takes 1 or more"),
        ("exp(x=out)", "gives exp() the keyword 'x'; it takes none"),
        ("tril(out, diagonal=tril)", "gives tril() diagonal=tril; expected a number"),
        ("tril(out, strict=1)", "gives tril() strict=1; expected true or false"),
        ("sum(out, axis=1.5)", "gives sum() axis=1.5; expected the number of an axis"),
        ("(lambda: out)()", "uses what the grammar does not have"),
        ("[out for out in out]", "uses what the grammar does not have"),
        ("True", "uses what the grammar does not have"),
        ("1j", "uses what the grammar does not have"),
        ("out if out else out", "uses what the grammar does not have"),
        ("out[0]", "slices the batch axis; begin with ':'"),
        ("out[:1, 0]", "slices the batch axis; begin with ':'"),
        ("out[::-1]", "slices the batch axis; begin with ':'"),
        ("out[None]", "slices the batch axis; begin with ':'"),
        ("out[..., 0, ...]", "slices the batch axis; begin with ':'"),
    ],
)
def test_everything_else_is_refused(text, why):
    with pytest.raises(ConfigError) as refused:
        Expression(text)
    said = str(refused.value)
    assert said.startswith(f"The expression '{text}' {why}")
    assert "Expected output names, slices such as out[:, :3], numbers" in said


def test_a_function_that_there_is_not_names_its_neighbour():
    with pytest.raises(ConfigError, match=r"Did you mean softmax\(\)"):
        Expression("softmx(out)")


def test_an_index_must_be_a_number():
    with pytest.raises(
        ConfigError, match=r"The index 'n' is not a number or a slice\."
    ):
        Expression("out[:, n]")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("out[:, 9]", r"does not fit \[2, 6\]"),
        ("out[:, 6:]", r"does not fit \[2, 6\] \(it selects nothing"),
        ("row[:, 0]", r"does not fit \[2\]"),
        ("nothing", "reads 'nothing'. The file's outputs are out, row"),
        ("tril(out[:, :4])", r"tril\(\) was given 4 numbers for each input"),
    ],
)
def test_what_does_not_fit_the_outputs_is_refused(text, why):
    with pytest.raises(ConfigError, match=why):
        Expression(text)(OUTPUTS)


numbers = st.floats(-4, 4).map(lambda v: f"{v:.3f}".replace("-", "- "))
leaves = st.sampled_from(["a", "b", "a[:, :1]"]) | numbers
trees = st.recursive(
    leaves,
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*"), inner).map(
            "({0[0]} {0[1]} {0[2]})".format
        )
        | inner.map("sigmoid({})".format)
        | inner.map("-{}".format)
    ),
    max_leaves=8,
)


@given(trees)
def test_arithmetic_is_that_of_python(text):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 3))
    found = Expression(text)({"a": torch.from_numpy(a), "b": torch.from_numpy(b)})
    expected = eval(text, {"a": a, "b": b, "sigmoid": lambda v: 1 / (1 + np.exp(-v))})
    whole = np.broadcast_to(expected, (5, 3))
    got = found.reshape(5, -1) if found.dim() < 2 else found
    np.testing.assert_allclose(
        np.broadcast_to(got, (5, 3)), whole, rtol=1e-12, atol=1e-12
    )


@given(st.text(max_size=30))
def test_any_text_parses_or_is_refused_in_words(text):
    try:
        Expression(text)
    except ConfigError as error:
        assert error.next_step  # noqa: PT017


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("9" * 400, "uses what the grammar does not have"),
        ("9" * 4001, "uses what the grammar does not have"),
        ("9" * 5000, "has more than 4096 characters"),
        ("1e999", "uses what the grammar does not have"),
        ("-" * 200 + "out", "is nested more than 100 deep"),
        ("out" + " + 1" * 200, "is nested more than 100 deep"),
        ("(" * 300 + "out", "is not an expression"),
        ("out[:, -" + "-" * 2000 + "1]", "The index '…' is not a number or a slice"),
        ("out[:, ::0]", "does not fit [2, 6] (slice step cannot be zero)"),
        ("out[:, 99999999999999999999]", "does not fit [2, 6] ("),
    ],
)
def test_numbers_and_nesting_without_an_end_are_refused(text, why):
    with pytest.raises(ConfigError) as error:
        Expression(text)(OUTPUTS)
    assert why in str(error.value)
    assert len(str(error.value)) < 500


# An output that is called like a number


@pytest.mark.parametrize(
    ("text", "number", "other"),
    [
        ("21", "21", "21.0"),
        ("exp(21)", "21", "21.0"),
        ("21 * out", "21", "21.0"),
        ("out[:, :3] + 2 * (1 - 21)", "21", "21.0"),
        ("-3", "-3", "-3.0"),
        ("- 3 * out", "-3", "-3.0"),
        ("1e3", "1e3", "1000.0"),
        ("1e+300", "1e+300", "1.00e+300"),
        ("0.5 * out", "0.5", "0.500"),
    ],
)
def test_a_number_that_is_an_output_is_refused(text, number, other):
    names = ["21", "-3", "1e3", "0.5", "0.50", "1e+300", "1.0e+300", "out"]
    with pytest.raises(ConfigError) as error:
        Expression(text).refuse_ambiguous(names)
    said = str(error.value)
    assert f"reads {number}, which is a number and the name of an output" in said
    assert f"""Write '"{number}"' for the output""" in said
    assert Expression(f'"{number}"').names == {number}
    Expression(f'"{number}"').refuse_ambiguous(names)
    assert f"or {other} for the number" in said
    Expression(text.replace(" ", "").replace(number, other)).refuse_ambiguous(names)


@pytest.mark.parametrize(
    "text", ["out[:, 21]", "out[:, :21]", '"21"', "3 * out", "21.0"]
)
def test_an_index_or_another_number_is_not_ambiguous(text):
    Expression(text).refuse_ambiguous(["21", "-3", "out"])


@pytest.mark.parametrize("name", ["21", "a/b:0", "lambda", "None", "mean"])
def test_every_name_can_be_written(name):
    assert Expression(quoted(name)).names == {name}


# The functions, each against NumPy

RNG = np.random.default_rng(7)
V = RNG.uniform(0.2, 0.9, (2, 3))
W = RNG.uniform(0.2, 0.9, (2, 3))
M = RNG.uniform(-1, 1, (2, 3, 4))
R = RNG.uniform(0.2, 0.9, 2)
GIVEN = {
    name: torch.from_numpy(v) for name, v in {"v": V, "w": W, "m": M, "r": R}.items()
}
TRIANGLE = np.stack([[[a, 0], [b, c]] for a, b, c in V])


def softplus(v):
    return np.log1p(np.exp(v))


def softmax(v, axis=-1):
    return np.exp(v) / np.exp(v).sum(axis, keepdims=True)


TABLE = [
    ("exp(v)", np.exp(V)),
    ("expm1(v)", np.expm1(V)),
    ("log(v)", np.log(V)),
    ("log1p(v)", np.log1p(V)),
    ("sqrt(v)", np.sqrt(V)),
    ("square(v)", V**2),
    ("softplus(v)", softplus(V)),
    ("elu(v - 0.5)", np.where(V > 0.5, V - 0.5, np.expm1(V - 0.5))),
    ("sigmoid(v)", 1 / (1 + np.exp(-V))),
    ("logit(v)", np.log(V / (1 - V))),
    ("tanh(v)", np.tanh(V)),
    ("sin(v)", np.sin(V)),
    ("cos(v)", np.cos(V)),
    ("abs(v - 2)", 2 - V),
    ("identity(v)", V),
    ("atan2(v, r)", np.arctan2(V, R[:, None])),
    ("power(v, w)", V**W),
    ("v ** r", V ** R[:, None]),
    ("clamp(v, 0.4)", np.maximum(V, 0.4)),
    ("clamp(v, 0.4, 0.6)", np.clip(V, 0.4, 0.6)),
    ("clamp(v, max=0.6)", np.minimum(V, 0.6)),
    ("clamp(v, min=0.4, max=0.6)", np.clip(V, 0.4, 0.6)),
    ("clamp(v, r)", np.maximum(V, R[:, None])),
    ("softmax(v)", softmax(V)),
    ("softmax(m, axis=1)", softmax(M, 1)),
    ("cumsum(v)", V.cumsum(-1)),
    ("cumsum(m, axis=1)", M.cumsum(1)),
    ("cumprod(v)", V.cumprod(-1)),
    ("sum(v)", V.sum(-1)),
    ("sum(m, axis=1)", M.sum(1)),
    ("mean(m, axis=-2)", M.mean(1)),
    ("cat(v, 0)", np.concatenate([V, np.zeros((2, 1))], 1)),
    ("cat(r, r, 1)", np.stack([R, R, np.ones(2)], 1)),
    ("cat(1, v, r)", np.concatenate([np.ones((2, 1)), V, R[:, None]], 1)),
    ("cat(m, m, axis=1)", np.concatenate([M, M], 1)),
    ("cat(m, 2)", np.concatenate([M, np.full((2, 3, 1), 2.0)], 2)),
    ("stack(v, w)", np.stack([V, W], 1)),
    ("stack(v, w, axis=-1)", np.stack([V, W], 2)),
    ("stack(r, 1)", np.stack([R, np.ones(2)], 1)),
    ("pad(v, 1, 2)", np.pad(V, ((0, 0), (1, 2)))),
    ("pad(v, 0, 1, value=3)", np.pad(V, ((0, 0), (0, 1)), constant_values=3)),
    ("reshape(m, 2, 6)", M.reshape(2, 2, 6)),
    ("diag(v)", np.stack([np.diag(row) for row in V])),
    ("tril(v)", TRIANGLE),
    (
        "tril(v, diagonal=softplus)",
        np.where(np.eye(2) > 0, softplus(TRIANGLE), TRIANGLE),
    ),
    ("tril(v, diagonal=1)", np.where(np.eye(2) > 0, 1, TRIANGLE)),
    ("tril(m[:, :, :3], strict=true)", np.tril(M[:, :, :3], -1)),
    (
        "tril(v, strict=true)",
        np.stack([[[0, 0, 0], [a, 0, 0], [b, c, 0]] for a, b, c in V]),
    ),
    ("transpose(m)", M.transpose(0, 2, 1)),
    ("matmul(m, transpose(m))", M @ M.transpose(0, 2, 1)),
    ("matmul(transpose(m), v)", (M.transpose(0, 2, 1) @ V[:, :, None])[..., 0]),
]
each_row = pytest.mark.parametrize(("text", "value"), TABLE, ids=[t for t, _ in TABLE])


@each_row
def test_a_function_has_the_value_of_numpy(text, value):
    found = Expression(text)(GIVEN)
    assert found.shape == value.shape
    np.testing.assert_allclose(found, value, rtol=1e-13, atol=1e-14)


@each_row
def test_its_derivative_is_that_of_differences(text, value):
    names = sorted(Expression(text).names)
    given = [GIVEN[name].clone().requires_grad_() for name in names]

    def run(*values):
        return Expression(text)(dict(zip(names, values, strict=True)))

    assert torch.autograd.gradcheck(run, given)


@each_row
def test_a_row_does_not_depend_on_its_neighbours(text, value):
    alone = [
        Expression(text)({n: v[i : i + 1] for n, v in GIVEN.items()}) for i in (0, 1)
    ]
    np.testing.assert_allclose(torch.cat(alone), value, rtol=1e-13, atol=1e-14)


def test_every_function_is_in_the_table_and_is_explained():
    called = {text.partition("(")[0] for text, _ in TABLE}
    assert called >= set(FUNCTIONS)
    assert list(EXPLAINED) == list(FUNCTIONS)


@pytest.mark.parametrize("name", sorted(EXPLAINED))
def test_every_example_has_a_value(name):
    shown = {
        "out": (2, 6),
        **dict.fromkeys(("mean", "std", "log_std", "var", "probs"), (2, 6)),
        "cube": (2, 3, 2),
    }
    given = {
        key: torch.rand(shape, dtype=torch.float64) / 8 for key, shape in shown.items()
    }
    expression = Expression(EXPLAINED[name][1].partition("=")[2])
    assert f"{name}(" in expression.text
    assert torch.isfinite(expression(given)).all()


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("v + m", "[2, 3] and [2, 3, 4]"),
        ("v + out", "[2, 3] and [2, 6]"),
        ("tril(v) + v", "[2, 2, 2] and [2, 3]"),
        ("tril(v) + v[:, :2]", "[2, 2, 2] and [2, 2] (the smaller one fits more than"),
        ("cat(v, m)", "[2, 3] and [2, 3, 4]"),
        ("stack(v, out)", "[2, 3] and [2, 6]"),
        ("matmul(v, v)", "[2, 3] and [2, 3]"),
        ("matmul(m, m)", "[2, 3, 4] and [2, 3, 4]"),
        ("transpose(v)", "[2, 3]"),
        ("reshape(v, 2, 2)", "[2, 3] and [] and []"),
        ("sum(v, axis=0)", "[2, 3] (axis 0 is the batch axis"),
        ("sum(v, axis=5)", "[2, 3]"),
        ("clamp(v)", "[2, 3] (it needs min, max or both"),
        ("pad(v, 1.5, 0)", "[2, 3] and [] and [] (sizes are whole numbers"),
        ("pad(v, -1, 0)", "[2, 3] and [] and [] (the sizes are not negative"),
        ("cat(1, 2)", "[] and [] (one of the values has to be an output"),
    ],
)
def test_shapes_that_do_not_fit_are_a_usage_error_that_prints_them(text, shapes):
    with pytest.raises(ConfigError) as refused:
        Expression(text)(GIVEN | {"out": OUT})
    assert f"is given the shapes {shapes}" in str(refused.value)
    assert refused.value.exit_code == 2


def test_renaming_changes_names_alone():
    text = 'cat(a[:, :2], "b/c") + tril(a, diagonal=exp, strict=true)'
    again = Expression(text).renamed(
        {"a": "x/y", "b/c": "z", "exp": "no", "true": "no"}
    )
    assert again.names == {"x/y", "z"}
    assert "diagonal=exp, strict=true" in again.text
