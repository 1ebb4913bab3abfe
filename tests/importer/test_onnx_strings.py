"""Operators on strings: what they give, and that none goes on for ever."""

import builtins
import time

import numpy as np
import onnx
import onnxruntime
import pytest
from test_onnx_bombs import model, run, s, tensor

from audit.ground.errors import ModelError, UnsupportedOperator
from audit.importer import load_graph

PATTERNS = (
    *("a.b", "(?s)a.b", r"\d+", r"[[:alpha:]]+", "(?i)ABC", "a|ab", "(a|ab)(c|bcd)"),
    *(r"\w*@\w+\.com", "^ab$", "x{2,3}", "", ".*", r"\pL+", "é", r"\x41", r"\bab\b"),
)
TEXTS = (
    "a\nb",
    "axb",
    "123",
    "abc",
    "ABC",
    "ab",
    "abcd",
    "x@y.com",
    "xx",
    "é",
    "A",
    "",
)


def theirs(op, arrays, attributes, outputs=("y",), domain=""):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    proto = model(op, arrays, attributes, outputs=outputs, domain=domain)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {f"i{place}": array for place, array in enumerate(arrays)})


@pytest.mark.parametrize("pattern", PATTERNS)
def test_expressions_are_those_of_onnxruntime(pattern):
    pytest.importorskip("re2")
    arrays, attributes = [s(*TEXTS).reshape(3, 4)], {"pattern": pattern}
    (mine,) = run("RegexFullMatch", arrays, attributes)
    assert np.array_equal(mine.numpy(), theirs("RegexFullMatch", arrays, attributes)[0])


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+", "a" * 50_000 + "!"),
        ("(a|a)*", "a" * 50_000 + "!"),
        ("(.*)*x", "a" * 50_000),
        (r"(\w+\s?)*", "word " * 10_000 + "!"),
        ("([ab]*)*c", "ab" * 25_000),
    ],
)
def test_expressions_take_a_linear_time(pattern, text):
    pytest.importorskip("re2")
    began = time.process_time()
    (found,) = run("RegexFullMatch", [s(text)], {"pattern": pattern})
    assert found.tolist() == [False]
    assert time.process_time() - began < 2


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "a{5000}", "[b-a]"])
def test_what_is_no_expression_of_re2_is_refused(pattern):
    pytest.importorskip("re2")
    with pytest.raises(ModelError) as error:
        run("RegexFullMatch", [s("a")], {"pattern": pattern})
    assert f"RE2 does not read the pattern '{pattern}' (" in str(error.value)
    assert "Expected a pattern in the syntax of RE2" in str(error.value)


def test_without_re2_the_package_is_named(monkeypatch):
    importing = builtins.__import__

    def refuse(name, *rest):
        if name == "re2":
            raise ImportError
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UnsupportedOperator, match="pip install google-re2"):
        run("RegexFullMatch", [s("a")], {"pattern": "a"})


def test_strings_are_joined_and_cut_as_in_onnxruntime():
    a, b = s("a", "b").reshape(2, 1), s("x", "", "z w ")
    (mine,) = run("StringConcat", [a, b], {})
    assert mine.tolist() == theirs("StringConcat", [a, b], {})[0].tolist()
    for attributes in ({}, {"delimiter": "z"}, {"delimiter": "z", "maxsplit": 1}):
        proto = model("StringSplit", [b], attributes, outputs=("y", "n"))
        ours = [value.tolist() for value in load_graph(proto)(b)]
        expected = theirs("StringSplit", [b], attributes, ("y", "n"))
        assert ours == [value.tolist() for value in expected]


def test_grams_of_every_length_are_counted():
    attributes = {
        "max_gram_length": 2,
        "max_skip_count": 1,
        "min_gram_length": 1,
        "mode": "TF",
        "ngram_counts": [0, 2],
        "ngram_indexes": [0, 1, 2],
        "pool_int64s": [1, 2, 1, 3],
    }
    tokens = np.array([[1, 2, 3, 1, 3, 2]])
    (mine,) = run("TfIdfVectorizer", [tokens], attributes)
    assert np.array_equal(
        mine.numpy(), theirs("TfIdfVectorizer", [tokens], attributes)[0]
    )
    wide = {**attributes, "max_skip_count": 2**40, "min_gram_length": -(2**40)}
    (more,) = run("TfIdfVectorizer", [tokens], wide)
    assert more.tolist() == [[2.0, 2.0, 3.0]]


SENTENCES = s("good day, bad-day", "", "é ab c  d", "a1 22 _x", " lead trail ", "a")


