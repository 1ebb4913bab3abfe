"""Scans that make products with the Jacobian alone, beside those that store it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scans import attacks, chunk, columns, scan, written

from audit.geometry.divergences import build_divergence
from audit.ground import stages
from audit.ground.errors import ConfigError
from audit.linalg import krylov
from audit.measure import matrix_free, measure
from audit.measure.columns import PARTIAL, UNSETTLED
from audit.measure.preparation import prepare

WIDE, FEATURES, ROWS = 300, 400, 5
X = np.random.default_rng(0).normal(size=(ROWS, FEATURES))
FACTORS = ("model_norm", "map_norm", "jacobian_norm", "alignment", "rank")


def weights(outputs, seed=1, features=FEATURES):
    random, features = np.random.default_rng(seed), int(features)
    decay = 1 / (1 + np.arange(features)) ** 0.7
    return torch.from_numpy(random.normal(size=(features, outputs)) * decay[:, None])


def hidden(x, outputs, seed=1):
    return torch.tanh(x @ weights(outputs, seed, x.shape[1]) / 4)


def of(name, **expressions):
    return {"family": name, "parameters": expressions}


LAWS = {
    "normal": (
        lambda x: {"loc": hidden(x, WIDE), "s": hidden(x, WIDE, 2)},
        of("normal", loc="loc", scale="exp(s)"),
    ),
    "laplace": (
        lambda x: {"loc": hidden(x, WIDE), "s": hidden(x, WIDE, 2)},
        of("laplace", loc="loc", scale="exp(s)"),
    ),
    "bernoulli": (lambda x: {"l": hidden(x, WIDE)}, of("bernoulli", logits="l")),
    "bernoulli probs": (
        lambda x: {"l": hidden(x, WIDE)},
        of("bernoulli", probs="sigmoid(l)"),
    ),
    "poisson": (lambda x: {"l": hidden(x, WIDE)}, of("poisson", rate="exp(l)")),
    "exponential": (lambda x: {"l": hidden(x, WIDE)}, of("exponential", rate="exp(l)")),
    "categorical": (lambda x: {"l": hidden(x, WIDE)}, of("categorical", logits="l")),
    "categorical probs": (
        lambda x: {"l": hidden(x, WIDE)},
        of("categorical", probs="softmax(l)"),
    ),
    "tokens": (
        lambda x: {"l": hidden(x, WIDE).reshape(-1, 30, 10)},
        of("categorical", logits="l"),
    ),
    "gamma": (
        lambda x: {"a": hidden(x, WIDE), "b": hidden(x, WIDE, 2)},
        of("gamma", concentration="exp(a)", rate="exp(b)"),
    ),
    "log_normal": (
        lambda x: {"loc": hidden(x, WIDE), "s": hidden(x, WIDE, 2)},
        of("log_normal", loc="loc", scale="exp(s)"),
    ),
    "von_mises": (
        lambda x: {"a": hidden(x, WIDE), "b": hidden(x, WIDE, 2)},
        of("von_mises", loc="a", concentration="exp(b)"),
    ),
}


def config(folder, law="normal", x=X, **options):
    function, model = LAWS[law]
    options = {"divergences": ("kl",), "verify": 0} | options
    return written(folder, function, x, model, **options)


def both(asked, divergence="kl"):
    """What products measure, and what the whole Jacobian does."""
    made = (chunk(replace(asked, method=m), False) for m in ("krylov", "dense"))
    return (found.columns[divergence] for found in made)


@pytest.mark.sweep(6)
@pytest.mark.parametrize("law", LAWS)
def test_products_give_the_numbers_of_the_whole_jacobian(tmp_path, law):
    free, dense = both(config(tmp_path, law))
    for name in ("eigenvalue", "radius", "uniform_norm"):
        np.testing.assert_allclose(free[name], dense[name], rtol=1e-6)
    np.testing.assert_allclose(free["gap"], dense["gap"], rtol=1e-3, atol=1e-5)
    apart = np.abs(free["trace"] - dense["trace"])
    assert (apart <= 4.5 * free["trace_se"]).all()
    assert (free["trace_se"] < 0.05 * dense["trace"]).all()
    assert (free["residual"] <= 1e-4).all()


@pytest.mark.sweep(4)
@pytest.mark.parametrize("features", [40, 400])
@pytest.mark.parametrize("divergence", ["kl", "quantile", "hellinger", "wasserstein"])
def test_either_side_may_be_the_small_one(tmp_path, features, divergence):
    asked = config(tmp_path, "normal", X[:, :features], divergences=(divergence,))
    free, dense = both(asked, divergence)
    np.testing.assert_allclose(free["eigenvalue"], dense["eigenvalue"], rtol=1e-6)
    apart = np.abs(free["trace"] - dense["trace"])
    assert (apart <= 4.5 * free["trace_se"] + 1e-9 * dense["trace"]).all()


def test_masks_units_and_moments_mean_the_same(tmp_path):
    random = np.random.default_rng(4)
    np.save(tmp_path / "units.npy", random.uniform(0.5, 2, FEATURES))
    np.savez(tmp_path / "m.npz", factor=random.normal(size=(370, 3)), mean=np.ones(370))
    asked = config(
        tmp_path,
        mask="30:",
        units=str(tmp_path / "units.npy"),
        attacks=attacks(
            moments={"file": str(tmp_path / "m.npz")},
            random_direction={"max_norm": "0.2"},
        ),
    )
    free, dense = both(asked)
    for name in ("eigenvalue", "moments"):
        np.testing.assert_allclose(free[name], dense[name], rtol=1e-6)
    apart = np.abs(free["random_direction"] - dense["random_direction"])
    assert (apart <= 4.5 * free["random_direction_se"]).all()


def test_directions_are_the_same_up_to_what_is_left_open(tmp_path):
    found = []
    for method in ("krylov", "dense"):
        prepared = prepare(config(tmp_path, method=method), True)
        answers = measure(prepared.model, prepared.questions, np.arange(ROWS), ROWS)
        found.append(answers.directions["kl"])
        assert answers.eigenvalues["kl"].shape == (ROWS, 3)
    along = np.abs((found[0] * found[1]).sum(axis=2))
    np.testing.assert_allclose(along[:, 0], 1, atol=1e-5)


def test_what_takes_all_eigenvalues_is_absent_and_says_why(tmp_path):
    prepared = prepare(config(tmp_path, method="krylov"), False)
    answers = measure(prepared.model, prepared.questions, np.arange(ROWS), ROWS)
    found = answers.columns["kl"]
    for name in (*FACTORS, "effective_rank", "map_effective_rank", "von_neumann"):
        assert found[name].missing.all()
        assert found[name].reason(0) == PARTIAL


def test_what_no_law_assumes_is_no_column(tmp_path):
    """A share of the tails is one of heads of quantiles alone."""
    asked = config(tmp_path, method="krylov", divergences=("kl", "quantile"))
    prepared = prepare(asked, False)
    answers = measure(prepared.model, prepared.questions, np.arange(ROWS), ROWS)
    for name in ("kl", "quantile"):
        assert "tail_share" not in answers.columns[name]


def test_half_of_the_work_is_done_when_one_of_two_forms_is(tmp_path):
    class Heard:
        moves = ()

        def began(self, name, total, unit):
            pass

        def moved(self, name, done):
            self.moves += (done,)

    x = X[:, :20]
    config_ = config(tmp_path, "normal", x, divergences=("kl", "hellinger"))
    prepared, listener = prepare(config_, False), Heard()
    with stages.heard_by(listener):
        stages.stage(stages.MEASURE)
        measure(prepared.model, prepared.questions, np.arange(ROWS), ROWS)
    assert listener.moves == pytest.approx((0.45, 0.9))  # a tenth is for the joining


def test_an_input_has_the_same_bits_whoever_is_measured_with_it(tmp_path):
    prepared = prepare(config(tmp_path, method="krylov"), False)
    model, questions = prepared.model, prepared.questions
    whole = measure(model, questions, np.arange(ROWS), 8).columns["kl"]
    part = measure(model, questions, np.array([3, 1, 4, 0]), 8).columns["kl"]
    for name in ("trace", "trace_se", "eigenvalue", "residual", "gap"):
        assert whole[name].numbers[1] == part[name].numbers[1]


def test_the_batch_size_changes_nothing_and_the_seed_little(tmp_path):
    asked = config(tmp_path, method="krylov")
    one, other, third = (
        columns(scan(replace(asked, **change)))
        for change in ({"batch_size": 1}, {"batch_size": 4}, {"seed": 1})
    )
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])
    np.testing.assert_allclose(one["eigenvalue"], third["eigenvalue"], rtol=1e-6)
    assert (one["trace"] != third["trace"]).all()


def test_products_are_chosen_where_both_sides_are_large(tmp_path):
    assert prepare(config(tmp_path), False).questions.matrix_free
    assert not prepare(config(tmp_path, method="dense"), False).questions.matrix_free
    assert not prepare(config(tmp_path, method="exact"), False).questions.matrix_free
    narrow = config(tmp_path, x=X[:, :200])
    assert not prepare(narrow, False).questions.matrix_free


def test_products_are_chosen_where_the_jacobian_is_larger_than_the_memory(tmp_path):
    asked = config(tmp_path, x=X[:, :200])
    assert prepare(replace(asked, memory=2**21), False).questions.matrix_free


def test_a_memory_without_room_for_one_input_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Krylov space"):
        prepare(config(tmp_path, memory=2**16), False)


def test_a_root_that_is_stored_is_held_twice_and_a_cut_once(tmp_path, monkeypatch):
    def function(x):
        below = hidden(x, 9, 3).reshape(-1, 3, 3).tril(-1)
        tril = torch.diag_embed(torch.exp(hidden(x, 3, 2))) + below
        return {"loc": hidden(x, 3), "tril": tril}

    law = of("multivariate_normal", loc="loc", scale_tril="tril")
    model = prepare(written(tmp_path, function, X, law, verify=0), False).model
    both = tuple(map(build_divergence, ("kl", "hellinger")))
    without, one, two = (
        matrix_free.passes_bytes(3, model, asked) for asked in ((), both[:1], both)
    )
    assert two - one == one - without == 2 * 8 * 9 * 9  # B [9, 9]: 3 of loc, 6 of L
    monkeypatch.setattr(matrix_free, "left_bytes", lambda p, d: 10**9 * p * d)
    more = matrix_free.passes_bytes(3, model, both) - two
    assert more == pytest.approx(10**9 * 9 * FEATURES, rel=1e-3)


def test_a_law_without_a_closed_tensor_is_refused(tmp_path):
    def function(x):
        loc, log_scale = (hidden(x, 6, k).reshape(-1, 3, 2) for k in (2, 3))
        return {"l": hidden(x, 3), "m": loc, "s": log_scale}

    model = of("mixture:normal", logits="l", loc="m", scale="exp(s)")
    asked = written(tmp_path, function, X, model, divergences=("kl",), verify=0)
    with pytest.raises(ConfigError, match="no closed form"):
        prepare(replace(asked, method="krylov"), False)


def test_a_linear_distance_is_left_out_by_default_and_refused_if_asked(tmp_path):
    asked = config(tmp_path, "bernoulli", divergences=())
    prepared = prepare(asked, False)
    assert [one.name for one in prepared.questions.divergences] == ["kl"]
    assert any("quantile was not measured" in text for _, text in prepared.notes)
    with pytest.raises(ConfigError, match="takes every row"):
        prepare(replace(asked, method="krylov", divergences=("quantile",)), False)
    dense = prepare(replace(asked, divergences=("quantile",)), False)
    assert not dense.questions.matrix_free


def test_the_space_of_the_parameters_has_no_products(tmp_path):
    asked = config(tmp_path, method="krylov")
    with pytest.raises(ConfigError, match="no Jacobian"):
        prepare(replace(asked, model=replace(asked.model, space="parameters")), False)


def test_an_infinite_price_counts_only_where_the_input_moves_it(tmp_path):
    """Probabilities of exactly 0: one never moves, the other does at input 1."""

    def function(x):
        rest = torch.sigmoid(hidden(x, WIDE))
        still = (x[:, :1] * 0).clamp(0, 1)
        moving = torch.relu(x[:, 1:2]).square() * 0 + (x[:, :1] - 1).clamp_min(0)
        return {"p": torch.cat([rest, still, moving * 1e-3], dim=1)}

    x = X.copy()
    x[:, 0] = 0.5
    asked = written(
        tmp_path,
        function,
        x,
        of("bernoulli", probs="p"),
        divergences=("kl",),
        verify=0,
    )
    free, dense = both(asked)
    assert np.isfinite(free["eigenvalue"]).all()
    np.testing.assert_allclose(free["eigenvalue"], dense["eigenvalue"], rtol=1e-6)


def test_a_model_at_rest_somewhere_is_at_rest_there(tmp_path):
    x = X.copy()
    x[2] = 0

    def function(x):
        gate = (x.abs().sum(dim=1, keepdim=True) > 0).to(x)
        return {"l": gate * hidden(x, WIDE)}

    model = of("bernoulli", logits="l")
    asked = written(tmp_path, function, x, model, divergences=("kl",), verify=0)
    free, dense = both(asked)
    assert free["trace"][2] == dense["trace"][2] == 0
    assert free["eigenvalue"][2] == 0
    assert (free["eigenvalue"][[0, 1, 3, 4]] > 0).all()


def test_exact_values_stand_beside_numbers_from_products(tmp_path):
    asked = config(tmp_path, "bernoulli", verify=2, limit=2, sizes=())
    free, dense = (
        columns(scan(replace(asked, method=method))) for method in ("krylov", "dense")
    )
    for name in ("critical_radius", "uniform_norm_realised"):
        known = np.isfinite(dense[name])
        assert known.any()
        np.testing.assert_allclose(free[name][known], dense[name][known], rtol=1e-5)


def test_the_report_names_the_method(tmp_path):
    report = scan(config(tmp_path, "bernoulli"))
    assert report.run["method"] == "krylov"
    assert any("Krylov spaces" in note for note in report.divergences["kl"].notes)
    assert report.divergences["kl"].summary["residual"].max <= 1e-4


def test_the_longest_of_all_columns_is_refused(tmp_path):
    asked = config(tmp_path, attacks=attacks(worst_case={"norm": "0.1", "p": "1"}))
    with pytest.raises(ConfigError, match="ball p=1"):
        scan(asked)


def test_a_worst_corner_is_found_by_products(tmp_path):
    worst = attacks(worst_case={"norm": "0.1", "p": "inf"})
    free, dense = both(config(tmp_path, attacks=worst))
    np.testing.assert_allclose(free["worst_case"], dense["worst_case"], rtol=1e-5)


def test_an_error_that_no_draw_lessens_is_said_as_that(tmp_path):
    report = scan(config(tmp_path, rel_error=1e-6))
    assert any("probed by products" in one.message for one in report.warnings)


def test_what_has_not_settled_is_absent_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(krylov, "MOST", 3)
    prepared = prepare(config(tmp_path), False)
    answers = measure(prepared.model, prepared.questions, np.arange(ROWS), ROWS)
    found = answers.columns["kl"]
    for name in ("eigenvalue", "radius", "gap", "uniform_norm"):
        assert found[name].missing.all()
        assert found[name].reason(0) == UNSETTLED
    assert np.isfinite(found["trace"].numbers).all()
