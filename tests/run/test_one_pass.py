"""Data go down once and come back once: rows, root and spectrum once a block."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from scans import sample, scan

from audit.families.interface import Family
from audit.measure import block
from audit.models.opened import OpenModel
from audit.verify import local

ROOMS = ("measure", "verify")


@pytest.fixture
def calls(monkeypatch):
    """Count calls by name and by the module of a room that caused them."""
    found = Counter()

    def count(owner, name):
        plain = getattr(owner, name)

        def call(*arguments, **named):
            frame = sys._getframe(1)
            while frame and Path(frame.f_code.co_filename).parent.name not in ROOMS:
                frame = frame.f_back
            found[name, Path(frame.f_code.co_filename).stem if frame else ""] += 1
            return plain(*arguments, **named)

        monkeypatch.setattr(owner, name, call)

    count(OpenModel, "rows")
    count(Family, "root")
    for module in (block, local):
        count(module, "decompose")
    return found


def test_a_block_is_asked_once_beside_preparation_and_verification(calls):
    report = scan(sample("heteroscedastic", verify=16, divergences=("kl",)))
    blocks = -(-report.data.n_audited // report.run["block"])
    assert blocks > 1
    assert calls == {
        ("rows", "shapes"): 1,
        ("root", "preparation"): 1,
        ("root", "records"): 1,
        ("rows", "principal"): 1,
        ("rows", "point"): blocks + 1,  # one more for the selftest
        ("root", "point"): blocks,
        ("decompose", "block"): blocks,
        ("rows", "sites"): 1,
        ("root", "local"): 2,
        ("decompose", "local"): 2,
        ("rows", ""): 3,  # the selftest
        ("root", ""): 1,
        ("root", "ladder"): 1,
    }
