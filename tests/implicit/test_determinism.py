"""A number of an input depends on nothing but the model, the input and the seed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scans import chunk, columns, scan

from audit.ground.errors import NothingAudited
from audit.reports.json import to_json
from implicit.laws import (
    NORMAL,
    X,
    codes,
    config_of,
    log_density,
    onnx_file,
    push,
    report_of,
)

ROWS = np.concatenate([X * scale for scale in (0.5, 1.0, 1.5, -1.0, 2.0)])
UNTIL = {"rel_error": 0.05, "draws_per_input": 64, "max_draws": 1024}


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    return onnx_file(
        tmp_path_factory.mktemp("flow") / "flow.onnx",
        lambda x, theta, z: (log_density(x, theta), push(x, z)),
        {"x": 3, "theta": 2, "z": 2},
        ["log_prob", "sample"],
    )


def text_of(config):
    """Return a report as text, without what may change from run to run."""
    document = json.loads(to_json(scan(config)))
    for name in ("run", "fingerprint"):
        document.pop(name)
    document["config"] = None
    return json.dumps(document, sort_keys=True)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("more", [{}, UNTIL], ids=["plain", "rel_error"])
@pytest.mark.parametrize("sampling", ["random", "antithetic", "sobol"])
def test_the_batch_size_changes_no_byte(flow, sampling, more):
    if sampling == "sobol":
        more = more | {"draws_per_input": 256}
    config = config_of(flow, ROWS, NORMAL, verify=2, sampling=sampling, **more)
    texts = {text_of(replace(config, batch_size=size)) for size in (1, 7, None)}
    assert len(texts) == 1


@pytest.mark.slow
def test_workers_change_no_byte(flow):
    config = config_of(flow, ROWS, NORMAL, verify=4, **UNTIL)
    alone, shared = (replace(config, workers=n, batch_size=8) for n in (1, 2))
    assert text_of(alone) == text_of(shared)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("more", [{}, UNTIL], ids=["plain", "rel_error"])
def test_a_neighbour_that_is_skipped_changes_no_number(flow, more):
    holed = ROWS.copy()
    holed[4] = np.nan
    kept = np.arange(len(ROWS)) != 4
    whole, rest = (
        report_of(flow, rows, NORMAL, max_skipped=1, **more) for rows in (ROWS, holed)
    )
    assert [row.index for row in rest.skipped] == [4]
    for name in ("kl", "quantile"):
        one, other = columns(whole, name), columns(rest, name)
        for quantity, values in one.items():
            np.testing.assert_array_equal(values[kept], other[quantity])


def test_a_subset_has_the_numbers_of_the_whole(flow):
    config = config_of(flow, ROWS, NORMAL, **UNTIL)
    whole, part = scan(config), scan(replace(config, index=(3, 7, 11)))
    for name in ("kl", "quantile"):
        one, other = columns(whole, name), columns(part, name)
        np.testing.assert_allclose(one["trace"][[3, 7, 11]], other["trace"], 1e-6)


def test_one_round_of_many_rows_is_that_of_one(flow):
    config = config_of(flow, ROWS, NORMAL, **UNTIL)
    together = chunk(config)
    alone = chunk(config, rows=[5])
    for quantity, values in alone.columns["kl"].items():
        found = together.columns["kl"][quantity][5:6]
        np.testing.assert_allclose(found, values, 1e-5, err_msg=quantity)


def test_seeds_change_the_draws(flow):
    config = config_of(flow, ROWS, NORMAL, sampling="random")
    one, other = (columns(scan(replace(config, seed=s))) for s in (0, 1))
    assert (one["trace"] != other["trace"]).all()


def test_the_same_seed_gives_two_models_the_same_noise(tmp_path, flow):
    """Common random numbers: the difference is known better than its parts."""
    other = onnx_file(
        tmp_path / "other.onnx",
        lambda x, theta, z: (log_density(1.01 * x, theta), push(1.01 * x, z)),
        {"x": 3, "theta": 2, "z": 2},
        ["log_prob", "sample"],
    )
    one, two = (columns(report_of(path, ROWS, NORMAL)) for path in (flow, other))
    ratio = np.log(two["trace"] / one["trace"])
    assert ratio.std() < 0.2 * (one["trace_se"] / one["trace"]).mean() + 0.02


# Draws whose derivative is not finite


def holes(x, theta, z):
    """√(|θ₀| − 2 + …) is not a number for |θ₀| < x₂, and its gradient neither."""
    near = torch.sqrt(theta[:, 0].abs() - x[:, 2])
    return log_density(x, theta) + 0 * near, push(x, z)


@pytest.fixture(scope="module")
def holed(tmp_path_factory):
    return onnx_file(
        tmp_path_factory.mktemp("holes") / "holes.onnx",
        holes,
        {"x": 3, "theta": 2, "z": 2},
        ["log_prob", "sample"],
    )


GOOD, BAD = [0.3, -0.2, -0.5], [0.3, -0.2, 0.05]


@pytest.mark.parametrize("more", [{}, UNTIL], ids=["plain", "rel_error"])
def test_a_draw_whose_derivative_is_not_finite_skips_its_input(holed, more):
    x = np.array([GOOD, BAD, GOOD])
    report = report_of(holed, x, NORMAL, max_skipped=1, **more)
    assert [(r.index, r.reason) for r in report.skipped] == [
        (1, "a draw's derivative is not finite")
    ]
    assert np.isfinite(columns(report)["trace"]).all()


def test_it_does_so_when_the_draw_comes_in_a_later_round(holed):
    """|θ₀| < 1e-3 is rare: eight draws miss it, eight thousand do not."""
    x = np.array([GOOD, [0.3, -0.2, 2e-3], GOOD])
    few = {"sampling": "random", "draws_per_input": 8}
    report = report_of(holed, x, NORMAL, max_skipped=1, **few)
    assert not report.skipped
    more = few | {"rel_error": 1e-3, "max_draws": 8192}
    report = report_of(holed, x, NORMAL, max_skipped=1, **more)
    assert [row.index for row in report.skipped] == [1]
    assert "monte_carlo_error" in codes(report)


def test_a_file_with_no_finite_derivative_at_all_is_not_audited(holed):
    with pytest.raises(NothingAudited, match="not finite"):
        report_of(holed, np.array([[0.3, -0.2, 3.0], [0.1, 0.2, 4.0]]), NORMAL)
