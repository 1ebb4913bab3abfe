"""Statistics of very many values are those of numpy on all of them at once."""

import math
import tracemalloc
from statistics import fmean

import numpy as np
import pytest

from audit.reports import selection, streamed, values
from audit.reports.means import mean_interval
from audit.reports.quantities import PERCENTILES
from audit.reports.selection import Thinned, order_statistics
from audit.reports.series import Sparse, windows
from audit.reports.statistics import order_ranks
from audit.reports.values import Values

N = 40_000


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Windows of a thousand, a small sample, and streaming from 100 inputs on."""
    monkeypatch.setattr(values, "WINDOW", 1000)
    monkeypatch.setattr("audit.reports.series.WINDOW", 1000)
    monkeypatch.setattr(streamed, "FEW", 100)
    monkeypatch.setattr(selection, "SAMPLE", 2000)


def laws():
    random = np.random.default_rng(3)
    whole = random.normal(size=N)
    return {
        "normal": whole,
        "ascending": np.sort(whole),
        "log-normal": np.exp(4 * whole),
        "cauchy": random.standard_cauchy(N),
        "constant": np.full(N, 20.0),
        "few values": random.integers(0, 4, N).astype(float),
        "mostly one": np.where(random.random(N) < 0.97, 1.0, whole),
        "huge": 1e300 * (1 + np.abs(whole)),
        "tiny": 1e-310 * np.abs(whole),
        "far from zero": 1e9 + whole,
        "infinite": np.where(random.random(N) < 0.02, np.inf, whole),
        "both infinite": np.concatenate([[-np.inf, np.inf], whole]),
        "missing": np.where(random.random(N) < 0.6, np.nan, whole),
        "almost all missing": np.where(np.arange(N) % 997 == 0, whole, np.nan),
        "periodic": np.tile(np.sort(whole[:1000]), N // 1000),
    }


@pytest.mark.parametrize("law", laws())
def test_they_are_those_of_the_sorted_values(law):
    numbers = laws()[law]
    found = streamed.summarise(Values.of(numbers))
    known = np.sort(numbers[~np.isnan(numbers)])
    assert found.n == len(known)
    assert found.n_not_measured == len(numbers) - len(known)
    assert found.n_infinite == np.isinf(known).sum()
    assert (found.values["min"], found.values["max"]) == (known[0], known[-1])
    for name, p in PERCENTILES.items():
        place = p * (len(known) - 1)
        low, high = known[math.floor(place)], known[math.ceil(place - 1e-9)]
        wanted = np.quantile(known, p) if np.isfinite([low, high]).all() else high
        assert found.values[name] == pytest.approx(wanted, rel=1e-10, abs=0), name
        ranks = order_ranks(len(known), p)
        ends = None if ranks is None else tuple(known[list(ranks)].tolist())
        assert found.intervals[name] == ends  # order statistics are exact
    finite = known[np.isfinite(known)]
    if len(finite) == len(known):
        scale = np.abs(known).max()
        assert found.values["mean"] == pytest.approx(
            fmean((known / scale).tolist()) * scale, rel=1e-14
        )
        spread = (known / scale).astype(np.longdouble).std(ddof=1) * scale
        assert found.values["std"] == pytest.approx(float(spread), rel=1e-9, abs=1e-300)
        exact, ends = mean_interval(known), found.intervals["mean"]
        assert (ends is None) is (exact is None)
        assert ends is None or ends == pytest.approx(exact, rel=1e-8, abs=1e-300)
        counts, _ = np.histogram(known, 24)
        bins = found.histogram
        if bins is None:
            assert known[-1] - known[0] >= 1e300
            return
        assert sum(bins.counts) == len(known)
        assert (bins.low, bins.high) == (known[0], known[-1])
        if bins.scale == "linear" and len(bins.counts) == 24:
            assert bins.counts == counts.tolist()


@pytest.mark.parametrize("law", ["normal", "few values", "far from zero"])
def test_the_interval_of_the_mean_is_that_of_all_values_at_once(law):
    numbers = laws()[law]
    found = streamed.summarise(Values.of(numbers)).intervals["mean"]
    assert found is not None
    exact = mean_interval(np.sort(numbers))
    assert found[1] - found[0] == pytest.approx(exact[1] - exact[0], rel=1e-6)


def test_infinite_means_are_told_from_those_that_do_not_exist():
    one = streamed.summarise(Values.of(laws()["infinite"]))
    assert (one.values["mean"], one.values["std"]) == (math.inf, math.inf)
    both = streamed.summarise(Values.of(laws()["both infinite"]))
    assert (both.values["mean"], both.values["std"]) == (None, None)
    none = streamed.summarise(Values.unmeasured(500, "why not"))
    assert none.n == 0
    assert set(none.values.values()) == {None}
    assert none.histogram is None


def test_a_sample_that_misleads_costs_a_pass_and_no_exactness():
    numbers = np.random.default_rng(5).permutation(N).astype(float)
    ranks = [0, 7, 399, N // 2, N - 1]
    passes = []

    def through():
        passes.append(1)
        return iter(np.split(numbers, 40))

    wrong = np.linspace(-5.0, -4.0, 500)  # no value is there
    found = order_statistics(through, N, ranks, wrong)
    assert found == {rank: float(rank) for rank in ranks}
    assert len(passes) > 1


def test_without_a_sample_every_value_is_looked_at():
    found = order_statistics(
        lambda: iter([np.array([3.0, 1.0]), np.array([2.0])]), 3, [0, 1, 2], np.zeros(0)
    )
    assert found == {0: 1.0, 1: 2.0, 2: 3.0}


@pytest.mark.parametrize("share", [1.0, 0.9, 0.3])
def test_equal_values_are_counted_and_not_kept(share):
    n, parts = 2_000_000, 40
    ranks = {0, 1, 1000, *(int(p * n) for p in PERCENTILES.values()), n - 1}

    def through():
        for k in range(parts):
            random = np.random.default_rng(k)
            yield np.where(
                random.random(n // parts) < share, 4.0, random.normal(size=1)
            )

    sample = np.sort(np.concatenate([part[:: n // 65536] for part in through()]))
    tracemalloc.start()
    found = order_statistics(through, n, ranks, sample)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    ordered = np.sort(np.concatenate([*through()]))
    assert found == {rank: ordered[rank] for rank in ranks}
    assert peak < 8 * n / 4


def test_what_is_known_at_a_few_places_reads_like_a_column():
    known = Values.of(
        np.array([1.0, np.nan, np.inf]), reasons={"no": np.isnan([1, np.nan, 1])}
    )
    places = np.array([2, 1500, 2999])
    column = Sparse(3000, places, known, "not looked at")
    whole = Values.unmeasured(3000, "not looked at").placed(places, known)
    for found in (
        column.whole(),
        column.take(np.arange(3000)),
        column.take(slice(None)),
    ):
        np.testing.assert_array_equal(found.numbers, whole.numbers)
        assert [found.reason(i) for i in (0, 2, 1500)] == ["not looked at", "", "no"]
    parts = list(column.parts())
    assert [len(part) for part in parts] == [1000, 1000, 1000]
    assert [int((~part.missing).sum()) for part in parts] == [1, 0, 1]
    table = {"a": column, "b": Values.of(np.arange(3000.0))}
    assert [(len(w["a"]), float(w["b"].numbers[0])) for w in windows(table)] == [
        (1000, 0.0),
        (1000, 1000.0),
        (1000, 2000.0),
    ]


@pytest.mark.parametrize("places", [[], [3], [0, 2, 6]])
def test_few_known_values_stand_at_their_places_and_the_others_are_missing(places):
    known = Values.of(10.0 + np.array(places, float))
    series = Sparse(7, np.array(places, np.intp), known, "not asked for")
    whole = np.full(7, np.nan)
    whole[places] = 10.0 + np.array(places, float)
    np.testing.assert_array_equal(series.whole().numbers, whole)
    for rows in (slice(2, 5), slice(0, 0), np.array([6, 3, 1])):
        np.testing.assert_array_equal(series.take(rows).numbers, whole[rows])


@pytest.mark.parametrize(("total", "kept"), [(1500, 1500), (2000, 2000), (80000, 2000)])
def test_a_sample_of_parts_is_of_two_thousand_whatever_their_number(total, kept):
    """Each value is as likely as any other: the mean of a ramp is its middle."""
    thinned = Thinned(total)
    for part in np.split(np.arange(float(total)), 10):
        thinned.add(part)
    found = thinned.sorted()
    assert abs(len(found) - kept) <= 5 * np.sqrt(kept * (1 - kept / total))
    assert (np.diff(found) > 0).all()
    off = abs(found.mean() - (total - 1) / 2)
    assert off <= 5 * total / np.sqrt(12 * kept) * (kept < total)
