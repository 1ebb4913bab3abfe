"""The data's θ under attack, against closed forms written out here."""

import json
import math
from dataclasses import replace
from html import unescape
from itertools import pairwise

import numpy as np
import pytest
import torch
from scans import SAMPLES, columns, sample, scan, written
from scipy import stats

from audit.config import ModelConfig
from audit.formats import attacked
from audit.formats.html import render as page
from audit.formats.markdown import render as markdown
from audit.formats.table import render as table
from audit.ground.errors import ConfigError, InputError
from audit.ground.shares import share_interval
from audit.linalg.intervals.distances import uniform_distance
from audit.linalg.intervals.means import mean_interval
from audit.measure.preparation import prepare
from audit.models.targets import read_targets
from audit.reports.json import to_json
from audit.reports.report import Report
from audit.verify import Ladder
from audit.verify.calibration import Scores
from audit.verify.under_attack import Scored, under_attack

RNG = np.random.default_rng(8)
X = RNG.normal(size=(60, 3))
NORMAL = {"family": "normal", "parameters": {"loc": "loc", "scale": "scale"}}


def held(config, sizes, key="theta"):
    """Return the scores of every row of the data."""
    prepared = prepare(config, True)
    rows = prepared.rows
    theta = read_targets(prepared.model, key, rows, 2**30)
    ladder = Ladder(tuple(sizes), asked=True)
    return under_attack(prepared.model, prepared.questions, rows, theta, ladder)


def with_theta(config, **arrays):
    """Add arrays to the data of a scan."""
    np.savez(config.data, **np.load(config.data), **arrays)
    return config


def gaussian(x):
    return {"loc": torch.sin(x[:, :1]), "scale": torch.exp(x[:, 1:2] / 2)}


def worse_ends(size):
    """Return x ± ε v [60, 3] of `gaussian` with the sign of the larger divergence."""
    loc, scale, slope = np.sin(X[:, 0]), np.exp(X[:, 1] / 2), np.cos(X[:, 0])
    form = np.zeros((60, 3, 3))
    form[:, 0, 0], form[:, 1, 1] = (slope / scale) ** 2, 2 * 0.25
    v = np.linalg.eigh(form)[1][:, :, -1]

    def kl(x):
        mean, width = np.sin(x[:, 0]), np.exp(x[:, 1] / 2)
        spread = (scale**2 + (loc - mean) ** 2) / (2 * width**2)
        return np.log(width / scale) + spread - 0.5

    ends = np.stack([X + size * v, X - size * v])
    worse = np.stack([kl(x) for x in ends]).argmax(axis=0)
    return ends[worse, np.arange(60)]


def test_a_normal_law_is_held_against_its_closed_form_on_the_side_that_moves_it_more(
    tmp_path,
):
    theta = np.sin(X[:, :1]) + np.exp(X[:, 1:2] / 2) * RNG.normal(size=(60, 1))
    config = with_theta(written(tmp_path, gaussian, X, NORMAL), theta=theta)
    found = held(config, [0.5])
    moved = worse_ends(0.5)
    for x, scores in ((X, found.clean), (moved, found.attacked["direction", 0.5])):
        law = stats.norm(np.sin(x[:, 0]), np.exp(x[:, 1] / 2))
        log_q = law.logpdf(theta[:, 0])
        z = (theta[:, 0] - law.mean()) / law.std()
        depth = stats.chi2(1).cdf(z**2)
        np.testing.assert_allclose(scores.nll, -log_q, rtol=1e-6)
        np.testing.assert_allclose(scores.depth, depth, atol=0.02)
        np.testing.assert_allclose(scores.pit[:, 0], law.cdf(theta[:, 0]), atol=0.01)


