"""How much the self-test looks at, and from where on something is something."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audit.families.location_scale import Laplace, Normal
from audit.families.poisson import Poisson
from audit.families.simplex import Categorical
from audit.geometry.divergences import kl
from audit.geometry.frame import Frame
from audit.models.maps import AutogradMap
from audit.nodes.noise import Noise
from audit.verify.selftest import moments, pairing, precision, rows, scores
from audit.verify.selftest.finding import Status
from audit.verify.selftest.heads import _by_chart
from audit.verify.selftest.maps import _moment
from audit.verify.selftest.moments import by_draws
from audit.verify.selftest.pairs import Rows
from audit.verify.selftest.readings import READINGS
from audit.verify.selftest.rows import rows_alone
from audit.verify.selftest.swaps import swaps_of
from audit.verify.selftest.units import _moved, others_of


@pytest.mark.parametrize(("seen", "expected"), [(3.5, 9.0), (3.0, 9.0), (2.9, 8.1)])
def test_strangers_are_within_three_deviations_where_eight_are_expected(
    seen, expected, monkeypatch
):
    """Of 1,024 rows a deviation of a coin's share is 1/64."""
    family = Normal({"loc": (), "scale": ()})
    given = Rows(family, torch.ones(1024, 2), torch.ones(1024), torch.ones(1024, 1))

    def shares(seen, expected):
        left = [0.5 + seen / 64, 0.5 + expected / 64]
        monkeypatch.setattr(pairing, "_share", lambda *_: left.pop(0))
        return pairing.strangers(given)

    found = shares(seen, expected)
    assert (found is not None) is (seen < 3)
    assert (shares(-seen, expected) is not None) is (seen < 3)
    assert shares(0.0, 8.0) is None


@pytest.mark.parametrize("count", [256, 257])
def test_the_order_of_up_to_256_classes_is_looked_for(count):
    """Labels that are all the next class: one exchange after the other is found."""
    theta = torch.arange(count).double().unsqueeze(1)
    logits = 5 * torch.eye(count).double().roll(1, dims=1)
    family = Categorical({"logits": (count,)})
    found = [one.what for one in others_of(Rows(family, logits, theta, theta.long()))]
    assert any("another order" in what for what in found) is (count == 256)


@pytest.mark.parametrize(("place", "power"), [(2, 0.5), (3, 2.0)])
def test_a_covariance_that_is_read_as_its_factor_is_read_as_its_power(place, power):
    """Σ^½ twice is Σ, and Σ² is Σ twice."""
    reading = READINGS[place]
    assert reading.parameter == "scale_tril"
    draws = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 3, 3)))
    factor = draws.tril() + 3 * torch.eye(3).double()
    meant = reading.change(factor)
    torch.testing.assert_close(meant, meant.tril())
    sigma, found = factor @ factor.mT, meant @ meant.mT
    pair = (found @ found, sigma) if power < 1 else (found, sigma @ sigma)
    torch.testing.assert_close(*pair, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("size", "draws"), [(1, 2**16), (32, 2**15), (2**13, 256)])
def test_draws_are_65536_as_long_as_two_million_scores_hold_them(size, draws):
    family = Normal({"loc": (size,), "scale": (size,)})
    phi = torch.ones(1, 2 * size, dtype=torch.float64)
    w = torch.zeros(1, 1, 2 * size, dtype=torch.float64)
    w[..., 0] = 1.0
    found = by_draws(family, phi, w, Noise(0, np.arange(1), 2))
    assert found.how == f"{draws} draws an input"
    # E s² of the location's score is 1/σ²
    assert abs(float(found.mean) - 1) < 5 * float(found.error)
    assert float(found.error) == pytest.approx(math.sqrt(2 / draws), rel=0.3)


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float64, 1e-9), (torch.float32, 1e-4)]
)
@pytest.mark.parametrize(("share", "wrong"), [(0.99, False), (1.01, True)])
def test_a_row_may_change_by_1e_9_in_float64_or_by_what_its_gate_allows(
    dtype, limit, share, wrong, monkeypatch
):
    own = SimpleNamespace(
        rows=4,
        values={},
        tolerance=1e-4,
        network=SimpleNamespace(dtype=dtype, device=torch.device("cpu")),
        taken=lambda index: own,
    )
    monkeypatch.setattr(rows, "precise_of", lambda few: None)
    monkeypatch.setattr(rows, "_batches", lambda few: [("order", share * limit)])
    monkeypatch.setattr(rows, "_run", lambda few, values: 0.0)
    monkeypatch.setattr(rows, "_worst", lambda few, outputs: outputs)
    found = rows_alone(SimpleNamespace(model=SimpleNamespace(subject=own)))
    assert found.status is (Status.FAILED if wrong else Status.PASSED)


