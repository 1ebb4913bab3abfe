"""Whole scans against independent truths: sample models and small new ones."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scans import DATA, FORMATS, SAMPLES, attacks, columns, sample, scan, written

from audit.formats.reading import headline
from audit.ground.errors import ConfigError, NotDifferentiable, NothingAudited
from audit.reports.json import to_json
from audit.reports.rows import RowsWriter

REFERENCE = np.load(SAMPLES / "reference.npz")
MEASURED = sorted({key.partition(".")[0] for key in REFERENCE.files} & set(DATA))
TRUTH = np.load(SAMPLES / "linear_gaussian_truth.npz")
W, SIGMA, F_X = TRUTH["W"], TRUTH["Sigma"], TRUTH["F_x"]
D = 6
each_format = pytest.mark.parametrize("suffix", FORMATS)


@pytest.mark.sweep(3)
@each_format
@pytest.mark.parametrize("name", MEASURED)
def test_every_input_of_a_sample_model_has_the_reference_numbers(name, suffix):
    found = columns(scan(sample(name, suffix, divergences=("kl",))))
    for quantity in ("trace", "eigenvalue"):
        expected = REFERENCE[f"{name}.{quantity}"]
        np.testing.assert_allclose(found[quantity], expected, rtol=1e-5)


def scale_of(numbers, quantity):
    """Return what a difference is small against: the number itself, or 90°."""
    if quantity == "angle":
        return 90.0
    if quantity == "skew":  # a difference of two exact values, as a share of their sum
        return 10.0
    if quantity.endswith(("_share", "_overlap")):
        return 1.0
    name = quantity.removesuffix("_se").removesuffix("_realised")
    return np.nanmax(np.abs(np.array(numbers[name], float)))


OF_A_SIZE = ("_se", "angle", "skew", "_share", "_overlap")
"""Small beside a size that is known, to which they are compared."""
BLURRED = ("validity_radius", "skew")
"""What is not said of a file that runs in float32 alone."""


def blurred(report):
    """Tell whether small steps were taken in float32, as the report then says."""
    return any(one.code == "verified_in_own_precision" for one in report.warnings)


ACROSS = {"counts", "heteroscedastic"}
"""A discrete law and a continuous one, by default."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ACROSS else [pytest.mark.slow])
        for name in [*MEASURED, "sunspots_quantiles"]
    ],
)
def test_the_formats_of_one_model_give_the_same_report_to_five_digits(name):
    first, *others = (scan(sample(name, suffix, verify=2)) for suffix in FORMATS)
    for divergence, numbers in first.inputs.columns.items():
        for other in others:
            found = other.inputs.columns[divergence]
            assert set(found) == set(numbers)
            for quantity, values in numbers.items():
                if quantity in BLURRED and blurred(other):
                    assert np.isnan(np.array(found[quantity], float)).all()
                    continue
                exact = quantity.endswith(
                    ("_se", "angle", "skew", "_share", "_overlap")
                )
                small = "@" in quantity and blurred(other)
                np.testing.assert_allclose(
                    np.array(found[quantity], float),
                    np.array(values, float),
                    rtol=1e-3 if small else 1e-5,
                    atol=1e-5 * scale_of(numbers, quantity) if exact else 0.0,
                    err_msg=f"{divergence}.{quantity}",
                )


def test_the_penalised_copies_are_told_apart():
    traces = {
        name: scan(sample(name)).divergences["kl"].summary["trace"].mean
        for name in ("heteroscedastic", "heteroscedastic_jacobian")
    } | {
        "heteroscedastic_fisher": scan(sample("heteroscedastic_fisher"))
        .divergences["kl"]
        .summary["trace"]
        .mean
    }
    plain, jacobian, fisher = traces.values()
    assert fisher < jacobian < plain / 2


PRECISIONS = {"auto": 1e-6, "float64": 1e-12}
each_precision = pytest.mark.parametrize("dtype", sorted(PRECISIONS))
TENSORS = {"kl": (0.5, F_X), "quantile": (1.0, W.T @ W)}
MU = np.array([0.1, 0.0, -0.2, 0.0, 0.3, 0.0])
LAW = np.random.default_rng(0).normal(size=(D, 2))


