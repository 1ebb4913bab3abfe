"""No text of a stranger steers a terminal or commands a CI service."""

import json
import re
import sys
import unicodedata
import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from models.saved import data_file, onnx_file
from reports.synthetic import CONFIG, EIGENVALUES, measured_of
from typer.testing import CliRunner

from audit.cli import app
from audit.cli.supervisor import _said
from audit.formats import FORMATS
from audit.ground.errors import AuditError, ConfigError, boundary, cause
from audit.ground.printable import json_without_commands, printable
from audit.reports.build import build_report

HOSTILE = "\x1b[31mred\x9b0m\r\n::error::x\n  ::warning::y\n##vso[a]##[b]\u202e\u2066"
COMMANDS = re.compile(r"^\s*::|##\[|##\w+\[", re.MULTILINE)
"""What GitHub takes at the start of a line, Azure and GitHub's older one anywhere."""


def harmless(text):
    """Whether nothing but characters with a shape, and line breaks, is in a text."""
    bad = {c for c in text if unicodedata.category(c)[0] == "C" and c != "\n"}
    return not bad and not COMMANDS.search(text)


@given(st.text() | st.text("\x1b[]#:v \n\r\u2028so"), st.booleans())
@example(HOSTILE, True)
@example(":::", False)
@example("###[x]", True)
@example("\u2028::error::", True)
def test_what_is_printable_is_harmless(text, lines):
    found = printable(text, lines)
    assert harmless(found)
    assert lines or "\n" not in found
    assert printable(found, lines) == found
    assert lines or len(found.splitlines()) <= 1


@given(st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="#:")))
def test_plain_text_stays_as_it_is(text):
    assert printable(text) == text


@given(st.dictionaries(st.text("#[]vso"), st.text("#[]vso")))
def test_json_keeps_its_data(data):
    found = json_without_commands(json.dumps(data))
    assert json.loads(found) == data
    assert not COMMANDS.search(found)


@given(st.text(), st.text(), st.text())
def test_every_error_is_harmless_wherever_it_goes(given_, expected, step):
    error = AuditError(given_, expected, step)
    assert harmless(printable(str(error), lines=True))
    assert "\n" not in error.given + error.expected


def test_what_the_supervisor_says_is_harmless(capfd):
    assert _said(HOSTILE, 3) == 3
    assert harmless(capfd.readouterr().err)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, list(map(str, words)))


@pytest.mark.parametrize(
    "words",
    [
        ("check", HOSTILE),
        ("check", f"{HOSTILE}.yaml"),
        ("render", HOSTILE, "-o", f"{HOSTILE}.html"),
        ("explain", HOSTILE),
        ("schema", HOSTILE),
        ("scan", f"{HOSTILE}.onnx", f"{HOSTILE}.npz"),
        ("scan", "m.onnx", "d.npz", "--units", HOSTILE, "--family", HOSTILE),
        ("scan", "m.onnx", "d.npz", "--max", f"{HOSTILE}=3"),
        ("scan", "m.onnx", "d.npz", "-a", HOSTILE),
        ("merge", HOSTILE),
        ("init", "--from", HOSTILE),
        ("diff", HOSTILE, HOSTILE),
        (HOSTILE,),
        ("scan", f"--{HOSTILE}"),
    ],
)
def test_no_command_repeats_what_it_was_given_as_it_is(run, words):
    found = run(*words)
    assert found.exit_code in (2, 3)
    assert harmless(found.stdout + found.stderr), found.stderr


