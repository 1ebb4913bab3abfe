"""Values on the extended real line: an outcome for each, a reason where none is."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.reports.values import UNKNOWN, Outcome, Values, join

NUMBERS = st.sampled_from([0.0, 1.0, -2.5, np.inf, np.nan])
ROWS = st.lists(st.tuples(NUMBERS, st.booleans(), st.sampled_from(["", "a", "b"])))


def made(rows):
    """Return values from (number, at rest, reason)."""
    numbers = np.array([number for number, _, _ in rows], float)
    rest = np.array([still for _, still, _ in rows], bool)
    said = [why for _, _, why in rows]
    reasons = {why: np.array([w == why for w in said], bool) for why in ("a", "b")}
    return Values.of(numbers, rest, reasons)


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_every_value_has_one_outcome_and_none_is_missing_without_a_reason(rows):
    values = made(rows)
    for row, (number, still, why) in enumerate(rows):
        outcome = values.outcome(row)
        if np.isnan(number):
            assert outcome is Outcome.NOT_MEASURED
            assert values.reason(row) == (why or UNKNOWN)
        elif still:
            assert outcome is Outcome.AT_REST
        else:
            assert outcome is (Outcome.INFINITE if np.isinf(number) else Outcome.FINITE)
        if np.isfinite(number):
            assert values.reason(row) == ""


@settings(max_examples=100, deadline=None)
@given(ROWS, ROWS)
def test_values_joined_are_those_of_the_parts(first, second):
    whole, parts = join([made(first), made(second)]), made([*first, *second])
    np.testing.assert_array_equal(whole.numbers, parts.numbers)
    np.testing.assert_array_equal(whole.rest, parts.rest)
    for row in range(len(whole)):
        assert whole.reason(row) == parts.reason(row)
        assert whole.outcome(row) is parts.outcome(row)


@settings(max_examples=60, deadline=None)
@given(ROWS.filter(len), ROWS.filter(len), st.data())
def test_replaced_rows_are_the_new_ones_and_the_others_stay(older, newer, data):
    count = min(len(older), len(newer))
    places = data.draw(st.permutations(range(len(older))))[:count]
    found = made(older).placed(np.array(places), made(newer[:count]))
    expected = dict(enumerate(older)) | dict(zip(places, newer, strict=False))
    for row, (number, _, _) in expected.items():
        np.testing.assert_equal(found.numbers[row], number)
    again = Values.from_plain(found.plain())
    assert [again.reason(r) for r in range(len(again))] == [
        found.reason(r) for r in range(len(found))
    ]


def test_what_is_explained_is_counted_once():
    values = made([(np.nan, False, "a"), (np.inf, False, "b"), (1.0, False, "a")])
    found = {why: rows.tolist() for why, rows in values.explained().items()}
    assert found == {"a": [True, False, False], "b": [False, True, False]}
