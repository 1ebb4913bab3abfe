"""Documents of strangers: plain data, quickly, or one error with its line."""

import gc
import math
import time
from contextlib import suppress

import pytest
import yaml

from audit.config import read_config
from audit.config.files import read_document
from audit.ground.documents import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_JSON,
    Unreadable,
    read_json,
    read_toml,
    read_yaml,
)
from audit.ground.errors import ConfigError


def long(piece):
    """As many characters of a piece as a document may have."""
    return (piece * (MAX_CHARACTERS // len(piece) + 1))[:MAX_CHARACTERS]


PIECES = (
    *("[", "{", "[1,", "{a: ", "- ", "a: ", "? ", "? a\n", "- - a\n", "a:\n ", "&a "),
    *("*a ", "!a ", "!!int ", "% ", "#", "# a\n", "|\n", ">\n a\n", '"', '"\\x', "'"),
    *(
        "''",
        "\\n",
        "a",
        "a ",
        " ",
        "\t",
        "\n",
        "\r",
        ":",
        ",",
        "9",
        "9_",
        "0x",
        "1:59:",
    ),
    *("a.", "a . ", '"a".', "[a.", "[[a]]\n", "a = ", "a=1\n", "{a=", "=", "--- a\n"),
    *("...\n", "<<: ", "\0", "\ud800", "é", "~", ".inf ", "2024-02-30 ", "0b_ "),
)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("piece", PIECES)
def test_a_document_of_one_piece_is_read_or_refused_in_time(piece):
    gc.collect()
    gc.freeze()  # what other tests left is not searched for garbage on this time
    for start in ("", "a: ", "a = ", "[", '"', "'"):
        text = (start + long(piece))[: MAX_CHARACTERS // 32]
        for read in (read_yaml, read_toml, read_json):
            began = time.process_time()
            with suppress(Unreadable):
                read(text)
            assert time.process_time() - began < 1


# YAML


def test_yaml_is_plain_data_with_its_lines():
    value, lines = read_yaml(
        "a: [1, -2, 0x1F, 1.5, 1.0e+3, .inf, yes, off, ~, 'x', \"y\"]\n"
        "b:\n  c: {d: text}\n  e: |\n    two\n    lines\n"
    )
    numbers = [1, -2, 31, 1.5, 1000.0, math.inf, True, False, None, "x", "y"]
    assert value == {"a": numbers, "b": {"c": {"d": "text"}, "e": "two\nlines\n"}}
    assert lines == {
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "c", "d"): 3,
        ("b", "e"): 4,
    }
    assert read_yaml("") == (None, {})


@pytest.mark.parametrize(
    "text",
    ["[1, 12_000, 010, 0b101, +7, 1e3, .5, -.5, .nan, 1_0.5, 'a', null, True, N]"],
)
def test_other_scalars_are_those_of_yaml(text):
    assert repr(read_yaml(text)[0]) == repr(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    ["2024-02-30", "2026-12-31", "2026-12-31 10:00:00", "1:30", "1:59:59.5", "="],
)
def test_days_and_times_stay_text(text):
    assert read_yaml(f"a: {text}")[0] == {"a": text}


@pytest.mark.parametrize(
    ("text", "line", "problem", "remedy"),
    [
        ("a: &x 1\nb: *x", 2, "*x repeats an earlier value", "Write the value out"),
        ("a: !!python/name:os.system x", 1, "the tag tag:yaml.org", "Leave it out"),
        ("a: 1\nb: !!float 3", 2, "the tag tag:yaml.org,2002:float", "Leave it out"),
        ("a: ! x", 1, "the tag ! is not read", "Leave it out"),
        ("a: 1\nb: [{c: 1, c: 2}]", 2, "'c' is set twice", "Keep this line or line 2"),
        ("a: 1\n\na: 2", 3, "'a' is set twice", "Keep this line or line 1"),
        ("[" * (MAX_DEPTH + 2), 1, f"nested more than {MAX_DEPTH} deep", ""),
        ("{[1]: 2}", 1, "it is not YAML: found unhashable key", ""),
        ("a: [1", 1, "it is not YAML: expected ',' or ']'", ""),
        ("--- 1\n--- 2", 2, "it is not YAML: but found another document", ""),
        ("a: 0b_", None, "it is not YAML: invalid literal", ""),
        ("a: " + "9" * 5000, None, "it is not YAML: Exceeds the limit", ""),
        ("a: 0x" + "f" * 5000, None, f"a number of more than {MAX_DIGITS} digits", ""),
        ('a: "\\UFFFFFFFF"', None, "it is not YAML: ", ""),
        ("a: \0", None, "it is not YAML: unacceptable character", ""),
        ("a" * (MAX_CHARACTERS + 1), None, f"more than {MAX_CHARACTERS} char", ""),
    ],
)
def test_what_yaml_is_not_for_is_refused(text, line, problem, remedy):
    with pytest.raises(Unreadable) as error:
        read_yaml(text)
    assert problem in error.value.problem
    assert error.value.line == line
    assert error.value.remedy.startswith(remedy)


def test_aliases_do_not_multiply():
    names = "abcdefghijklmnopqrstuvwxyz"
    lines = [f"a: &a [{', '.join('1' * 9)}]"]
    for one, before in zip(names[1:], names, strict=False):
        lines.append(f"{one}: &{one} [{', '.join([f'*{before}'] * 9)}]")
    with pytest.raises(Unreadable, match=r"\*a repeats an earlier value"):
        read_yaml("\n".join(lines))


# TOML and JSON


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = " + "[" * 2000, "nested more than"),
        ("a = " + "[" * 60 + "]" * 60, "nested more than"),
        ("a." * 100 + "a = 1", "nested more than"),
        ("[" + '"a" . ' * 100 + "a]", "nested more than"),
        ("a = " + "9" * 5000, "it is not TOML: Exceeds the limit"),
        ("a = 0x" + "f" * 5000, "a number of more than"),
        ("a = 2024-02-30", "it is not TOML: Invalid date"),
        ("a = 1\na = 2", "it is not TOML: "),
        ("a" * (MAX_CHARACTERS + 1), "more than"),
    ],
)
def test_what_is_no_plain_toml_is_refused(text, problem):
    with pytest.raises(Unreadable, match=problem):
        read_toml(text)


def test_many_numbers_on_a_line_are_no_long_key():
    numbers = [round(0.01 * i, 2) for i in range(1, 300)]
    assert read_toml(f"a = {numbers}")["a"] == numbers


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000, "nested more than"),
        ("[" * (MAX_JSON + 2) + "]" * (MAX_JSON + 2), "nested more than"),
        ('{"a":' * 5000, "nested more than"),
        ("[" + "9" * 4000 + "]", "a number of more than"),
        ("[1", "it is not JSON: "),
        (b"\xff\xfe[", "it is not JSON: "),
        ("", "it is not JSON: "),
    ],
)
def test_what_is_no_plain_json_is_refused(text, problem):
    with pytest.raises(Unreadable, match=problem):
        read_json(text)


