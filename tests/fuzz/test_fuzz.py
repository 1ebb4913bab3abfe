"""Whatever a file of a stranger holds, it is read or refused in three parts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.law import outcome_of, run
from fuzz.parsers import LOADERS, PARSERS

ROOT = Path(__file__).parents[2]
FEW, MANY = 50, 5250
each = pytest.mark.parametrize("parser", PARSERS, ids=lambda one: one.name)
everyone = pytest.mark.parametrize("parser", [*PARSERS, *LOADERS], ids=lambda p: p.name)


@everyone
def test_a_good_file_is_read(parser, tmp_path):
    """A law about damaged files says nothing if all are refused."""
    found = [outcome_of(parser.read, data, tmp_path) for data in parser.seeds()]
    assert "accepted" in {outcome for outcome, _, _ in found}
    assert parser.name == "contract" or {one[0] for one in found} == {"accepted"}


@each
def test_a_changed_file_is_read_or_refused_in_words(parser, tmp_path):
    counts = run(parser, 0, FEW, tmp_path)
    assert counts.faults == []
    assert counts.mutations == FEW
    assert counts.refused


@pytest.mark.slow
@pytest.mark.timeout(1200)
@everyone
def test_many_changed_files_are_read_or_refused_in_words(parser):
    """In a process of its own, whose memory is looked at too."""
    words = ("--match", parser.name, "--first", str(FEW), "--count", str(MANY))
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout
    assert f"{MANY}" in done.stdout
