"""What makes two scans one question: which array of the data is read, and how."""

from dataclasses import replace

import pytest

from audit.reports.identity import changes_numbers, fingerprint, key_of
from reports.synthetic import CONFIG


@pytest.mark.parametrize(
    ("data", "condition", "key"),
    [
        ("d.npz::y", None, "y"),
        ("d.npz", "z", "z"),
        ("d.npz", None, None),
        ("d.npz::y", "y", "y"),
    ],
)
def test_the_key_of_the_data_may_be_said_in_either_way(data, condition, key):
    assert key_of(data, condition) == key


def test_scans_of_one_array_are_one_question_however_it_is_named():
    def asked(data, condition):
        model = replace(CONFIG.model, condition_key=condition)
        return fingerprint(["m"], "d", replace(CONFIG, model=model, data=data))

    assert asked("d.npz::y", None) == asked("e.npz", "y")
    assert asked("d.npz::y", None) != asked("d.npz::z", None)
    assert asked("d.npz::y", None) != asked("d.npz", None)


def test_an_option_changes_numbers_unless_its_row_says_otherwise():
    """What is not known may: a fingerprint is rather of two questions than of one."""
    kinds = {"seed": True, "batch_size": False, "workers": False, "limit": True}
    assert {name: changes_numbers(name) for name in kinds} == kinds
    assert changes_numbers("no such option")