@pytest.mark.parametrize("shape", [(6,), (3, 2)])
@pytest.mark.parametrize("mark", [0, 1])
@pytest.mark.parametrize(
    "how",
    [
        {"tokenexp": "[a-zA-Z0-9_]+", "mincharnum": 2},
        {"tokenexp": r"\w+"},
        {"tokenexp": "."},
        {"tokenexp": "a*"},
        {"tokenexp": "(a|g)(o|b)"},
        {"separators": [" "], "mincharnum": 2},
        {"separators": [" ", ",", "-"]},
        {"separators": ["[ ,]+"]},
        {"separators": [""]},
    ],
)
def test_texts_are_cut_into_tokens_as_in_onnxruntime(how, mark, shape):
    attributes = {"mincharnum": 1, "pad_value": "#", "mark": mark, **how}
    for texts in (SENTENCES.reshape(shape), s("", "")):
        (mine,) = run("Tokenizer", [texts], attributes, domain="com.microsoft")
        (their,) = theirs("Tokenizer", [texts], attributes, domain="com.microsoft")
        assert mine.shape == their.shape
        assert mine.tolist() == their.tolist()


def both(text):
    """Return what we and onnxruntime make of a graph in onnx's text format."""
    proto = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 19]> {text}')
    x = np.array([[1.5, -20.0], [np.nan, np.inf], [-1e10, 1 / 3]], np.float32)
    place = np.array([[1, 0], [0, 1], [1, 1]])
    words = s("red", "blue", "7", "-2.5", "0", "green").reshape(3, 2)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    given = {"x": x, "place": place, "words": words}
    wanted = [info.name for info in session.get_inputs()]
    arrays = [given[name] for name in wanted]
    expected = session.run(None, dict(zip(wanted, arrays, strict=True)))
    return load_graph(proto)(*map(tensor, arrays)), expected


@pytest.mark.parametrize(
    "text",
    [
        # the columns of a table, as skl2onnx joins and picks them before an encoder
        """g (string[n, 2] words) => (string[n, k] y) <int64[2] pick = {2, 0}> {
            joined = Concat<axis = 1>(words, words)
            some = Gather<axis = 1>(joined, pick)
            y = Identity(some) }""",
        "g (string[n, 2] words) => (string[n, 2] y) { y = Flatten(words) }",
        "g (string[n, 2] words) => (string[a, b] y) { y = Flatten<axis = -2>(words) }",
        # picked by what is computed at run time
        """g (string[n, 2] words, int64[n, 2] place) => (string[a, b, c] y) {
            joined = Concat<axis = 0>(words, words)
            y = Gather<axis = 1>(joined, place) }""",
        """g (string[n, 2] words, float[n, 2] x) => (float[n, 2] y, string[n, 2] z)
            <string[1] blue = {"blue"}, string other = {"other"}> {
            found = Equal(words, blue)
            z = Where(found, other, words)
            y = Cast<to = 1>(found) }""",
        # the last rows are numbers, written as text
        """g (string[n, 2] words) => (float[m] y) <int64[1] one = {1},
            int64[1] nine = {9}, int64[1] zero = {0}, int64[1] flat = {-1},
            int64[1] five = {5}, int64[1] two = {2}> {
            line = Reshape(words, flat)
            some = Slice(line, two, five, zero, one)
            y = Cast<to = 1>(some) }""",
        "g (float[n, 2] x) => (string[n, 2] y) { y = Cast<to = 8>(x) }",
        "g (int64[n, 2] place) => (string[n, 2] y) { y = Cast<to = 8>(place) }",
        """g (float[n, 2] x) => (string[k] y) {
            sizes = Shape(x)
            y = Cast<to = 8>(sizes) }""",
    ],
)
def test_text_is_moved_as_in_onnxruntime(text):
    ours, theirs = both(text)
    for mine, expected in zip(ours, theirs, strict=True):
        assert mine.tolist() == expected.tolist()


def test_text_is_moved_in_a_branch_too():
    ours, theirs = both(
        """g (string[n, 2] words, float[n, 2] x) => (string[n] y)
            <int64 first = {0}, int64 second = {1}> {
            least = ReduceSum<keepdims = 0>(x)
            low = IsNaN(least)
            y = If (low) <
                then_branch = t () => (string[n] a) {
                    a = Gather<axis = 1>(words, first) },
                else_branch = e () => (string[n] b) {
                    b = Gather<axis = 1>(words, second) }> }"""
    )
    assert ours[0].tolist() == theirs[0].tolist()


@pytest.mark.parametrize("op", ["Relu", "Neg", "MatMul"])
def test_text_where_numbers_are_needed_is_refused(op):
    arrays = [s("red", "blue").reshape(2, 1)] * (2 if op == "MatMul" else 1)
    with pytest.raises(UnsupportedOperator, match=f"{op}.*is given text"):
        run(op, arrays, {})
