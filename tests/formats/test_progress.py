"""Progress: named stages with their rates, and lines where there is no terminal."""

import time
from itertools import pairwise

import pytest
from scans import sample, scan

from audit.formats import progress
from audit.formats.progress import Pace, shown
from audit.ground import stages
from audit.ground.forecast import Task


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
    clock[0] += 5
    pace.moved("verify", 16)
    clock[0] += 5
    pace.moved("verify", 32)
    assert pace.said() == "verify 32/128 checks, 3.2 checks/s, about 0:30 left"
    clock[0] += 80
    assert pace.said().endswith("0.356 checks/s, about 3:32 left")  # still at 32
    pace.moved("certificate", 128)
    assert pace.said() == "certificate 128/128 checks, 1.42 checks/s"
    pace.moved("verify", 3)
    assert pace.done == 128  # it never goes back
    pace.began("write", 1.0, "")
    assert pace.said() == "write"


def test_nothing_is_promised_of_what_nobody_knows(clock):
    pace = Pace()
    pace.began("measure", 100, "inputs")
    pace.expects([Task("measure", 100)], [Task("verify", 5000, 14.0)])
    clock[0] += 5
    pace.moved("measure", 25)
    clock[0] += 5
    pace.moved("measure", 50)
    assert pace.said() == "measure 50/100 inputs, 5 inputs/s"
    pace.expects([Task("measure", 100)], [Task("write", seconds=(0.1, 2.0))])
    assert pace.said() == "measure 50/100 inputs, 5 inputs/s, about 0:11 left"


def test_what_is_known_less_well_is_said_as_two_times(clock):
    pace = Pace()
    pace.began("verify", 2, "checks")
    pace.expects([Task("search", 1.0), Task("attack", 1.0, 3.0)], None)
    for done in (0.25, 0.5, 0.75, 1.0):
        clock[0] += 10
        pace.moved("verify", done)
    # 40 s for a unit of the search, 32 to 50 s: the attack takes 11 to 150 s
    assert pace.left() == "0:11 to 2:30 left"


def test_a_scan_tells_its_stages_in_order_and_moves_within_a_block():
    told, expected = [], []

    class Listener:
        def began(self, name, total, unit):
            told.append((name, total, unit))

        def expects(self, tasks, later):
            expected.append((tasks, later))

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
    (measured, later), (checked, _) = expected
    assert [task.kind for task in measured] == ["measure"]
    assert [task.kind for task in later] == ["verify", "write"]
    assert sum(task.size for task in checked) == pytest.approx(1.0)
    kinds = [task.kind for task in checked]
    attacks = ["gaussian", "uniform_norm"]
    parts = ["search", "certificate", "radius", "validity", *attacks]
    assert kinds == [f"{name} {part}" for name in ("kl", "quantile") for part in parts]
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
        stages.reach(8)
        time.sleep(0.01)
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


def test_a_line_comes_before_the_first_stage_too(monkeypatch, capsys):
    """A live flow may take minutes to become a file, as a model may to open."""
    monkeypatch.setattr(progress, "EVERY", 0.05)
    with shown():
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert set(lines) == {"robaudit: opening the model"}


def test_unwanted_progress_hears_nothing(capsys):
    with shown(False) as tick:
        tick(1, 2)
        assert not stages.heard()
    assert capsys.readouterr().err == ""