@pytest.fixture
def exact_attacks(tmp_path):
    np.savez(tmp_path / "moments.npz", mean=MU, factor=LAW)
    return attacks(
        gaussian={"sigma": "0.3"},
        fixed_norm={"norm": "0.3"},
        uniform_norm={"max_norm": "0.3"},
        random_direction={"max_norm": "0.3"},
        moments={"file": str(tmp_path / "moments.npz")},
    )


def expected_costs(name):
    c, g = TENSORS[name]
    trace, top = np.trace(g), np.linalg.eigvalsh(g)[-1]
    return {
        "gaussian": c * 0.09 * trace,
        "fixed_norm": c * 0.09 * top,
        "uniform_norm": c * 0.03 * top,
        "random_direction": c * 0.03 * trace / D,
        "moments": c * (np.trace(g @ LAW @ LAW.T) + MU @ g @ MU),
        "trace": trace,
        "eigenvalue": top,
        "radius": math.sqrt(1 / (c * top)),
    }


@each_format
@each_precision
def test_a_linear_gaussian_is_measured_in_closed_form(suffix, dtype, exact_attacks):
    config = sample(
        "linear_gaussian", suffix, attacks=exact_attacks, model={"dtype": dtype}
    )
    report = scan(config)
    for name in TENSORS:
        found = columns(report, name)
        for quantity, value in expected_costs(name).items():
            np.testing.assert_allclose(
                found[quantity], value, rtol=PRECISIONS[dtype], err_msg=quantity
            )


@each_format
@each_precision
def test_a_linear_gaussian_has_its_eigenvalues_and_directions(suffix, dtype, tmp_path):
    path = tmp_path / "rows.npz"
    config = sample("linear_gaussian", suffix, model={"dtype": dtype}, top=3)
    with RowsWriter(str(path)) as rows:
        scan(config, rows=rows)
    found, tolerance = np.load(path), PRECISIONS[dtype]
    assert found["kl.eigenvalues"].shape == (200, 3)
    assert found["kl.directions"].shape == (200, 3, D)
    values = TRUTH["eigenvalues"]
    np.testing.assert_allclose(
        found["kl.eigenvalues"], np.tile(values, (200, 1)), rtol=tolerance
    )
    np.testing.assert_allclose(
        found["quantile.eigenvalues"],
        np.tile(TRUTH["quantile_eigenvalues"], (200, 1)),
        rtol=tolerance,
    )
    for ours in (found["kl.directions"][0], found["kl.directions"][-1]):
        cosines = np.einsum("kd,dk->k", ours, TRUTH["directions"])
        np.testing.assert_allclose(np.abs(cosines), 1.0, rtol=tolerance)
        np.testing.assert_allclose(ours @ ours.T, np.eye(3), atol=10 * tolerance)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("size", ["1e-3", "0.1", "1", "10"])
def test_where_the_form_is_exact_predicted_and_realised_agree_at_every_size(
    size, tmp_path
):
    np.savez(tmp_path / "m.npz", mean=float(size) * MU, factor=float(size) * LAW)
    config = sample(
        "linear_gaussian",
        verify=4,
        attacks=attacks(
            gaussian={"sigma": size},
            fixed_norm={"norm": size},
            uniform_norm={"max_norm": size},
            random_direction={"max_norm": size},
            moments={"file": str(tmp_path / "m.npz")},
        ),
    )
    report = scan(config)
    for divergence in ("kl", "quantile"):
        found = columns(report, divergence)
        for attack in config.attacks:
            ratio = found[f"{attack.label}_ratio"]
            assert np.isfinite(ratio).sum() == 4
            assert np.nanmax(np.abs(ratio - 1)) < 1e-5
            assert np.nansum(found[f"{attack.label}_parted"]) == 0
            check = report.divergences[divergence].verification[attack.label]
            assert (check.n, check.parted) == (4, 0)


def test_the_table_shows_where_prediction_and_truth_part():
    config = sample(
        "heteroscedastic", verify=64, attacks=attacks(fixed_norm={"norm": "1"})
    )
    found = columns(scan(config))
    ratio, parted = found["fixed_norm_ratio"], found["fixed_norm_parted"]
    known = np.isfinite(ratio)
    assert known.sum() == 64
    np.testing.assert_array_equal(parted[known] == 1, np.abs(ratio[known] - 1) > 0.1)
    assert parted[known].any()


def body(report):
    parts = json.loads(to_json(report))
    del parts["run"]
    return json.dumps(parts, sort_keys=True)


