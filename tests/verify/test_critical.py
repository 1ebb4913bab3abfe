"""Critical radii: exact on the divergence, by onnxruntime and formulas of textbooks."""

import math
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from scans import DATA, SAMPLES, attacks, columns, sample, scan, written

from audit.families import build_family
from audit.formats.reading import headline
from audit.nodes.noise import Noise
from audit.reports.rows import RowsWriter
from audit.verify import critical
from audit.verify.critical import critical_radius
from audit.verify.exact import Attained
from verify.independent import Plain

NORMAL = {"family": "normal", "parameters": {"loc": "loc", "scale": "scale"}}


def normal_kl(a, b):
    """KL of products of normals [n], from (loc, log_scale) each [n, k]."""
    (m, s), (n, t) = a, b
    return (t - s + (np.exp(2 * s) + (n - m) ** 2) / (2 * np.exp(2 * t)) - 0.5).sum(1)


def logits_kl(a, b):
    """KL of categorical laws [n], from logits [n, K]."""
    p, q = (x - x.max(1, keepdims=True) for x in (*a, *b))
    p, q = (x - np.log(np.exp(x).sum(1, keepdims=True)) for x in (p, q))
    return (np.exp(p) * (p - q)).sum(1)


def poisson_kl(a, b):
    """KL of products of Poisson laws [n], from log rates [n, k]."""
    (x,), (y,) = a, b
    return (np.exp(x) * (x - y) - np.exp(x) + np.exp(y)).sum(1)


HEADS = {
    "heteroscedastic": (("loc", "log_scale"), normal_kl),
    "heteroscedastic_jacobian": (("loc", "log_scale"), normal_kl),
    "heteroscedastic_fisher": (("loc", "log_scale"), normal_kl),
    "digits_cnn": (("logits",), logits_kl),
}


def referee(name):
    """Return x [n, *event] -> outputs [n, k] in float64, by onnxruntime alone."""
    session = onnxruntime.InferenceSession(str(SAMPLES / f"{name}.onnx"))
    (port,) = session.get_inputs()
    wanted, kl = HEADS[name]

    def law(x):
        found = session.run(list(wanted), {port.name: x.astype(np.float32)})
        return [part.astype(np.float64).reshape(len(x), -1) for part in found]

    return law, kl


def data_of(name):
    with np.load(SAMPLES / f"{DATA[name]}.npz") as found:
        return found["x"].astype(np.float64)


def rows_of(folder, config):
    with RowsWriter(str(folder / "rows.npz")) as rows:
        report = scan(config, rows=rows)
    return report, dict(np.load(folder / "rows.npz"))


