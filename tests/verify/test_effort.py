"""What checks are foreseen to take: shares of one whole, for what is checked."""

from types import SimpleNamespace

import pytest
from scans import attacks, sample

from audit.ground import stages
from audit.verify import checks
from audit.verify.effort import efforts, shares_of, tasks
from audit.verify.ladder import ladder_of
from verify.sited import sited

SOME = attacks(
    gaussian={"sigma": "0.1"},
    fixed_norm={"norm": "0.2"},
    worst_case={"norm": "0.1"},
    certified={"norm": "0.1"},
)
KINDS = {"search", "certificate", "radius", "validity", "gaussian", "fixed_norm"}


@pytest.mark.parametrize("some", [SOME, SOME[:2], SOME[2:], ()])
@pytest.mark.sweep(2)
@pytest.mark.parametrize("sizes", [None, ()])
def test_shares_of_a_check_are_of_one_whole_and_each_is_something(some, sizes):
    config = sample("linear_gaussian", attacks=some, divergences=("kl", "hellinger"))
    exact, _, prepared = sited(config, 4)
    questions, site = prepared.questions, exact.site
    ladder = ladder_of(questions, sizes, "2")
    *parts, attack = shares_of(questions, ladder)
    followed = [name for name in questions.attacks if name in KINDS]
    if followed:
        assert sum(parts) + attack * len(followed) == pytest.approx(1)
        assert attack > 0
    ladders = {one.name: ladder for one in questions.divergences}
    weights = efforts(questions.divergences, site, ladders)
    assert weights == {"kl": 0.5, "hellinger": 0.5}  # as nobody listens
    found = tasks(questions, [site], ladders, weights)
    own = [task for task in found if task.kind.startswith("kl ")]
    named = [task.kind.removeprefix("kl ") for task in own]
    assert set(named) == KINDS - {"gaussian", "fixed_norm"} | set(followed)
    if followed:
        assert sum(task.size for task in own) == pytest.approx(0.5)


def test_a_site_is_as_much_of_the_work_as_it_has_of_the_rows(monkeypatch):
    """Four rows, of which three are checked together: 3 + 1."""
    config = sample("linear_gaussian", divergences=("kl",))
    _, _, prepared = sited(config, 4)
    ladder = ladder_of(prepared.questions, (), "2")
    lengths, original = [], checks.checked

    def recorded(*given):
        lengths.append(stages._spans[-1].length)
        return original(*given)

    monkeypatch.setattr(checks, "checked", recorded)
    monkeypatch.setattr(checks, "rows_at_once", lambda model: 3)
    rows = prepared.rows[:4]
    with stages.heard_by(SimpleNamespace(began=ignore, expects=ignore, moved=ignore)):
        checks.verify(prepared.model, prepared.questions, rows, ladder)
    assert lengths == pytest.approx([3, 1])


def ignore(*_):
    """Hear nothing of it."""