@pytest.fixture
def many_rows(tmp_path):
    x = np.load(SAMPLES / "heteroscedastic.npz")["x"]
    rng = np.random.default_rng(0)
    many = x[rng.integers(len(x), size=700)] + rng.normal(size=(700, 10)) * 0.1
    many[300, 4] = np.nan
    path = tmp_path / "many.npz"
    np.savez(path, x=many.astype(np.float32))
    return replace(sample("heteroscedastic"), data=str(path), max_skipped=1, verify=2)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 7},
        pytest.param({"batch_size": 64, "workers": 2}, marks=pytest.mark.slow),
    ],
)
def test_batch_size_and_workers_change_nothing_but_the_run(many_rows, options):
    report = scan(many_rows)
    assert (report.data.n_total, report.data.n_skipped) == (700, 1)
    other = scan(replace(many_rows, **options))
    assert other.run["batch_size"] == options["batch_size"]
    assert body(other) == body(report)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("digits_cnn", marks=pytest.mark.slow),
        "linear_gaussian",
        "posterior_forward_kl",
    ],
)
@pytest.mark.parametrize("verify", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_batch_size_does_not_change_a_byte(name, verify):
    whole = sample(name, verify=verify, limit=100)
    configs = [replace(whole, batch_size=size) for size in (7, 64, 100)]
    bodies = {body(scan(config)) for config in configs}
    assert len(bodies) == 1


def test_a_rows_file_has_the_same_bytes_whatever_the_batch_size(many_rows, tmp_path):
    contents = set()
    for size in (None, 100):
        path = tmp_path / f"{size}.npz"
        with RowsWriter(str(path)) as rows:
            scan(replace(many_rows, batch_size=size), rows=rows)
        contents.add(path.read_bytes())
    assert len(contents) == 1
    assert len(np.load(path)["index"]) == 699


@pytest.mark.slow  # that errors cross to another process: tests/ground/test_errors.py
def test_what_goes_wrong_in_a_worker_keeps_its_words(many_rows, tmp_path):
    np.savez(tmp_path / "m.npz", covariance=np.eye(4))
    law = attacks(moments={"file": str(tmp_path / "m.npz")})
    with pytest.raises(ConfigError, match=r"mean of 4 features.*has 10 free") as found:
        scan(replace(many_rows, attacks=law, workers=2, batch_size=10))
    assert found.value.next_step.startswith("Write the moments")


def mixture_of_planes(x):
    loc = torch.stack([x, x.flip(1) * 2], dim=1)
    scale = torch.stack([torch.exp(x / 3), torch.exp(-x / 3)], dim=1)
    return {"logits": x * 0.5, "loc": loc, "scale": scale}


@pytest.fixture
def drawn(tmp_path):
    x = np.random.default_rng(1).normal(size=(600, 2)).astype(np.float32)
    return written(
        tmp_path,
        mixture_of_planes,
        x,
        {"family": "mixture:normal"},
        divergences=("kl",),
        draws_per_input=64,
        verify=4,
    )


def test_noise_belongs_to_the_input_whatever_the_batch_or_selection(drawn):
    report = scan(drawn)
    assert report.divergences["kl"].estimator == "monte_carlo"
    assert report.divergences["kl"].draws == 64
    assert body(scan(replace(drawn, batch_size=10))) == body(report)
    everything = columns(report)
    few = scan(replace(drawn, index=(5, 300, 599)))
    for quantity in ("trace", "trace_se", "eigenvalue", "gaussian_se"):
        np.testing.assert_allclose(
            columns(few)[quantity], everything[quantity][[5, 300, 599]], rtol=1e-5
        )


def test_another_seed_gives_other_draws_within_their_errors(drawn):
    config = replace(drawn, index=tuple(range(40)), draws_per_input=512, verify=0)
    one, other = (columns(scan(replace(config, seed=seed))) for seed in (0, 1))
    difference = one["trace"] - other["trace"]
    assert (difference != 0).all()
    error = np.hypot(one["trace_se"], other["trace_se"])
    assert (np.abs(difference) < 5 * error).all()
    assert (one["eigenvalue_lower"] <= one["eigenvalue_upper"]).all()


def test_the_complete_data_bound_lies_above_a_mixtures_trace(drawn):
    found = columns(scan(replace(drawn, index=tuple(range(40)), draws_per_input=512)))
    slack = 4 * found["trace_se"]
    assert (found["trace"] <= found["trace_bound"] + slack).all()


def normal_head(x):
    return {"loc": x[:, :1], "scale": x[:, 1:2]}


NORMAL = {"family": "normal", "parameters": {"loc": "loc", "scale": "scale"}}


def test_rows_with_nan_are_skipped_with_their_place_and_change_no_other(tmp_path):
    x = np.load(SAMPLES / "heteroscedastic.npz")["x"].copy()
    np.savez(tmp_path / "clean.npz", x=x)
    x[3, 7], x[140, 0] = np.nan, np.inf
    np.savez(tmp_path / "dirty.npz", x=x)
    config = replace(sample("heteroscedastic"), max_skipped=2)
    clean, dirty = (
        scan(replace(config, data=str(tmp_path / f"{name}.npz")))
        for name in ("clean", "dirty")
    )
    assert [(s.index, s.reason) for s in dirty.skipped] == [
        (3, "input 'x' holds nan at [7]"),
        (140, "input 'x' holds inf at [0]"),
    ]
    assert dirty.exit_code == 0
    kept = [i for i in range(150) if i not in (3, 140)]
    assert dirty.inputs.index == kept
    for quantity, values in columns(dirty).items():
        if quantity != "principal_share":  # of the space of all finite inputs together
            np.testing.assert_array_equal(values, columns(clean)[quantity][kept])


def test_a_row_outside_the_family_is_skipped_with_the_reason(tmp_path):
    x = np.array([[0.0, 1.0], [1.0, -2.0], [2.0, 0.5], [3.0, 0.0]])
    report = scan(written(tmp_path, normal_head, x, NORMAL, verify=0))
    reasons = [(s.index, s.reason) for s in report.skipped]
    assert reasons == [(1, "scale is not positive"), (3, "scale is not positive")]
    assert report.exit_code == 4
    np.testing.assert_allclose(columns(report)["trace"], [3.0, 12.0], rtol=1e-6)


def test_a_gradient_that_is_not_finite_skips_its_row(tmp_path):
    def head(x):
        return {"loc": torch.sqrt(x[:, :1]), "scale": torch.exp(x[:, :1])}

    x = np.array([[4.0], [0.0], [1.0]])
    report = scan(written(tmp_path, head, x, NORMAL, verify=0))
    assert [(s.index, s.reason) for s in report.skipped] == [
        (1, "the gradient is not finite")
    ]
    slope, scale = np.array([1 / 4, 1 / 2]), np.exp([4.0, 1.0])
    expected = (slope / scale) ** 2 + 2
    np.testing.assert_allclose(columns(report)["trace"], expected, rtol=1e-6)


def test_nothing_left_to_audit_says_why(tmp_path):
    x = np.array([[0.0, -1.0], [1.0, -2.0]])
    with pytest.raises(NothingAudited, match=r"input 0: scale is not positive"):
        scan(written(tmp_path, normal_head, x, NORMAL))


def test_a_model_that_ignores_its_input_is_refused(tmp_path):
    def head(x):
        return {"loc": torch.round(x[:, :1]), "scale": torch.ones_like(x[:, :1])}

    x = np.random.default_rng(0).normal(size=(5, 2))
    with pytest.raises(NotDifferentiable, match="is zero at every audited input"):
        scan(written(tmp_path, head, x, NORMAL))


def test_a_row_that_does_not_respond_costs_nothing_and_says_so(tmp_path):
    def head(x):
        return {"loc": torch.relu(x[:, :1]), "scale": torch.ones_like(x[:, :1])}

    x = np.array([[-1.0, 0.0], [2.0, 0.0]])
    report = scan(written(tmp_path, head, x, NORMAL))
    found = columns(report)
    assert found["trace"].tolist() == [0.0, 1.0]
    assert np.isinf(found["radius"]).tolist() == [True, False]
    for quantity in ("radius", "trace", "eigenvalue", "gaussian"):
        summary = report.divergences["kl"].summary[quantity]
        assert (summary.n, summary.n_at_rest, summary.n_infinite) == (2, 1, 0)
    assert report.inputs.outcomes["kl"].at_rest == [0]
    assert "1 of 2 inputs are at rest" in headline(report)


HEADS = {
    "scale": (lambda s: s, "out"),
    "log": (torch.log, "exp(out)"),
    "softplus": (lambda s: torch.log(torch.expm1(s)), "softplus(out)"),
}


def test_the_numbers_do_not_depend_on_how_the_scale_is_written(tmp_path):
    weight = torch.tensor([[0.5, -1.0, 0.3], [0.2, 0.4, -0.7]]).double()
    x = np.random.default_rng(0).normal(size=(20, 3))
    found = {}
    for name, (write, expression) in HEADS.items():

        def head(x, write=write):
            loc, raw = (x @ weight.T).chunk(2, dim=1)
            return {"loc": loc, "out": write(0.3 + raw.square())}

        model = {
            "family": "normal",
            "parameters": {"loc": "loc", "scale": expression},
        }
        folder = tmp_path / name
        folder.mkdir()
        found[name] = columns(scan(written(folder, head, x, model, verify=0)))
    for quantity in ("trace", "eigenvalue", "gaussian", "effective_rank"):
        for name in ("log", "softplus"):
            np.testing.assert_allclose(
                found[name][quantity], found["scale"][quantity], rtol=1e-9
            )


def linear_mean(matrix, sigma):
    m, tril = (torch.from_numpy(a) for a in (matrix, np.linalg.cholesky(sigma)))

    def head(x):
        return {"loc": x @ m.T, "scale_tril": tril.expand(x.shape[0], -1, -1)}

    return head


GAUSSIAN = {
    "family": "multivariate_normal",
    "parameters": {"loc": "loc", "scale_tril": "scale_tril"},
}
SPREAD = np.array([4.0, 1.0, 0.25])
TURN, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))