def test_json_of_any_size_and_of_programs_is_read():
    assert read_json("[" + "1," * 10**6 + "1]")[-1] == 1
    assert read_json("[" * (MAX_JSON - 1) + "]" * (MAX_JSON - 1))
    assert read_json(f'{{"a": {2**64}}}') == {"a": 2**64}


# Where they are read


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("c.yaml", "max: &a {k: 1}\nmin: *a", r"c\.yaml:2: \*a repeats an earlier"),
        ("c.yaml", "seed: !!int 3", r"c\.yaml:1: the tag .* Leave it out\."),
        ("c.yaml", "waivers: [{key: 1, key: 2}]", r"c\.yaml:1: 'key' is set twice"),
        ("c.yaml", "seed: " + "9" * 5000, "Expected plain settings"),
        ("c.yaml", "seed: " + "9" * 30, r"whole number, at least 0 and below 2\^63"),
        ("c.yaml", "tau: " + "9" * 39 + "e+999", "Expected a finite number"),
        ("c.yaml", f"memory: '{'9' * 400}'", "Expected bytes above zero"),
        ("c.yaml", "memory: 9" + "9" * 30 + "TB", "Expected bytes above zero"),
        ("c.yaml", "seed: 2024-02-30", "whole number"),
        ("c.toml", "tool = 3", r"c\.toml: 'tool' is no table\. Expected plain"),
        ("c.toml", "[tool]\nrobaudit = [1]", r"c\.toml: 'robaudit' is no table"),
        (
            "c.toml",
            'a = """\n' + "a" * 5000 + '!\n"""\n[tool.robaudit]\nsed = 1',
            "sed",
        ),
    ],
)
def test_a_configuration_is_refused_by_its_line(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_config(path)


def test_a_configuration_without_an_end_is_not_read_to_it():
    with pytest.raises(ConfigError, match="/dev/zero: it has more than"):
        read_document("/dev/zero")