def test_the_exact_posterior_covers_as_it_says_and_less_under_attack():
    found = held(sample("linear_gaussian"), [0.1, 0.3, 1.0, 2.0]).record("theta")
    for level, share in found.clean.coverage.items():
        assert share.ci95[0] <= float(level) <= share.ci95[1]
    along = [one for one in found.attacked if one.attack == "direction"]
    inside = [one.coverage["0.9"].value for one in along]
    assert all(a >= b - 0.01 for a, b in pairwise(inside))  # one input of 200 may turn
    assert inside[0] - inside[-1] > 0.4
    assert along[-1].coverage["0.9"].ci95[1] < 0.9
    assert along[-1].nll_loss.ci95[0] > 0


def test_the_pit_of_the_exact_posterior_is_that_of_its_closed_form():
    """Its third coordinate is off by .12 in this very sample: scipy finds p = .006."""
    truth = np.load(SAMPLES / "linear_gaussian_truth.npz")
    data = np.load(SAMPLES / "linear_gaussian.npz")
    gap = data["theta"].astype(float) - data["x"].astype(float) @ truth["W"].T
    u = stats.norm.cdf((gap - truth["b"]) / np.sqrt(np.diag(truth["Sigma"])))
    scores = held(sample("linear_gaussian"), [0.1])
    np.testing.assert_allclose(scores.clean.pit, u, atol=0.02)
    told = scores.record("theta").clean.pit
    for place, pit in enumerate(told):
        exact = stats.kstest(u[:, place], "uniform").statistic
        assert pit.value == pytest.approx(exact, abs=0.01)
        assert pit.ci95[1] - pit.value == pytest.approx(0.09603, abs=1e-4)


@pytest.mark.slow
def test_intervals_of_the_exact_posterior_miss_as_often_as_they_say(tmp_path):
    """Twenty fresh samples: one in twenty intervals may miss, and few more do."""
    truth = np.load(SAMPLES / "linear_gaussian_truth.npz")
    rng = np.random.default_rng(0)
    theta = rng.multivariate_normal(truth["prior_mean"], truth["P"], size=4000)
    noise = rng.multivariate_normal(np.zeros(6), truth["R"], size=4000)
    x = (theta @ truth["A"].T + noise).astype(np.float32)
    np.savez(tmp_path / "fresh.npz", x=x, theta=theta)
    config = replace(sample("linear_gaussian"), data=str(tmp_path / "fresh.npz"))
    clean = held(config, [0.1]).clean
    most = stats.binom.ppf(0.999, 60, 0.05)
    pits = clean.pit.reshape(20, 200, 3)
    off = [uniform_distance(one)[1][0] > 0 for group in pits for one in group.mT]
    assert sum(off) <= most
    missed = 0
    for depth in clean.depth.reshape(20, 200):
        for level in (0.5, 0.9, 0.95):
            low, high = share_interval(int((depth < level).sum()), 200)
            missed += not low <= level <= high
    assert missed <= most


def test_the_exact_posterior_has_the_likelihood_of_its_closed_form():
    truth = np.load(SAMPLES / "linear_gaussian_truth.npz")
    data = np.load(SAMPLES / "linear_gaussian.npz")
    found = held(sample("linear_gaussian"), [0.5])
    v = truth["directions"][:, 0]
    x, theta = data["x"].astype(float), data["theta"].astype(float)
    law = stats.multivariate_normal(np.zeros(3), truth["Sigma"])

    def nll(x):
        return -law.logpdf(theta - x @ truth["W"].T - truth["b"])

    gap = theta - x @ truth["W"].T - truth["b"]
    square = np.einsum("ni,ij,nj->n", gap, np.linalg.inv(truth["Sigma"]), gap)
    np.testing.assert_allclose(found.clean.nll, nll(x), rtol=1e-5)
    np.testing.assert_allclose(found.clean.depth, stats.chi2(3).cdf(square), atol=0.05)
    both = np.stack([nll(x + 0.5 * v), nll(x - 0.5 * v)])
    for attack in ("direction", "witness"):
        attacked = found.attacked[attack, 0.5].nll.numpy()
        np.testing.assert_allclose(np.abs(both - attacked).min(axis=0), 0, atol=1e-5)