PENALISED = {"heteroscedastic_jacobian", "heteroscedastic_fisher"}
"""Files that have the network of another, with other weights."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in PENALISED else [])
        for name in HEADS
    ],
)
@pytest.mark.parametrize("inputs", [8, pytest.param(24, marks=pytest.mark.slow)])
def test_the_exact_divergence_at_the_critical_radius_is_tau(name, inputs, tmp_path):
    law, kl = referee(name)
    config = sample(name, divergences=("kl",), verify=inputs)
    report, rows = rows_of(tmp_path, config)
    r, v = rows["kl.critical_radius_along"], rows["kl.directions"][:, 0]
    checked = np.isfinite(r)
    assert (rows["kl.critical_radius"][checked] <= r[checked]).all()
    assert (
        checked.sum() == report.divergences["kl"].summary["critical_radius"].n_checked
    )
    x = data_of(name)[rows["index"][checked]]
    step = r[checked].reshape(-1, *[1] * (x.ndim - 1)) * v[checked]
    here = law(x)
    both = np.stack([kl(here, law(x + step)), kl(here, law(x - step))])
    np.testing.assert_allclose(both.max(axis=0), 1.0, rtol=1e-3)


def test_the_headline_is_true_by_an_ascent_in_plain_torch():
    """At the norms that the first sentence names, and not at smaller ones."""
    config = sample("heteroscedastic", divergences=("kl",), verify="all")
    report = scan(config)
    text = headline(report)
    words = text.split()
    median = float(words[words.index("norm") + 1])
    least = float(text.split("half of the inputs, ")[1].split()[0])
    assert "along the worst direction" not in text  # all of them were searched
    plain = Plain("heteroscedastic", 150)

    def moved(r):
        return plain.ascent(r, 60, 4)

    assert (moved(1.01 * median) >= 1).double().mean() >= 0.5
    assert (moved(0.98 * median) >= 1).double().mean() < 0.5
    assert moved(1.01 * least).max() >= 1 > moved(0.98 * least).max()
    local = report.divergences["kl"].summary["radius"]
    assert f"second order says {local.p50:.3g} and {local.min:.3g}" in text
    assert (moved(local.p50) >= 1).double().mean() > 0.9  # that is far off


def test_without_an_ascent_only_the_worst_direction_is_spoken_of(tmp_path):
    law, kl = referee("heteroscedastic")
    config = sample("heteroscedastic", divergences=("kl",), verify="all", sizes=())
    report, rows = rows_of(tmp_path, config)
    assert "kl.critical_radius_along" not in rows
    text = headline(report)
    assert "along the worst direction" in text
    words = text.split()
    median = float(words[words.index("norm") + 1])
    x, v = data_of("heteroscedastic"), rows["kl.directions"][:, 0]

    def moved(r):
        here = law(x)
        return np.maximum(kl(here, law(x + r * v)), kl(here, law(x - r * v)))

    assert (
        (moved(1.01 * median) >= 1).mean() >= 0.5 > (moved(0.97 * median) >= 1).mean()
    )


@pytest.mark.slow
def test_on_the_digits_an_ascent_finds_a_sixth_of_the_second_order_radius():
    """Plain torch reaches .16 in the median; the worst direction alone .21."""
    config = sample("digits_cnn", divergences=("kl",), verify="all", limit=60)
    found = columns(scan(config))
    share = found["critical_radius"] / found["radius"]
    assert np.median(share) <= 0.17
    np.testing.assert_allclose(found["radius_ratio"], share, rtol=1e-5)
    assert (found["critical_radius"] <= found["critical_radius_along"]).all()
    assert np.median(found["critical_radius_along"] / found["radius"]) > 0.19


def test_of_the_two_signs_the_smaller_radius_counts(tmp_path):
    """A scale that moves: KL(σ ‖ σ + r) and KL(σ ‖ σ − r) reach τ at different r."""

    def head(x):
        return {"loc": x[:, :1], "scale": x[:, 1:2]}

    x = np.array([[0.0, 2.0], [0.0, 5.0]])
    config = written(tmp_path, head, x, NORMAL, divergences=("kl",), mask="1")
    found = columns(scan(config))

    def kl(scale, other):
        return math.log(other / scale) + scale**2 / (2 * other**2) - 0.5

    for row, scale in enumerate(x[:, 1]):
        r = found["critical_radius"][row]
        assert kl(scale, scale - r) == pytest.approx(1.0, rel=2e-6)
        assert kl(scale, scale + r) < 1
    np.testing.assert_allclose(
        found["radius_ratio"], found["critical_radius"] / found["radius"]
    )


def test_a_bounded_divergence_never_reaches_one(tmp_path):
    def head(x):
        return {"loc": x[:, :1], "scale": torch.ones_like(x[:, :1])}

    x = np.array([[0.0], [1.0]])
    config = written(tmp_path, head, x, NORMAL, divergences=("jensen_shannon",))
    report = scan(config)
    summary = report.divergences["jensen_shannon"].summary["critical_radius"]
    assert (summary.n_infinite, summary.p50) == (2, math.inf)
    assert "not reached within 1000 second-order radii" in summary.infinite_reason
    (said,) = [
        w.message for w in report.warnings if "jensen_shannon radius" in w.message
    ]
    assert "τ is not reached on half of the checked inputs" in said
    assert "inf times" not in said
    assert "No perturbation that was tried moves the prediction by 1 nat" in headline(
        report
    )


def test_tau_is_what_has_to_be_reached(tmp_path):
    def head(x):
        return {"loc": x[:, :1], "scale": torch.ones_like(x[:, :1])}

    for tau in (0.01, 1.0, 8.0):
        config = written(tmp_path, head, np.zeros((1, 1)), NORMAL, tau=tau)
        found = columns(scan(config))
        assert found["critical_radius"][0] == pytest.approx(
            math.sqrt(2 * tau), rel=1e-6
        )


def test_an_input_at_rest_is_moved_along_sampled_directions(tmp_path):
    """Beyond a kink one unit away the location moves ten times as far as x."""

    def head(x):
        loc = 10 * torch.relu(x.norm(dim=1, keepdim=True) - 2.0)
        return {"loc": loc, "scale": torch.ones_like(loc)}

    x = np.array([[1.0, 0.0], [0.0, -1.0], [3.0, 0.0]])
    large = attacks(fixed_norm={"norm": "4"})
    config = written(tmp_path, head, x, NORMAL, divergences=("kl",), attacks=large)
    report = scan(config)
    found = columns(report)
    assert np.isinf(found["radius"][:2]).all()
    needed = 1 + math.sqrt(2) / 10
    assert (found["critical_radius"][:2] >= needed - 1e-6).all()
    assert (found["critical_radius"][:2] < 1.3 * needed).all()
    assert (found["fixed_norm"][:2] == 0).all()
    assert (found["fixed_norm_realised"][:2] > 1).all()
    assert found["fixed_norm_parted"].tolist()[:2] == [1.0, 1.0]


class Square:
    """D = |δ|² at two inputs, exact."""

    laws = SimpleNamespace(sampled=False)
    light = None
    site = SimpleNamespace(
        x=torch.zeros(2, 3, dtype=torch.float64),
        free=3,
        noise=Noise(0, np.arange(2), 8),
        lengths=lambda: torch.ones(2, dtype=torch.float64),
    )

    def __call__(self, rows, u):
        value = u.square().sum(dim=-1)
        return value, torch.zeros_like(value)


def test_where_the_form_is_infinite_directions_are_sampled_too():
    """Its second-order radius is 0: from there no multiple of it leads anywhere."""
    worst = torch.tensor([[1.0, 0.0, 0.0]] * 2, dtype=torch.float64)
    local = SimpleNamespace(
        radius=lambda tau: torch.tensor([0.0, tau], dtype=torch.float64),
        directed=torch.ones(2, dtype=torch.bool),
        worst=worst,
    )
    found = critical_radius(Square(), local, 2.0)
    np.testing.assert_allclose(found.value, math.sqrt(2), rtol=1e-6)
    assert found.directed.tolist() == [False, True]


def test_where_sampled_directions_move_nothing_it_is_not_called_checked(tmp_path):
    def head(x):
        return {"loc": torch.relu(x[:, :1]), "scale": torch.ones_like(x[:, :1])}

    x = np.array([[-50.0, 0.0], [2.0, 0.0]])
    small = attacks(fixed_norm={"norm": "0.1"})
    report = scan(
        written(tmp_path, head, x, NORMAL, divergences=("kl",), attacks=small)
    )
    verification = report.divergences["kl"].verification["fixed_norm"]
    assert (verification.n, verification.unknown, verification.at_rest) == (1, 1, 1)
    reason = report.divergences["kl"].summary["fixed_norm_parted"].reason
    assert reason.startswith("at rest: no direction to attack along")


def test_a_family_that_ends_is_left_at_its_end(tmp_path):
    """Just before a scale of zero KL is below 1; at it there is no law any more."""

    def head(x):
        return {"loc": 0 * x, "scale": 1 + 1e-3 * x}

    config = written(tmp_path, head, np.array([[0.0]]), NORMAL, divergences=("kl",))
    found = columns(scan(config))
    r = found["critical_radius"][0]
    scale = 1 - 1e-3 * r
    assert math.log(scale) + 1 / (2 * scale**2) - 0.5 == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize(
    ("divergence", "tau"), [("hellinger", 1.0), ("jensen_shannon", math.log(2))]
)
def test_what_only_laws_apart_reach_is_not_reached_by_rounding(divergence, tau):
    """Of normal laws far apart the divergence rounds to its bound, and is below it."""
    report = scan(
        sample("heteroscedastic", divergences=(divergence,), tau=tau, verify=8)
    )
    summary = report.divergences[divergence].summary["critical_radius"]
    assert summary.min == math.inf
    (said,) = [w.message for w in report.warnings if w.code.startswith("unreachable")]
    assert "pass a smaller --tau" in said
    assert "No perturbation that was tried" in headline(report)


def test_the_bound_itself_is_reached_and_leaving_the_family_is_not():
    law = build_family("normal", {"loc": (1,), "scale": (1,)})
    phi = torch.tensor([[0.0, 1.0]]).double()
    others = torch.tensor([[[1.0, 1.0], [2.0, 1.0], [3.0, -1.0]]]).double()
    values = torch.tensor([[0.9999999, 1.0, 0.5]]).double()
    site = SimpleNamespace(point=SimpleNamespace(family=law, phi=phi))

    def laws(rows, moved):
        return values, torch.zeros_like(values)

    rows = torch.arange(1)
    found, _ = Attained(site, laws, bound=1.0, tau=1.0).against(rows, others)
    assert found.tolist() == [[0.0, 2.0, 0.0]]
    found, _ = Attained(site, laws, bound=1.0, tau=1.5).against(rows, others)
    assert found.tolist() == [[0.0, 0.0, 0.0]]


def test_a_law_that_is_all_but_certain_crosses_where_its_logit_changes_sign(tmp_path):
    """With logit z KL is ln(1 + e^{-z'}) at z' far from z: 1 nat at ln(e − 1).

    Its form is e^{-|z|}, whose radius is 10¹⁷ and 10¹⁵² times what is moved.
    """

    def head(x):
        return {"logits": x}

    x = np.array([[80.0], [-700.0], [0.5]])
    law = {"family": "bernoulli", "parameters": {"logits": "logits"}}
    report = scan(written(tmp_path, head, x, law, divergences=("kl",)))
    found = columns(report)
    beyond = math.log(math.e - 1)
    assert found["critical_radius"][:2] == pytest.approx(
        [80 + beyond, 700 + beyond], rel=1e-6
    )
    # (e^r − 1 − r) / (r²/2) is 1.1 there, to the side of more doubt
    r = found["validity_radius"][:2]
    assert (np.expm1(r) - r) / (r * r / 2) == pytest.approx([1.1, 1.1], rel=1e-3)
    assert not any("small steps" in warning.message for warning in report.warnings)


def test_an_input_at_rest_near_zero_is_moved_by_more_than_its_own_norm(tmp_path):
    """ReLU at −0.001 is at rest, and √2 beyond its kink the law has moved by 1 nat."""

    def head(x):
        return {"loc": torch.relu(x), "scale": torch.ones_like(x)}

    x = np.array([[-1e-3], [1.0]])
    found = columns(scan(written(tmp_path, head, x, NORMAL, divergences=("kl",))))
    assert found["critical_radius"] == pytest.approx(
        [math.sqrt(2) + 1e-3, math.sqrt(2)], rel=1e-5
    )


def test_an_input_is_taken_to_the_first_of_its_nearest_crossings():
    """By hand: 0.2 along the second ray, 0.3 twice, and no crossing at all."""
    rows = torch.tensor([0, 0, 1, 1, 2])
    directions = torch.tensor([[1, 0], [0.6, 0.8], [0, 1], [0, -1], [1, 0]])
    crossings = torch.tensor([0.5, 0.2, 0.3, 0.3, torch.inf])
    least, u = critical._Rays(3, rows, directions, crossings)._least(crossings)
    assert least.tolist() == crossings[[1, 2, 4]].tolist()
    expected = torch.tensor([[0.12, 0.16], [0, 0.3], [0, 0]])
    torch.testing.assert_close(u, expected)
