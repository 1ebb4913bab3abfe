"""The tutorial: its commands name what exists, and print what it says they print."""

import re
import shlex

import pytest

from audit.config.options import OPTIONS, flag_names
from audit.formats.site.examples import START
from tests.tutorial import (
    DRAWN,
    PICTURE,
    ROOT,
    TUTORIAL,
    difference,
    run,
    said_by,
    scratch,
    steps,
)

STEPS = steps(TUTORIAL.read_text("utf-8"))
OTHERS = {"-f", "-o", "-q", "-v", "--figure", "--index", "--json", "--verbose"}
CONTRACTS = {
    "a normal head": "heteroscedastic.onnx",
    "classes": "digits_cnn.onnx",
    "a series": "sunspots_gru.onnx",
    "a full covariance": "posterior_forward_kl.onnx",
    "a density with its sampler": "linear_posterior.onnx",
    "a density alone": "choice_likelihood.onnx",
    "a transport": "decoder.onnx",
    "a file that says nothing": "heteroscedastic_legacy.onnx",
}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_contract_has_a_worked_audit(contract):
    assert any(f"/{CONTRACTS[contract]}" in step.words for step in STEPS)


def test_every_command_printed_something_and_names_what_exists():
    known = {flag for name in OPTIONS for flag in flag_names(name)} | OTHERS
    for step in STEPS:
        command = step.words.replace("\\\n", " ").partition("|")[0]
        words = shlex.split(command)
        assert words[0] == "robaudit"
        assert {word for word in words if re.match(r"--?[a-z]", word)} <= known
        for word in words:
            if word.startswith("sample_models/"):
                assert (ROOT / word).is_file()
        assert step.printed.strip() or "-q" in words or words[1] == "render"


def test_the_picture_of_the_readme_is_there_and_has_words():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"]({PICTURE.relative_to(ROOT)})" in readme
    assert "inputs" in said_by(PICTURE)
    assert PICTURE.stat().st_size < 30_000


def test_the_readme_is_two_screens_and_begins_with_two_commands():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 120
    code = [line for line in lines if line.startswith("pip install")]
    scan = "robaudit scan sample_models/heteroscedastic"
    assert code[0] == f"pip install . && {scan}.onnx sample_models/heteroscedastic.npz"
    assert code[1] == "pip install -e '.[test]' && pytest"


def test_the_readme_shows_what_the_first_command_prints():
    blocks = re.findall(r"```\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    (shown,) = (block for block in blocks if block.startswith("A perturbation"))
    printed = [line for line in START.printed.splitlines() if line.strip()]
    lines = [line for line in shown.splitlines() if line.strip()]
    assert lines == [line for line in printed if line in lines]


CARDS = sorted(path for path in TUTORIAL.parent.glob("*.md") if path != TUTORIAL)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_every_card_says_what_a_reader_would_decide(path):
    assert f"({path.name})" in TUTORIAL.read_text("utf-8")
    assert "**What you would decide.**" in path.read_text("utf-8")


@pytest.mark.slow
def test_every_command_prints_what_the_tutorial_says():
    with scratch() as (folder, environment):
        for step in STEPS:
            printed = run(step, folder, environment)
            assert difference(step.printed, printed) is None, step.words
        assert said_by(folder / DRAWN) == said_by(PICTURE)
