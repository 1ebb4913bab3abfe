"""Columns that say something of another, told by their names."""

import pytest

from audit.reports.roles import ERROR, REALISED, is_detail, named, parsed


@pytest.mark.parametrize(
    ("name", "quantity", "count", "detail"),
    [
        ("trace", "trace", 0, False),
        (named("weak", ERROR), "weak", 1, True),
        (named("weak", REALISED), "weak", 1, True),
        (named("weak", REALISED, ERROR), "weak", 2, True),
        ("witness@0.1", "witness@0.1", 0, True),
        ("weak_bound", "weak_bound", 0, True),
        ("bound", "bound", 0, False),
    ],
)
def test_a_detail_has_a_role_or_a_size_or_is_a_bound(name, quantity, count, detail):
    found, roles = parsed(name)
    assert (found, len(roles)) == (quantity, count)
    assert is_detail(name) is detail
