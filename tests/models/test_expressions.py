"""Expressions: the grammar, its links, and the words of every refusal."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit.ground.errors import ConfigError
from audit.models.expressions import LINKS, Expression, quoted, tril

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


@pytest.mark.parametrize("link", sorted(LINKS))
def test_links_are_differentiable(link):
    x = torch.rand(2, 6, dtype=torch.float64) + 0.5
    assert torch.autograd.gradcheck(LINKS[link], x.requires_grad_())


def test_tril_fills_row_by_row():
    assert tril(OUT)[0].tolist() == [[1, 0, 0], [2, 3, 0], [4, 5, 6]]
    assert tril(OUT.reshape(1, 2, 6)).shape == (1, 2, 6)


GRAMMAR = (
    "Expected output names, slices such as out[:, :3], numbers, + − * / and exp, "
    "softplus, sigmoid, softmax, sqrt, square, tril, identity. Correct the --param."
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("out[", "is not an expression ('[' was never closed)"),
        ("", "is not an expression (invalid syntax)"),
        ("out ** 2", "uses what the grammar does not have"),
        ("__import__('os')", "uses what the grammar does not have"),
        ("out.numpy()", "uses what the grammar does not have"),
        ("exp(out, out)", "uses what the grammar does not have"),
        ("exp(x=out)", "uses what the grammar does not have"),
        ("(lambda: out)()", "uses what the grammar does not have"),
        ("[out for out in out]", "uses what the grammar does not have"),
        ("True", "uses what the grammar does not have"),
        ("1j", "uses what the grammar does not have"),
        ("out if out else out", "uses what the grammar does not have"),
        ("out[0]", "slices the batch axis; begin with ':'"),
        ("out[:1, 0]", "slices the batch axis; begin with ':'"),
    ],
)
def test_everything_else_is_refused(text, why):
    with pytest.raises(ConfigError) as refused:
        Expression(text)
    assert str(refused.value) == f"The expression '{text}' {why}. {GRAMMAR}"


def test_an_index_must_be_a_number():
    with pytest.raises(
        ConfigError, match=r"The index 'n' is not a number or a slice\."
    ):
        Expression("out[:, n]")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("out[:, 9]", r"does not fit \[2, 6\]"),
        ("out[:, 6:]", r"selects nothing of \[2, 6\]"),
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
        ("out[:, ::-1]", "does not fit [2, 6] (step must be greater than zero)"),
        ("out[:, 99999999999999999999]", "does not fit [2, 6] (Overflow"),
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
