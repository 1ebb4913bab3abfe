"""Draws are doubled until the numbers are known well enough, or there are no more."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from audit.measure import block


@dataclass(frozen=True)
class Asked:
    """What rounds are made of: the draws of an input, and when there are enough."""

    draws: int
    max_draws: int
    rel_error: float | None = 0.1
    matrix_free: bool = False
    divergences: tuple = ()


def rounds(asked, monkeypatch, unsettled, fixed=False):
    """Return the draws of each round, where so many rounds leave a row open."""
    made = []
    answers = SimpleNamespace(placed=lambda rows, again: answers)
    left = list(unsettled)

    def answer(point, questions):
        made.append(questions.draws)
        return answers, {}, {}

    monkeypatch.setattr(block, "answer", answer)
    monkeypatch.setattr(block, "_unsettled", lambda *_: left.pop(0) if left else [])
    cost = SimpleNamespace(fixed=fixed)
    point = SimpleNamespace(family=SimpleNamespace(cost=lambda *_: cost))
    point.refilled = lambda rows: point
    block.answer_all(point, asked)
    return made


@pytest.mark.parametrize(
    ("most", "made"),
    [(255, [64, 128]), (256, [64, 128, 256]), (511, [64, 128, 256]), (64, [64])],
)
def test_draws_are_doubled_up_to_the_most(most, made, monkeypatch):
    assert rounds(Asked(64, most), monkeypatch, [[0]] * 9) == made


def test_draws_are_doubled_until_all_rows_are_known(monkeypatch):
    assert rounds(Asked(64, 4096), monkeypatch, [[0], [1]]) == [64, 128, 256]
    assert rounds(Asked(64, 4096, None), monkeypatch, [[0]]) == [64]
    assert rounds(Asked(64, 4096, matrix_free=True), monkeypatch, [[0]]) == [64]
    assert rounds(Asked(64, 4096), monkeypatch, [[0]], fixed=True) == [64]