def test_the_penalised_twins_lose_less_than_the_plain_network():
    """Input by input from ε = 0.1; by their own intervals from 1, and from 2."""
    sizes = (0.1, 0.3, 1.0, 2.0)
    found = {
        name: held(sample(f"heteroscedastic{name}"), sizes)
        for name in ("", "_fisher", "_jacobian")
    }

    def loss(name, size):
        one = found[name]
        return one.attacked["direction", size].nll - one.clean.nll

    for twin, apart in (("_fisher", 1.0), ("_jacobian", 2.0)):
        for size in sizes:
            assert mean_interval(loss("", size) - loss(twin, size)).lower > 0
        plain, tamed = mean_interval(loss("", apart)), mean_interval(loss(twin, apart))
        assert tamed.upper < plain.lower


def told_of(losses):
    """Return what a report says of attacked θ whose losses [n] are given."""
    nothing = torch.zeros(len(losses), dtype=torch.float64)
    clean = Scores(nothing, nothing, nothing[:, None], None, nothing.bool())
    moved = replace(clean, nll=torch.from_numpy(losses))
    index = np.arange(len(losses))
    found = Scored(index, 8, "kl", clean, {("noise", 1.0): moved})
    return found.record("theta")


def lost_by(losses):
    return told_of(losses).attacked[0].nll_loss


@pytest.mark.parametrize("n", [32, 64, 200])
def test_the_mean_loss_of_a_long_tail_is_missed_no_more_often_than_said(n):
    """Lognormal losses of σ = 1.5, of mean exp(9/8): Hall's interval misses 5 %."""
    rng = np.random.default_rng(5)
    found = [lost_by(np.exp(1.5 * rng.standard_normal(n))).ci95 for _ in range(400)]
    missed = sum(one is not None and one[1] < math.exp(1.125) for one in found)
    assert missed <= stats.binom(400, 0.025).ppf(0.99)


def test_a_mean_loss_of_few_inputs_or_with_infinity_has_no_interval():
    rng = np.random.default_rng(6)
    assert lost_by(rng.normal(size=31)).ci95 is None
    assert lost_by(np.append(rng.normal(size=40), np.inf)).ci95 is None
    low, high = lost_by(rng.normal(size=32)).ci95
    assert low < 0 < high
    assert lost_by(np.full(40, 0.25)).ci95 == (0.25, 0.25)


@pytest.mark.parametrize(("n", "told"), [(31, False), (32, True)])
def test_a_loss_without_an_interval_is_explained(n, told):
    found = told_of(np.linspace(0, 1, n))
    assert (attacked.interval(found.attacked[0].nll_loss) != "–") == told
    said = "so few inputs, or so long a tail, do not tell"
    assert (said in attacked.caption(found)) != told


def test_classes_are_counted_and_their_regions_are_the_likeliest(tmp_path):
    def head(x):
        return {"logits": x}

    model = {"family": "categorical", "parameters": {"logits": "logits"}}
    theta = RNG.integers(0, 3, 60)
    config = with_theta(written(tmp_path, head, X, model), theta=theta)
    found = held(replace(config, draws_per_input=16384), [0.1])
    p = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
    own = p[np.arange(60), theta]
    deeper = np.where(p > own[:, None], p, 0.0).sum(axis=1)
    np.testing.assert_allclose(found.clean.nll, -np.log(own), rtol=1e-9)
    np.testing.assert_allclose(found.clean.depth, deeper, atol=0.03)  # 7 deviations
    told = found.record("theta").clean
    right = float((X.argmax(axis=1) == theta).mean())
    assert told.accuracy.value == pytest.approx(right)
    interval = stats.binomtest(round(60 * right), 60).proportion_ci(method="exact")
    assert told.accuracy.ci95 == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert told.pit == []


