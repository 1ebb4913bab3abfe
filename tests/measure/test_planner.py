"""The planner: total, monotone in memory, deaf to batch size, workers and threads."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scans import sample

from audit.config import ScanConfig
from audit.config.layers import override
from audit.config.planned import KEYS
from audit.ground.errors import ConfigError
from audit.measure.plan import DIFFERENCES, IDENTITY, Choice, Shapes
from audit.measure.planner import by_products_alone, planned
from audit.measure.preparation import prepare
from audit.measure.sizing import held

COPIES, BYTES = 4, 8  # of derivatives in float64
MEMORIES = [2**power for power in range(10, 41, 2)]
AFTER = {
    "krylov": lambda s: not s.products() and not s.only,
    "pulled": lambda s: math.isfinite(s.pulled) and not s.only,
    "sweep": lambda s: not s.sweep and not s.only,
    "forward": lambda s: not s.columns() and not s.only,
    "autograd": lambda s: not s.only,
    IDENTITY: lambda s: s.only == IDENTITY,
    DIFFERENCES: lambda s: s.only == DIFFERENCES,
}
"""What each way of taking J asks of the shapes."""


def shapes(random):
    """Return shapes of any kind of model, question and data."""
    one_of = random.choice
    p, d = (int(2 ** random.uniform(0, 15)) for _ in range(2))
    kept = int(one_of([0, 1, 64, 4096]))
    passes = int(2 ** random.uniform(10, 34))
    refused, unknown = one_of(["", "no"]), one_of(["", "no"])
    return Shapes(
        p,
        d,
        int(random.integers(1, d + 1)),
        kept,
        int(kept * one_of([1, 16])),
        bool(kept == 0 or one_of([True, False])),
        float(one_of([math.inf, 1, 300, 5000])),
        int(2 ** random.uniform(0, 20)),
        int(2 ** random.uniform(12, 40)),
        str(one_of(["", "", "", IDENTITY, DIFFERENCES])),
        str(one_of(["", "no rule"])),
        (4, 8),
        BYTES * p,
        None,
        None,
        lambda: str(refused),
        lambda: str(unknown),
        lambda: passes,
    )


RANDOM = [shapes(np.random.default_rng(seed)) for seed in range(400)]


def made(it, fixed=None, method="auto"):
    """Return a plan, or None where one input is too large for the memory."""
    try:
        return planned(it, fixed, method)
    except ConfigError as error:
        in_words(error, "--memory allows")
        return None


def in_words(error, expected=""):
    assert error.given
    assert error.expected.startswith(expected)
    assert error.expected
    assert error.next_step


def test_there_is_a_plan_for_all_shapes_or_one_input_is_too_large():
    found = [(it, made(it)) for it in RANDOM]
    for it, plan in found:
        if plan is None:
            continue
        assert AFTER[plan.rows.value](it)
        assert 1 <= plan.inputs <= max(1, it.total)
        assert plan.inputs & (plan.inputs - 1) == 0
        assert all(plan.record()["why"].values())
    ways = {plan.rows.value for _, plan in found if plan}
    assert ways == set(KEYS["rows"].values)
    assert any(plan is None for _, plan in found)


def test_what_is_stored_fits_the_memory():
    for it in RANDOM:
        plan = made(it)
        if plan is not None and plan.rows.value != "krylov":
            numbers = max(it.kept, it.most) * it.p + it.stored * it.p * it.d
            assert COPIES * BYTES * numbers * plan.inputs <= it.memory


def test_more_memory_never_makes_less_of_it():
    order = {"krylov": 0}
    for it in RANDOM:
        found = [made(replace(it, memory=memory)) for memory in MEMORIES]
        known = [plan for plan in found if plan is not None]
        assert found == [None] * (len(found) - len(known)) + known
        ways = [order.get(plan.rows.value, 1) for plan in known]
        assert ways == sorted(ways)
        for way in (0, 1):
            chunks = [p.inputs for p, w in zip(known, ways, strict=True) if w == way]
            assert chunks == sorted(chunks)
        assert len({plan.rows.value for plan in known}) <= 2


def test_products_are_planned_only_where_both_sides_are_long_or_memory_is_short():
    it = Shapes(257, 257, 257, 0, 0, True, math.inf, 100, 2**30)
    assert made(it).rows.value == "krylov"
    assert made(replace(it, free=256)).rows.value == "autograd"
    assert made(replace(it, p=256)).rows.value == "autograd"
    assert made(replace(it, p=256, memory=2**20)).rows.value == "krylov"
    assert made(it, method="dense").rows.value == "autograd"
    assert made(replace(it, products=lambda: "no")).rows.value == "autograd"


@pytest.mark.parametrize("key", [k for k in KEYS if k not in ("threads",)])
def test_what_is_fixed_is_had_or_refused_in_three_parts(key):
    for it in RANDOM[:150]:
        for value in KEYS[key].values or ("1", "7", "100000000"):
            try:
                plan = planned(it, {key: value})
            except ConfigError as error:
                in_words(error)
                continue
            assert str(plan.record()[key]) == value
            if key == "rows":
                assert AFTER[value](it)


def test_a_side_that_does_not_fit_is_refused():
    it = Shapes(4, 40_000, 40_000, 0, 0, True, math.inf, 10, 2**30)
    assert planned(it, {"side": "rows"}).side == Choice("rows", "as --plan asks", True)
    with pytest.raises(ConfigError, match=r"23\.8 GiB.*--memory allows 1\.0 GiB"):
        planned(it, {"side": "features"})


def test_a_chunk_grows_where_filling_up_the_last_one_is_a_small_part_of_all():
    def chunk(total, d=64):
        return planned(Shapes(20, d, d, 0, 0, True, math.inf, total, 2**30)).inputs

    assert [chunk(n) for n in (1, 511, 512, 4095, 4096, 10**7)] == [
        *(1, 256, 512, 512, 1024, 1024)
    ]
    assert chunk(10**7, d=640) == 128  # no more fit the cache
    for total in range(4096, 9000, 7):
        assert -total % chunk(total) < 0.25 * total


def test_a_chunk_that_does_not_fit_is_refused():
    it = Shapes(100, 1000, 1000, 0, 0, True, math.inf, 10, 4 * 8 * 10**5 * 3)
    assert planned(it, {"chunk": "3"}).inputs == 3
    with pytest.raises(ConfigError, match="chunk=4 was given, and 3 inputs fit"):
        planned(it, {"chunk": "4"})


def test_a_method_and_a_plan_that_disagree_are_refused():
    it = Shapes(300, 300, 300, 0, 0, True, math.inf, 10, 2**30)
    for method, rows in (("krylov", "autograd"), ("dense", "krylov")):
        with pytest.raises(ConfigError, match=f"--method {method} was given too"):
            planned(it, {"rows": rows}, method)
    assert planned(it, {"rows": "krylov"}, "krylov").by_products


@pytest.mark.parametrize(
    "asked",
    [
        {"batch_size": 3},
        {"workers": 2},
        {"threads": 5},
        {"engine": "ray"},
        {"verify": 9},
        {"seed": 7},
    ],
)
def test_a_plan_does_not_depend_on_who_does_it(asked):
    plain = prepare(sample("digits_cnn"), True).questions.plan
    assert prepare(replace(sample("digits_cnn"), **asked), True).questions.plan == plain


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("rows=sweep", {"rows": "sweep"}),
        (" side=rows , chunk = 16", {"side": "rows", "chunk": "16"}),
        ({"chunk": 16}, {"chunk": "16"}),
        ("out/report.json", {"report": "out/report.json"}),
    ],
)
def test_a_plan_is_read(written, found):
    assert override(ScanConfig(), "command line", plan=written).plan == found


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("speed=3", "keys among rows, side, cut, .*, not 'speed'"),
        ("rows=fast", "rows= sweep or autograd or .*, not 'fast'"),
        ("chunk=0", "chunk= a whole number from 1 .*, not '0'"),
        ("chunk=", "chunk= a whole number from 1 .*, not ''"),
        ("rows=sweep,rows=sweep", "Expected 'rows' once"),
        ("a.json,b.json", "KEY=VALUE,... or the path of a report"),
        ("", "KEY=VALUE,... or the path of a report"),
        ({"side": 3}, "side= smaller or rows or features .*, not '3'"),
        ({"report": "r.json", "side": "rows"}, "not 'report'"),
    ],
)
def test_what_is_no_plan_is_refused_in_three_parts(written, said):
    with pytest.raises(ConfigError, match=said) as caught:
        override(ScanConfig(), "command line", plan=written)
    assert caught.value.given.startswith("--plan is ")
    assert "robaudit explain plan" in caught.value.next_step


@pytest.mark.parametrize(
    ("sides", "fixed", "method", "alone"),
    [
        ((2, 3, 3), {}, "krylov", True),
        ((2, 3, 3), {"rows": "krylov"}, "auto", True),
        ((10**5, 10**5, 10**5), {}, "auto", True),
        ((2, 3, 3), {}, "auto", False),
        ((10**5, 10**5, 10**5), {}, "dense", False),
        ((10**5, 10**5, 10**5), {"rows": "sweep"}, "auto", False),
    ],
)
def test_what_is_asked_for_decides_whether_products_are_all_there_is(
    sides, fixed, method, alone
):
    assert by_products_alone(*sides, 2**30, fixed, method) == alone


@pytest.mark.parametrize(("p", "free"), [(40, 40), (40, 39), (39, 40)])
def test_a_side_that_is_no_longer_than_the_other_costs_no_more(p, free):
    """A larger Gram matrix takes room of its own, 16 bytes for each entry."""
    it = Shapes(p, 50, free, 0, 0, True, math.inf, 9, 2**30)
    least = it.memory // held(it, Choice("autograd", ""), None)
    for side, size in (("rows", p), ("features", free)):
        found = it.memory // held(it, Choice("autograd", ""), Choice(side, ""))
        more = 16 * size**2 if size > min(p, free) else 0
        assert found == pytest.approx(least + more, abs=9)


def test_a_sweep_alone_pulls_inputs_back_together():
    """As many as its widest step says; with rows taken otherwise there is no pull."""
    plans = [made(it) for it in RANDOM]
    swept = [plan for plan in plans if plan and plan.rows.value == "sweep"]
    assert len(swept) > 9
    assert {plan.pull.value for plan in swept} == {4}
    others = [plan for plan in plans if plan and plan.rows.value != "sweep"]
    assert len(others) > 9
    assert all(plan.pull is None for plan in others)