@pytest.mark.parametrize("family", [Normal, Laplace])
def test_moments_of_a_quantile_function_are_those_of_its_law(family):
    """Along the location E (∂T · w)² is 1, and along the scale E z²."""
    phi = torch.tensor([[0.5, 2.0]], dtype=torch.float64)
    w = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]], dtype=torch.float64)
    found = _moment(family({"loc": (), "scale": ()}), phi, w, 4096)
    square = 1.0 if family is Normal else 2.0
    expected = torch.tensor([[1.0, square, 1.0 + square]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("sign", [1, -1])
def test_values_are_others_that_moved_by_a_twentieth_of_their_deviation(sign):
    before = torch.tensor([1.0, 3.0, 1.0, 3.0], dtype=torch.float64)  # 2 ± 1
    assert not _moved(before, before)
    assert not _moved(before + sign * 0.049, before)
    assert _moved(before + sign * 0.051, before)
    assert _moved(-before, before)


def test_a_chart_of_each_number_takes_logarithms_of_positive_ones_alone():
    """x -> 3 x, at 0 and on both sides of it, by the chart and without."""
    x = torch.tensor([[0.0, 2.0, -5.0]], dtype=torch.float64)
    frame = Frame(torch.ones(3).double(), torch.arange(3), 3)
    model = SimpleNamespace(
        density=SimpleNamespace(
            parameter_map=AutogradMap(lambda x, held: 3 * x, (3,), torch.float64)
        ),
        rows=lambda index: (x, {}),
    )
    questions = SimpleNamespace(frame=SimpleNamespace(at=lambda index: frame))
    it = SimpleNamespace(in_double=(model,), questions=questions, inputs=np.arange(1))
    root = torch.diag_embed(torch.tensor([[1.0, 2.0, 5.0]], dtype=torch.float64))
    found = _by_chart(it, root)
    torch.testing.assert_close(found, 3 * root, rtol=1e-12, atol=0)


def test_rows_are_run_turned_in_halves_alone_and_among_larger_ones(monkeypatch):
    """What a network was given, call by call; its outputs are its rows again."""
    calls = []

    def call(values):
        calls.append(values["x"][:, 0].tolist())
        return {"y": values["x"]}

    monkeypatch.setattr(rows, "replace", lambda own, **_: own)
    x = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    network = SimpleNamespace(device=torch.device("cpu"))
    own = SimpleNamespace(
        rows=3, values={"x": x}, used=("y",), condition="x", network=network, call=call
    )
    found = dict(rows._batches(own))
    assert list(found) == ["order", "halves", "alone", "neighbours"]
    assert all(torch.equal(outputs["y"], x) for outputs in found.values())
    turned, *others = calls
    assert turned != [1, 2, 3]
    assert sorted(turned) == [1, 2, 3]
    larger = [1, 2, 3, 10, 20, 30]
    assert others == [[1, 2], [3], [1], [2], [3], larger]


def test_numbers_of_float32_are_judged_from_a_millionth_of_the_largest_on():
    """Relative errors of 2 % at 1.0 and 0.1 at what is small."""
    theirs = torch.tensor([1.0, 0.9e-6, torch.inf], dtype=torch.float64)
    ours = torch.tensor([1.02, 0.8e-6, torch.inf], dtype=torch.float64)
    assert precision._apart(ours, theirs) == pytest.approx(0.02)
    theirs[1], ours[1] = 1.1e-6, 1.2e-6
    assert precision._apart(ours, theirs) == pytest.approx(1 / 11)
    theirs[1], ours[1] = 1e-6, 2e-6  # as much as a millionth is at rest
    assert precision._apart(ours, theirs) == pytest.approx(0.02)
    ours[2] = 1.0
    assert precision._apart(ours, theirs) == math.inf


@pytest.mark.parametrize(("off", "wrong"), [(0.0099, False), (0.0101, True)])
@pytest.mark.parametrize("partial", [False, True])
def test_float32_may_be_a_hundredth_off(off, wrong, partial, monkeypatch):
    """In the trace, unless it is one of probes, and in the top eigenvalue."""

    def spectrum(trace, top):
        value = torch.tensor([trace], dtype=torch.float64)
        eigenvalues = torch.tensor([[top]], dtype=torch.float64)
        return SimpleNamespace(
            trace=SimpleNamespace(value=value), eigenvalues=eigenvalues, partial=partial
        )

    def judged(trace, top):
        found = {"own": spectrum(trace, top), "exact": spectrum(1.0, 1.0)}
        monkeypatch.setattr(precision, "_spectrum", lambda form, model: found[form])
        network = SimpleNamespace(dtype=torch.float32)
        own, asked = SimpleNamespace(network=network), kl()
        it = SimpleNamespace(
            model=own,
            is_double=True,
            in_double=("exact",),
            forms=lambda model: {asked: "own" if model is own else "exact"},
        )
        return precision.float32_against_float64(it)

    assert judged(1.0, 1 + off).failed is wrong
    found = judged(1 - off, 1.0)
    assert found.failed is (wrong and not partial)
    assert ("kl.trace" in found.numbers) is not partial


def test_counts_are_listed_to_four_times_as_many_until_all_mass_is_seen(monkeypatch):
    """Of 64 values at first, up to 2¹⁶; none where that is not enough."""
    phi = torch.tensor([[3.0]], dtype=torch.float64)
    family, tried = Poisson({"rate": ()}), []
    found = moments.values_of(family, phi)
    assert float(found.mass.sum()) == pytest.approx(1, abs=1e-9)
    assert float((found.mass * found.values).sum()) == pytest.approx(3, abs=1e-9)
    monkeypatch.setattr(moments, "_whole", lambda law, phi, v: tried.append(len(v)))
    assert moments.values_of(family, phi) is None
    assert tried == [64, 256, 1024, 4096, 16384, 65536]


def test_scores_are_looked_at_along_the_worst_direction_and_two_at_random():
    """All of unit length in the form, where it is finite and not zero."""
    rng = np.random.default_rng(0)
    root = torch.from_numpy(rng.normal(size=(3, 4, 4)))
    jacobian = torch.from_numpy(rng.normal(size=(3, 4, 5)))
    root[1], root[2, 0, 0] = 0.0, torch.inf
    point = SimpleNamespace(jacobian=SimpleNamespace(dense=lambda: jacobian))
    w, usable = scores._directions(root, point, Noise(0, np.arange(3), 2))
    assert w.shape == (3, 3, 4)
    assert usable.tolist() == [[True] * 3, [False] * 3, [False] * 3]
    lengths = (root[0] @ w[0].mT).norm(dim=0)
    torch.testing.assert_close(lengths, torch.ones(3).double())
    v = np.linalg.svd(root[0].numpy() @ jacobian[0].numpy())[2][0]
    worst = jacobian[0].numpy() @ v
    cosine = w[0, 0].numpy() @ worst / np.linalg.norm(w[0, 0]) / np.linalg.norm(worst)
    assert abs(cosine) == pytest.approx(1)


def test_a_location_may_be_exchanged_with_its_own_scale_alone():
    for names, found in (
        (("df", "loc", "scale"), [("loc", "scale")]),
        (("rate",), []),
        (("loc", "covariance_matrix"), []),
        (("a.loc", "a.scale", "b.loc", "b.rate"), [("a.loc", "a.scale")]),
    ):
        assert list(swaps_of(SimpleNamespace(parameters=names))) == found