def powered(exponent):
    return (TURN * SPREAD**exponent) @ TURN.T


@pytest.fixture
def compared(tmp_path):
    def run(matrix):
        x = np.random.default_rng(1).normal(size=(12, 3))
        head = linear_mean(matrix, powered(1))
        return scan(written(tmp_path, head, x, GAUSSIAN, verify=0))

    return run


def test_on_the_mean_parameterisation_no_direction_is_worse_for_the_quantile(compared):
    report = compared(np.eye(3))
    messages = {warning.code: warning.message for warning in report.warnings}
    assert list(messages) == ["isotropic_quantile"]
    assert "on every input no direction is worse" in messages["isotropic_quantile"]
    np.testing.assert_allclose(columns(report, "quantile")["eigenvalue"], 1.0)
    assert np.isnan(columns(report)["angle"]).all()
    direction = np.array(report.worst[0].directions["kl"][0])
    assert abs(direction @ TURN[:, 2]) == pytest.approx(1.0, abs=1e-7)


def test_between_mean_and_whitened_the_worst_directions_are_opposite(compared):
    report = compared(powered(0.25))
    assert report.warnings == []
    np.testing.assert_allclose(columns(report)["angle"], 90.0, atol=1e-5)
    np.testing.assert_allclose(columns(report)["attained"], 0.25, rtol=1e-9)
    worst = report.worst[0].directions
    for name, axis in (("kl", TURN[:, 2]), ("quantile", TURN[:, 0])):
        assert abs(np.array(worst[name][0]) @ axis) == pytest.approx(1.0, abs=1e-7)


