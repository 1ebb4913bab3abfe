"""Papers about the project say what the project is: version, licence, form."""

import re
import tomllib
from pathlib import Path

import yaml
from typer.main import get_command

import audit
from audit.cli import app

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CITATION = yaml.safe_load((GITHUB / "CITATION.cff").read_text("utf-8"))
CHANGELOG = (GITHUB / "CHANGELOG.md").read_text("utf-8")
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_citation_is_of_this_version():
    required = {"cff-version", "message", "title", "authors"}  # of CFF 1.2.0
    assert required <= set(CITATION)
    assert CITATION["cff-version"] == "1.2.0"
    assert str(CITATION["version"]) == audit.__version__
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["keywords"] == PROJECT["keywords"]
    assert CITATION["authors"] == [{"name": "robaudit contributors"}]


def test_the_changelog_keeps_its_form():
    assert CHANGELOG.startswith("# Changelog\n")
    versions = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    for released in versions[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", released)
    kinds = re.findall(r"^### (.*)$", CHANGELOG, re.MULTILINE)
    assert kinds
    assert set(kinds) <= KINDS


def test_the_changelog_names_commands_and_options_that_exist():
    commands = get_command(app).commands
    named = re.findall(r"`robaudit ([a-z]+)", CHANGELOG)
    assert len(named) >= 5
    assert set(named) <= set(commands)
    known = {
        word
        for command in commands.values()
        for option in command.params
        for word in option.opts
    }
    flags = re.findall(r"(?<![\w-])--[a-z-]+", CHANGELOG)
    assert len(flags) >= 3
    assert set(flags) <= known


def test_every_python_that_is_promised_is_a_classifier():
    prefix = "Programming Language :: Python :: 3."
    named = {int(c.removeprefix(prefix)) for c in PROJECT["classifiers"] if prefix in c}
    assert min(named) == int(PROJECT["requires-python"].removeprefix(">=3."))
    assert named == {11, 12, 13}
    assert PROJECT["keywords"]
