"""Progress: named stages with their rates, and lines where there is no terminal."""

import time
from itertools import pairwise

import pytest
from scans import sample, scan

from audit.formats import progress
from audit.formats.progress import Pace, shown
from audit.ground import stages


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_pace_says_what_how_much_how_fast_and_how_long_yet(clock):
    pace = Pace()
    pace.began("verify", 128, "checks")
    assert pace.said() == "verify 0/128 checks"
    clock[0] += 10
    pace.moved("verify", 32)
    assert pace.said() == "verify 32/128 checks, 3.2 checks/s, 0:30 left"
    clock[0] += 80
    assert pace.said().endswith("0.356 checks/s, 4:30 left")  # still at 32
    pace.moved("certificate", 128)
    assert pace.said() == "certificate 128/128 checks, 1.42 checks/s"
    pace.moved("verify", 3)
    assert pace.done == 128  # it never goes back
    pace.began("write", 1.0, "")
    assert pace.said() == "write"


def test_a_scan_tells_its_stages_in_order_and_moves_within_a_block():
    told = []

    class Listener:
        def began(self, name, total, unit):
            told.append((name, total, unit))

        def moved(self, name, done):
            told.append((name, done))

    config = sample("heteroscedastic", limit=20, verify=6, sizes=(0.1,))
    with stages.heard_by(Listener()):
        scan(config)
    began = [one for one in told if len(one) == 3]
    assert began == [
        ("open", 1.0, ""),
        ("gates", 1.0, ""),
        ("measure", 20, "inputs"),
        ("verify", 12, "checks"),
        ("write", 1.0, ""),
    ]
    assert "certificate" in {name for name, *_ in told}
    for name, total in (("measure", 20), ("verify", 12)):
        start = told.index(next(one for one in began if one[0] == name))
        end = told.index(began[[one[0] for one in began].index(name) + 1])
        moves = [done for _, done in told[start + 1 : end]]
        assert all(b - a > -1e-9 for a, b in pairwise(moves))
        assert moves[-1] == pytest.approx(total)
        assert any(0 < done < total for done in moves)


def test_where_nobody_watches_a_line_comes_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.05)
    with shown() as tick:
        tick(3, 10)
        stages.stage("verify", 64, "checks")
        stages.reach(16)
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 8
    assert all(line.startswith("robaudit: verify 16/64 checks, ") for line in lines)
    assert all(line.endswith(" left") for line in lines)
    assert "\x1b" not in "".join(lines)
    with shown():
        stages.stage("verify", 64, "checks")
    time.sleep(0.15)
    assert capsys.readouterr().err == ""  # it was over soon enough, and stays silent


def test_unwanted_progress_hears_nothing(capsys):
    with shown(False) as tick:
        tick(1, 2)
        assert not stages.heard()
    assert capsys.readouterr().err == ""