def test_on_natural_parameters_both_fear_the_same_direction(compared):
    report = compared(powered(1.0))
    np.testing.assert_allclose(columns(report)["angle"], 0.0, atol=1e-4)
    np.testing.assert_allclose(columns(report)["attained"], 1.0, rtol=1e-9)


def test_whitened_parameters_leave_kl_isotropic(compared):
    codes = [warning.code for warning in compared(powered(0.5)).warnings]
    assert codes == ["isotropic_kl"]


def test_units_and_mask_are_a_congruence_of_the_tensor(tmp_path):
    units = np.array([2.0, 0.5, 1.0, 3.0, 1.0, 0.1])
    np.save(tmp_path / "units.npy", units)
    config = sample(
        "linear_gaussian", units=str(tmp_path / "units.npy"), mask="::2", top=3
    )
    report = scan(config)
    s = np.diag(units)[:, ::2]
    values, vectors = np.linalg.eigh(s.T @ F_X @ s)
    found = columns(report)
    np.testing.assert_allclose(found["trace"], values.sum(), rtol=1e-6)
    np.testing.assert_allclose(found["eigenvalue"], values[-1], rtol=1e-6)
    direction = np.array(report.worst[0].directions["kl"][0])
    assert not direction[1::2].any()
    assert abs(direction[::2] @ vectors[:, -1]) == pytest.approx(1.0, abs=1e-6)