@pytest.mark.parametrize("n", [300, pytest.param(800, marks=pytest.mark.slow)])
def test_ranks_of_counts_are_uniform_when_the_law_is_right(tmp_path, n):
    x = RNG.normal(size=(n, 2))

    def head(x):
        return {"rate": torch.exp(x[:, :1] / 2) * 2}

    model = {"family": "poisson", "parameters": {"rate": "rate"}}
    theta = RNG.poisson(np.exp(x[:, :1] / 2) * 2)
    config = with_theta(written(tmp_path, head, x, model), theta=theta)
    found = held(config, [0.1])
    assert stats.kstest(found.clean.pit[:, 0].numpy(), "uniform").pvalue > 0.01
    law = stats.poisson(np.exp(x[:, 0] / 2) * 2)
    below, until = law.cdf(theta[:, 0] - 1), law.cdf(theta[:, 0])
    pit = found.clean.pit[:, 0].numpy()
    assert ((pit > below - 0.06) & (pit < until + 0.06)).all()


def test_where_x_moves_out_of_the_family_theta_is_excluded(tmp_path):
    def head(x):
        return {"loc": x[:, :1], "scale": x[:, 1:2]}

    x = np.abs(X[:, :2]) + 0.5
    config = with_theta(written(tmp_path, head, x, NORMAL), theta=x[:, :1])
    out = int((x[:, 1] <= 1.0).sum())  # F = diag(1, 2)/x₁²: the scale is the worst
    assert out > 5
    found = held(config, [1.0]).record("theta")
    for told in found.attacked[1:]:
        assert told.attack in ("direction", "witness")
        assert (told.n_lost, told.n_excluded) == (out, out)
        assert told.nll.value == np.inf
        assert told.nll.ci95 is None
        assert told.coverage["0.95"].value <= (60 - out) / 60
        assert told.pit == []


def test_witnesses_take_a_divergence_that_has_a_closed_form_or_to_be_asked_for():
    base = sample("linear_gaussian", target_key="theta", limit=8)
    asked = scan(replace(base, sizes=(0.3,), norm="inf")).under_attack
    assert [one.attack for one in asked.attacked] == ["noise", "direction", "witness"]
    assert "the ℓinf norm" in " ".join(asked.notes)
    unasked = scan(replace(base, sizes=())).under_attack
    assert unasked.attacked == []


def test_distances_of_uniform_numbers():
    values = RNG.uniform(size=300)
    distance, (low, high) = uniform_distance(torch.from_numpy(values))
    assert distance == pytest.approx(stats.kstest(values, "uniform").statistic)
    reach = np.sqrt(np.log(2 / 0.05) / 600)
    assert (low, high) == pytest.approx((max(0, distance - reach), distance + reach))


@pytest.mark.parametrize(
    ("theta", "kind", "words"),
    [
        (np.zeros((60, 2)), InputError, "has the shape [2] for one input"),
        (np.zeros(59), InputError, "59 rows, and there are 60 inputs"),
        (np.full(60, np.nan), InputError, "of input 0 is not finite"),
    ],
)
def test_a_theta_that_does_not_fit_is_refused(tmp_path, theta, kind, words):
    config = with_theta(written(tmp_path, gaussian, X, NORMAL), theta=theta)
    with pytest.raises(kind) as caught:
        scan(replace(config, target_key="theta", verify=0))
    assert words in caught.value.given
    assert caught.value.expected
    assert "--target-key" in caught.value.next_step or "Correct" in str(caught.value)


def test_a_column_of_a_table_is_theta_and_no_input(tmp_path):
    theta = RNG.normal(size=(60, 1))
    base = with_theta(written(tmp_path, gaussian, X, NORMAL), theta=theta)
    base = replace(base, target_key="theta", verify=0)
    names = ["theta", *(f"x{i}" for i in range(X.shape[1]))]
    table = np.concatenate([theta, X], axis=1)
    path = str(tmp_path / "table.csv")
    np.savetxt(path, table, "%.17g", ",", header=",".join(names), comments="")
    one, other = (scan(config) for config in (base, replace(base, data=path)))
    assert one.under_attack.clean == other.under_attack.clean
    for name, values in columns(one).items():
        np.testing.assert_array_equal(values, columns(other)[name])


