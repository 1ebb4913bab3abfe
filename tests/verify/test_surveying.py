"""Radii where no ascent is made, held against curves and roots of their own."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scans import columns, scan, written
from scipy import optimize, stats

from audit.verify.lowering import lowered_radius
from audit.verify.surveying import Looked
from verify.sited import sited

NORMAL = {"family": "normal", "parameters": {"loc": "loc", "scale": "scale"}}
CURVED = 3.0  # of a location x₀ + a x₁², which second order does not see


def bent(x):
    return x[:, :1] + CURVED * x[:, 1:2].square()


def least_norm(move):
    """The least |(x₀, x₁)| with x₀ + a x₁² = move: at x₀ = 1 / (2 a)."""
    assert move > 1 / (2 * CURVED)
    return math.sqrt(move / CURVED - 1 / (4 * CURVED**2))


def mixed(x):
    """Two normals, 1.5 apart, of which the first has a share of 0.3."""
    loc = bent(x)
    both = torch.stack([loc, loc + 1.5], dim=1)
    logits = torch.tensor([[math.log(0.3), math.log(0.7)]]).to(x) + 0 * loc
    return {"logits": logits, "loc": both, "scale": 1 + 0 * both}


def mixture_density(t):
    return 0.3 * stats.norm.pdf(t) + 0.7 * stats.norm.pdf(t - 1.5)


def mixture_kl(move):
    """By the trapezoidal rule, of which smooth laws that end leave no error."""
    t = np.linspace(-9, 11, 4001)
    ratio = mixture_density(t) / mixture_density(t - move)
    return np.trapezoid(mixture_density(t) * np.log(ratio), t)


def student(x):
    loc = bent(x)
    return {"df": 3 + 0 * loc, "loc": loc, "scale": 1 + 0 * loc}


def student_kl(move):
    """In y = arsinh t, where tails end too."""
    law, y = stats.t(3), np.linspace(-14, 14, 4001)
    t = np.sinh(y)
    loss = law.pdf(t) * (law.logpdf(t) - law.logpdf(t - move))
    return np.trapezoid(loss * np.cosh(y), y)


LAWS = {
    "mixture:normal": (mixed, mixture_kl),
    "student_t": (student, student_kl),
}


@pytest.mark.parametrize("family", LAWS)
def test_a_law_by_quadrature_is_not_followed_along_v_alone(family, tmp_path):
    """Second order sees x₀ alone: r is D⁻¹(τ) there, and √(r / a − 1 / 4a²) aside."""
    head, kl = LAWS[family]
    names = head(torch.zeros(1, 2))
    law = {"family": family, "parameters": {name: name for name in names}}
    x = np.zeros((2, 2))
    report = scan(written(tmp_path, head, x, law, divergences=("kl",), tau=0.5))
    found = columns(report)
    ends = [
        optimize.brentq(lambda move, s=s: kl(s * move) - 0.5, 0.1, 9) for s in (1, -1)
    ]
    np.testing.assert_allclose(found["critical_radius_along"], min(ends), rtol=1e-5)
    expected = min(ends[1], least_norm(ends[0]))
    assert expected < 0.75 * min(ends)
    assert (found["critical_radius"] >= expected * (1 - 1e-6)).all()
    np.testing.assert_allclose(found["critical_radius"], expected, rtol=0.01)
    assert not any("v alone" in note for note in report.divergences["kl"].notes)


def test_a_second_divergence_is_not_followed_along_v_alone(tmp_path):
    """W₂² of shifted normals is the square of the shift."""

    def head(x):
        return {"loc": bent(x), "scale": torch.ones_like(x[:, :1])}

    asked = written(
        tmp_path, head, np.zeros((2, 2)), NORMAL, divergences=("kl", "quantile")
    )
    report = scan(asked)
    found = {
        name: np.array(report.inputs.columns["quantile"][name], float)
        for name in ("critical_radius", "critical_radius_along")
    }
    np.testing.assert_allclose(found["critical_radius_along"], 1.0, rtol=1e-5)
    np.testing.assert_allclose(found["critical_radius"], least_norm(1.0), rtol=1e-3)
    nothing = replace(asked, sizes=())
    summary = scan(nothing).divergences["quantile"]
    assert "critical_radius_along" not in summary.summary
    assert any("v alone" in note for note in summary.notes)


def beats(x):
    """Two waves of nearly one length: their difference is large at 47 and beyond."""
    loc = torch.sin(x[:, :1]) - torch.sin(1.05 * x[:, :1])
    return {"loc": loc, "scale": torch.ones_like(loc)}


@pytest.mark.parametrize("tau", [1.5, 1.7])
def test_a_beat_of_waves_is_found_where_the_ladder_steps_over_it(tau, tmp_path):
    """KL is half the square of the difference, which is at most 2, near 63."""
    wave = np.linspace(0, 200, 400_001)
    moved = np.abs(np.sin(wave) - np.sin(1.05 * wave))
    first = wave[np.argmax(moved >= math.sqrt(2 * tau))]
    assert 40 < first < 60
    config = written(
        tmp_path, beats, np.zeros((1, 1)), NORMAL, divergences=("kl",), tau=tau
    )
    found = columns(scan(config))["critical_radius"]
    assert (found >= first - 1e-3).all()
    assert (found <= 80).all()
    exact, local, _ = sited(config)
    start = torch.full((1,), torch.inf).double()
    radius, u = lowered_radius(exact, local, tau, start)
    x = float(u)
    np.testing.assert_allclose(
        (math.sin(x) - math.sin(1.05 * x)) ** 2 / 2, tau, rtol=1e-5
    )
    assert float(radius) == pytest.approx(abs(x), rel=1e-12)


def test_what_lacks_a_millionth_of_the_level_as_a_crossing_may_has_reached_it():
    """Of the places that have, the nearest counts, and of these where D is largest."""
    tau = 0.7
    along = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).double().expand(4, 2, 2)
    radii = torch.tensor([1.0, 2.0]).double().expand(4, 2, 2)
    value = tau * torch.tensor(
        [
            [[0.1, 1 - 1e-6], [0.1, 1 - 1e-5]],
            [[0.1, 1 - 1e-5], [0.1, 1 - 1e-5]],
            [[0.1, 9.0], [1 - 1e-6, 1.0]],
            [[1 - 1e-6, 9.0], [1.0, 1.0]],
        ]
    ).to(torch.float64)
    found, u = Looked(None, torch.arange(4), along, radii, value).reached(tau)
    assert found.tolist() == [True, False, True, True]
    assert u[found].tolist() == [[2.0, 0.0], [0.0, 1.0], [0.0, 1.0]]


def test_what_is_looked_at_closer_lies_between_a_places_neighbours():
    """Nine radii from one to the other; at an end of a ray from the end itself."""
    radii = torch.tensor([[[1.0, 2.0, 4.0, 8.0], [1.0, 3.0, 9.0, 27.0]]]).double()
    value = torch.tensor([[[0.0, 9.0, 0.0, 8.0], [7.0, 0.0, 6.0, 0.0]]]).double()
    along = torch.eye(2).double().unsqueeze(0)
    asked = []

    def exact(rows, u):
        asked.append(u)
        return u.norm(dim=2), None

    Looked(exact, torch.arange(1), along, radii, value).closer()
    u = asked[0].reshape(4, 9, 2)
    ends = [(0, 1.0, 4.0), (0, 4.0, 8.0), (1, 1.0, 3.0), (1, 3.0, 27.0)]
    for place, (ray, low, high) in zip(u, ends, strict=True):
        between = torch.linspace(low, high, 9).double()
        torch.testing.assert_close(place[:, ray], between)
        assert (place[:, 1 - ray] == 0).all()
