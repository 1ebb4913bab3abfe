"""Every name a report can hold is explained."""

import re
from typing import get_args

import pytest

from audit.formats.answers import answers
from audit.formats.glossary import explain, names, render
from audit.ground.errors import UnknownName
from audit.reports.formulas import ATTACK_QUANTITIES
from audit.reports.judged import Status
from audit.reports.quantities import QUANTITIES, describe


def test_every_name_has_a_formula_and_a_reading():
    for name in names():
        for title, text in explain(name):
            assert title.startswith(name)
            assert len(text) > 10


def test_a_name_has_one_paragraph_unless_it_is_of_two_kinds():
    """A divergence and a family; quantities, or what a column is for, and warnings."""
    warned = {"along", "normalisation", "parted", "score_mean"}
    several = {name for name in names() if len(explain(name)) > 1}
    assert several == {"quantile"} | warned


@pytest.mark.parametrize("row", [*QUANTITIES, *ATTACK_QUANTITIES], ids=lambda r: r.name)
def test_every_quantity_reads_as_sentences(row):
    assert row.reading.endswith(".")
    assert row.formula
    assert describe(row.name) == row


def test_suffixes_and_labels_need_no_rows():
    assert describe("weak") is None
    assert describe("weak", ["weak"]).unit == "{unit}"
    assert (
        "standard error of gaussian_realised"
        in describe("gaussian_realised_se").formula
    )
    assert describe("weak_realised_se", ["weak"]) is not None
    assert describe("nonsense_se") is None


def test_a_row_of_its_own_goes_before_the_suffix():
    assert describe("score_mean_se").formula.startswith("√(tr G / M)")
    assert describe("trace_median_se").formula.startswith("Monte-Carlo standard error")
    assert describe("trace_share").unit == ""
    assert "surely more than 10 %" in describe("gaussian_parted").formula


def test_every_quantity_of_a_report_is_explained(report):
    for divergence in report.divergences.values():
        for quantity in divergence.summary:
            assert explain(quantity)


def test_a_key_is_explained_part_by_part():
    assert [title for title, _ in explain("kl.radius_ratio")] == [
        "kl (divergence)",
        "radius_ratio (quantity)",
    ]
    titles = [title for title, _ in explain("renyi:alpha=0.5.gaussian_se.p95")]
    assert titles == [
        "renyi:alpha=0.5 (divergence)",
        "gaussian_se (quantity)",
        "p95 (statistic)",
    ]


def test_exit_codes_are_explained():
    assert "verdict only" in explain("1")[0][1]


@pytest.mark.parametrize("word", [*get_args(Status), "warn", "waived", "NLL", "PIT"])
def test_the_words_of_a_report_are_explained(word):
    (title, said), *_ = explain(word)
    assert title == f"{word} (word)"
    assert said.endswith(".")


def test_every_question_and_every_unit_of_a_report_is_explained(report):
    asked = [question for question, _ in answers(report)]
    assert {"Worst input", "Trust", "Next"} <= set(asked)
    units = (
        describe(name).unit.format(unit=divergence.unit)
        for divergence in report.divergences.values()
        for name in ("trace", "radius", "critical_radius", "map_norm")
    )
    symbols = {symbol for unit in units for symbol in re.split("[/²]", unit) if symbol}
    assert symbols >= {"nat", "δ", "φ"}
    for word in (*asked, *symbols, "u", "ε", "τ", "F", "J", "G", "median", "exact"):
        (title, said), *_ = explain(word)
        assert title == f"{word} (word)"
        assert said.endswith(".")


@pytest.mark.parametrize(
    ("typed", "word"), [("delta", "δ"), ("tau", "τ"), ("eps", "ε"), ("theta", "θ")]
)
def test_a_symbol_is_asked_for_as_ascii_spells_it(typed, word):
    assert explain(typed) == explain(word)


def test_an_unknown_name_has_a_neighbour():
    with pytest.raises(UnknownName, match=r"'tracee' is not among.*mean 'trace'"):
        explain("tracee")
    with pytest.raises(UnknownName):
        explain("kl.tracee.p95")


def test_rendering():
    assert "λ_max(G)" in render("eigenvalue")
    assert "jensen_shannon" in render(None)
