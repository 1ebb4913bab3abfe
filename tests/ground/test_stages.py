"""Stages of the work, and shares of them."""

import threading

import pytest

from audit.ground import stages


class Heard:
    def __init__(self):
        self.told = []

    def began(self, name, total, unit):
        self.told.append((name, total, unit))

    def expects(self, tasks, later):
        self.told.append((*tasks, later))

    def moved(self, name, done):
        self.told.append((name, round(done, 9)))


@pytest.fixture
def heard():
    listener = Heard()
    with stages.heard_by(listener):
        yield listener


def test_steps_are_shares_of_the_part_that_is_under_way(heard):
    stages.stage("verify", 80, "checks")
    with stages.part(0.5):
        stages.step(0.5)
        with stages.part(0.25, "certificate"):
            stages.step(0.5)
        with stages.part(1.0):
            pass
    stages.step(9.0)
    assert heard.told == [
        ("verify", 80, "checks"),
        ("verify", 20.0),
        ("certificate", 20.0),
        ("certificate", 25.0),
        ("verify", 30.0),
        ("verify", 40.0),
        ("verify", 40.0),
        ("verify", 80.0),
    ]


def test_a_part_that_fails_is_over_all_the_same(heard):
    stages.stage("measure", 10, "inputs")
    with pytest.raises(ValueError, match="inside"), stages.part(0.3):
        raise ValueError("inside")
    stages.step(0.2)
    assert heard.told[-1] == ("measure", 5.0)


def test_counts_and_a_new_stage_end_what_was_under_way(heard):
    stages.stage("measure", 10, "inputs")
    with stages.part(0.9):
        stages.reach(4)
        stages.step(0.1)
    stages.stage("write")
    stages.step(0.5)
    assert heard.told[-3:] == [("measure", 5.0), ("write", 1.0, ""), ("write", 0.5)]
    stages.stage("write", 0, "files")
    stages.reach(0)


def test_what_is_to_come_is_told_too(heard):
    stages.stage("measure", 10, "inputs")
    stages.expect(["a", "b"], ["c"])
    stages.expect(["d"])
    assert heard.told[1:] == [("a", "b", ["c"]), ("d", None)]


def test_without_a_listener_nothing_is_counted():
    assert not stages.heard()
    stages.stage("measure", 10, "inputs")
    with stages.part(0.5):
        stages.step(1.0)
    stages.reach(3)
    stages.expect([], [])
    listener = Heard()
    with stages.heard_by(listener):
        assert stages.heard()
        stages.step(0.5)
    assert listener.told == []


def test_other_threads_do_not_move_what_this_one_tells(heard):
    stages.stage("measure", 10, "inputs")

    def help_along():
        assert not stages.heard()
        stages.step(0.5)
        with stages.part(0.5):
            stages.step(1.0)
        stages.stage("verify", 3, "checks")

    thread = threading.Thread(target=help_along)
    thread.start()
    thread.join()
    stages.step(0.1)
    assert heard.told == [("measure", 10, "inputs"), ("measure", 1.0)]
