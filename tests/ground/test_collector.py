"""The search for garbage rests, and goes on as it was."""

import gc

import pytest

from audit.ground.collector import resting


@pytest.fixture(autouse=True)
def as_before():
    """Leave the process's own search as it was."""
    on = gc.isenabled()
    yield
    gc.unfreeze()
    (gc.enable if on else gc.disable)()


def test_nothing_is_searched_in_the_block_and_what_it_made_not_after():
    gc.enable()
    with resting():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(made)


def test_it_goes_on_after_an_error():
    gc.enable()
    with pytest.raises(ImportError), resting():
        raise ImportError
    assert gc.isenabled()


def test_who_turned_it_off_keeps_it_off():
    gc.disable()
    frozen = gc.get_freeze_count()
    with resting():
        assert not gc.isenabled()
    assert not gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_garbage_that_comes_later_is_still_found():
    gc.enable()
    with resting():
        pass
    circle = []
    circle.append(circle)
    del circle
    assert gc.collect() >= 1
