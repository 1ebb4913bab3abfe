"""Tables of text: columns, nothing as -, and what is said over several lines."""

from audit.config import options
from audit.config.options import _READERS, OPTIONS
from audit.ground.tables import table
from audit.reports.formulas import FORM_QUANTITIES, TRUST_QUANTITIES
from audit.reports.roles import ERROR, LOWER, UPPER, named


def test_a_row_is_a_line_of_columns_and_what_is_said_below(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "short.txt").write_text(
        "# Said.\n\na | - | |x|² | y\n    Says this,\n    and that.\n\nb | c\n",
        encoding="utf-8",
    )
    assert table(str(tmp_path / "module.py"), "short") == [
        ("a", "", "|x|²", "y", "Says this, and that."),
        ("b", "c", ""),
    ]


def test_ends_and_errors_are_called_as_their_roles_call_them():
    names = {row.name for row in (*FORM_QUANTITIES, *TRUST_QUANTITIES)}
    wanted = {named("eigenvalue", end) for end in (LOWER, UPPER)}
    assert names >= wanted | {named("score_mean", ERROR)}
    assert all(row.formula and row.reading for row in FORM_QUANTITIES)


def test_every_option_has_a_reader_and_a_row_of_its_own():
    rows = table(options.__file__, "options")
    assert [name for name, *_ in rows] == list(OPTIONS) == list(_READERS)
    marks = {mark for row in rows for mark in row[4].split(", ")}
    assert marks == {"", "many", "file only", "names file"}
    assert all(row[-1].endswith((".", "].")) for row in rows)
