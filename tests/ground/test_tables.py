"""Tables of text: columns, nothing as -, and what is said over several lines."""

from audit.ground.tables import table
from audit.reports.formulas import FORM_QUANTITIES, TRUST_QUANTITIES
from audit.reports.roles import ERROR, LOWER, UPPER, named


def test_a_row_is_a_line_of_columns_and_what_is_said_below(tmp_path, monkeypatch):
    folder = tmp_path / "one_with_tables" / "tables"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    (folder / "short.txt").write_text(
        "# Said.\n\na | - | |x|² | y\n    Says this,\n    and that.\n\nb | c\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert table("one_with_tables", "short") == [
        ("a", "", "|x|²", "y", "Says this, and that."),
        ("b", "c", ""),
    ]


def test_ends_and_errors_are_called_as_their_roles_call_them():
    names = {row.name for row in (*FORM_QUANTITIES, *TRUST_QUANTITIES)}
    wanted = {named("eigenvalue", end) for end in (LOWER, UPPER)}
    assert names >= wanted | {named("score_mean", ERROR)}
    assert all(row.formula and row.reading for row in FORM_QUANTITIES)