def test_standard_deviations_are_the_units_of_the_features():
    x = np.load(SAMPLES / "linear_gaussian.npz")["x"].astype(np.float64)
    report = scan(sample("linear_gaussian", units="std", verify=4))
    s = np.diag(x.std(axis=0, ddof=1))
    trace = np.trace(s @ F_X @ s)
    np.testing.assert_allclose(columns(report)["trace"], trace, rtol=1e-6)
    ratio = columns(report)["gaussian_ratio"]
    assert np.nanmax(np.abs(ratio - 1)) < 1e-5


def test_median_deviations_are_the_units_of_the_features():
    x = np.load(SAMPLES / "linear_gaussian.npz")["x"].astype(np.float64)
    report = scan(sample("linear_gaussian", units="mad", verify=4))
    s = np.diag(
        np.median(np.abs(x - np.median(x, axis=0)), axis=0) / 0.6744897501960817
    )
    np.testing.assert_allclose(
        columns(report)["trace"], np.trace(s @ F_X @ s), rtol=1e-6
    )


def test_a_feature_that_is_constant_has_no_unit_and_is_told(tmp_path):
    x = np.random.default_rng(0).normal(size=(9000, 3))
    x[:, 1] = 0.1

    def head(x):
        return {"loc": x.sum(dim=1, keepdim=True), "scale": torch.exp(x[:, :1])}

    report = scan(written(tmp_path, head, x, NORMAL, units="std", limit=5))
    assert "constant_features" in [warning.code for warning in report.warnings]
    assert "1 of 3 features are constant" in report.warnings[0].message


def test_in_parameter_space_the_family_itself_is_audited():
    config = sample("heteroscedastic", model={"space": "parameters"})
    found = columns(scan(config))
    assert found["trace"].shape == (150,)
    np.testing.assert_allclose(found["trace"], 1.5 * found["eigenvalue"], rtol=1e-12)
    np.testing.assert_allclose(found["gap"], 0.5, rtol=1e-12)


def test_a_subset_has_the_numbers_it_has_in_the_whole():
    whole = columns(scan(sample("heteroscedastic")))["trace"]
    first = scan(sample("heteroscedastic", limit=20))
    some = scan(sample("heteroscedastic", sample=20, seed=3))
    named = scan(sample("heteroscedastic", index=(7, 3, 7)))
    assert first.inputs.index == list(range(20))
    assert len(set(some.inputs.index)) == 20
    assert named.inputs.index == [3, 7]
    for report in (first, some, named):
        np.testing.assert_allclose(
            columns(report)["trace"], whole[report.inputs.index], rtol=1e-5
        )
    with pytest.raises(ConfigError, match="--index 150 was asked for"):
        scan(sample("heteroscedastic", index=(150,)))


def test_the_worst_inputs_are_ranked_by_the_first_divergence():
    report = scan(sample("heteroscedastic", divergences=("quantile", "kl")))
    top = columns(report, "quantile")["eigenvalue"]
    expected = np.argsort(-top, kind="stable")[:10].tolist()
    assert [worst.index for worst in report.worst] == expected
    for worst in report.worst:
        np.testing.assert_allclose(
            worst.eigenvalues["quantile"][0], top[worst.index], rtol=1e-5
        )


def test_progress_ends_where_it_says():
    told = []
    config = sample("heteroscedastic", limit=30)
    scan(config, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 30)
    assert told[-1] == (30, 30)


@pytest.mark.parametrize(
    ("verify", "limit"), [(2, 20), pytest.param(4, 50, marks=pytest.mark.slow)]
)
def test_a_scan_is_the_same_twice(verify, limit):
    config = sample("digits_cnn", verify=verify, limit=limit)
    assert body(scan(config)) == body(scan(config))


def test_counts_cost_linearly_and_the_exact_distance_agrees():
    config = sample(
        "counts",
        divergences=("quantile",),
        limit=20,
        attacks=attacks(fixed_norm={"norm": "1e-4"}),
    )
    found = columns(scan(config), "quantile")
    assert "trace" not in found
    np.testing.assert_allclose(found["fixed_norm"], 1e-4 * found["linear"], rtol=1e-12)
    expected = REFERENCE["counts.eigenvalue"][:20]
    rate = columns(scan(sample("counts", limit=20)))["model_norm"] ** -1
    np.testing.assert_allclose(found["linear"] ** 2, expected * rate, rtol=1e-5)
