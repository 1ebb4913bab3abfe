"""Killed at any moment, a scan can be resumed, and leaves nothing behind."""

import sys

import pytest
from kills import run


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_killed_and_resumed_is_what_nobody_disturbed():
    hit = run(12, seed=1)
    assert sum(hit.values()) == 12