def test_a_key_that_is_not_there_is_refused(tmp_path):
    config = written(tmp_path, gaussian, X, NORMAL)
    with pytest.raises(ConfigError, match="no such key") as caught:
        scan(replace(config, target_key="truth", verify=0))
    assert caught.value.expected == "Its keys are x"
    assert "--target-key" in caught.value.next_step


def test_what_can_be_seen_before_the_scan_is_refused_before_it(tmp_path):
    theta = np.zeros((60, 2))
    config = with_theta(written(tmp_path, gaussian, X, NORMAL), theta=theta)

    def measured(done, total):
        raise AssertionError("the scan began")

    for key in ("theta", "truth"):
        with pytest.raises((ConfigError, InputError), match="--target-key"):
            scan(replace(config, target_key=key, verify=0), measured)


@pytest.mark.parametrize(
    ("family", "parameters", "theta"),
    [
        ("gamma", ("concentration", "rate"), -np.ones(60)),
        ("poisson", ("rate",), np.full(60, 1.5)),
        ("bernoulli", ("probs",), np.full(60, 2)),
    ],
)
def test_a_theta_outside_the_support_is_refused(tmp_path, family, parameters, theta):
    def head(x):
        return {name: torch.sigmoid(x[:, :1]) for name in parameters}

    model = {"family": family, "parameters": {name: name for name in parameters}}
    config = with_theta(written(tmp_path, head, X, model), theta=theta)
    with pytest.raises(InputError, match=f"which {family} excludes") as caught:
        scan(replace(config, target_key="theta", verify=0))
    assert caught.value.expected
    assert caught.value.next_step


def test_a_family_without_a_density_is_refused():
    config = sample("sunspots_quantiles", target_key="theta")
    with pytest.raises(ConfigError, match="A likelihood takes a density"):
        scan(config)


def test_given_draws_do_not_move_with_the_input_and_are_refused(tmp_path):
    """Draws of the clean law would look like the coverage of the attacked one."""
    arrays = dict(np.load(SAMPLES / "choice_likelihood.npz"))
    given = np.repeat(arrays["theta"][:, None], 64, axis=1)
    np.savez(tmp_path / "d.npz", **arrays, given=given)
    model = ModelConfig(str(SAMPLES / "choice_likelihood.onnx"), draws="given")
    base = sample("linear_gaussian", limit=4, verify=0)
    asked = replace(base, model=model, data=str(tmp_path / "d.npz"))
    with pytest.raises(ConfigError, match="those of the inputs as they are") as caught:
        scan(replace(asked, target_key="theta"))
    assert "--target-key" in caught.value.given
    assert "--sampler" in caught.value.next_step


def test_a_file_that_is_a_density_is_held_against_theta_too():
    model = ModelConfig(str(SAMPLES / "choice_likelihood.onnx"))
    base = sample("linear_gaussian")
    data = str(SAMPLES / "choice_likelihood.npz")
    found = held(replace(base, model=model, data=data, limit=2), [0.1]).record("theta")
    assert found.n == 2
    assert np.isfinite(found.clean.nll.value)


def test_the_report_and_every_format_show_it():
    report = scan(sample("heteroscedastic", target_key="theta"))
    told = report.under_attack
    assert (told.n, told.key) == (150, "theta")
    again = Report.model_validate_json(to_json(report))
    assert again.under_attack == told
    assert json.loads(to_json(report))["under_attack"]["clean"]["attack"] == "clean"
    for text in (table(report), markdown(report), page(report)):
        assert "θ 'theta' of 150 inputs" in unescape(" ".join(text.split()))
    assert "Likelihood lost under attack" in page(report)
    assert "Coverage under attack" in page(report)
    assert scan(sample("heteroscedastic")).under_attack is None