def test_no_name_in_a_model_reaches_a_message_as_it_is(run, tmp_path):
    text = "g (float[n,3] x) => (float[n,3] loc, float[n,3] scale) "
    path = onnx_file(tmp_path, text + "{ loc = Tanh(x)  scale = Exp(x) }")
    for field in ("op_type", "domain", "name"):
        model = onnx.load(path)
        setattr(model.graph.node[0], field, HOSTILE)
        model.graph.node[0].op_type = HOSTILE
        other = tmp_path / f"{field}.onnx"
        onnx.save(model, other)
        found = run("scan", other, data_file(tmp_path), "--family", "normal")
        assert found.exit_code == 3
        assert harmless(found.stdout + found.stderr), found.stderr


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_no_format_of_a_report_holds_a_command(name):
    measured = measured_of(EIGENVALUES)
    model = measured.model.model_copy(update={"family": HOSTILE})
    data = replace(measured.data, source=HOSTILE)
    warned = [("code", HOSTILE)]
    measured = replace(measured, model=model, data=data, warnings=warned)
    config = replace(CONFIG, model=replace(CONFIG.model, path=HOSTILE), data=HOSTILE)
    text = FORMATS[name](build_report(measured, config))
    assert "\x1b" not in text
    assert not COMMANDS.search(text)
    assert "\u202e" not in text


def test_a_warning_of_a_library_is_harmless(run, monkeypatch):
    def warn(_):
        warnings.warn(HOSTILE, UserWarning, stacklevel=1)
        raise ConfigError("given", "expected", "next")

    monkeypatch.setattr("audit.reports.json.read_report", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        found = run("render", "r.json")
    assert "UserWarning" in found.stderr
    assert harmless(found.stderr)


# Causes


TORCHSCRIPT = """The following operation failed in the TorchScript interpreter.
Traceback of TorchScript, serialized code (most recent call last):
  File "code/__torch__/m.py", line 9, in forward
    x: Tensor) -> Tensor:
    y = torch.mm(x, self.w)
        ~~~~~~~~ <--- HERE

Traceback of TorchScript, original code (most recent call last):
  File "/home/somebody/m.py", line 5, in forward
        return x @ self.w
               ~~~~~~~~~~ <--- HERE
RuntimeError: mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)
"""
CPP = """[enforce fail at inline_container.cc:215] . Couldn't parse the version
Exception raised from foo at bar.cpp:3 (most recent call first):
frame #0: c10::Error::Error + 0x56
"""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError(TORCHSCRIPT),
            "RuntimeError: mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)",
        ),
        (
            RuntimeError(CPP),
            "[enforce fail at inline_container.cc:215] . Couldn't parse the version",
        ),
        (ValueError("first\nsecond"), "first"),
        (KeyError("rank"), "KeyError: 'rank'"),
        (MemoryError(), "MemoryError"),
        (RecursionError("too deep"), "too deep"),
        (ValueError("\n\n  indented alone"), "indented alone"),
        (FileNotFoundError(2, "No such file or directory", "x"), "No such file or "),
        (ValueError("a\x1b[31m"), "a\N{REPLACEMENT CHARACTER}[31m"),
    ],
)
def test_the_cause_is_the_first_line_that_says_something(error, said):
    assert cause(error).startswith(said)
    assert "\n" not in cause(error)


@pytest.mark.parametrize("kind", [ValueError, RecursionError, MemoryError, KeyError])
def test_a_boundary_makes_one_error_of_whatever_is_raised(kind):
    @boundary("'f' cannot be read", "Expected g", "Do h", ConfigError)
    def read():
        raise kind("why")

    with pytest.raises(ConfigError, match=r"'f' cannot be read \(.*why.*\)\. Expected"):
        read()


def test_a_boundary_completes_errors_of_our_own_and_lets_others_pass():
    with pytest.raises(AuditError) as found, boundary("x", "Expected g", "Do h"):
        raise ConfigError("given", next_step="Do i")
    assert type(found.value) is ConfigError
    assert str(found.value) == "given. Expected g. Do i."
    with pytest.raises(KeyboardInterrupt), boundary("x", "Expected g", "Do h"):
        raise KeyboardInterrupt
    with pytest.raises(SystemExit), boundary("x", "Expected g", "Do h"):
        sys.exit(3)


def test_numbers_of_a_stranger_do_not_fill_the_screen():
    assert len(str(AuditError("9" * 100_000, "", ""))) < 3000
    assert np.array_equal([len(str(AuditError("9" * 1999)))], [2000])
