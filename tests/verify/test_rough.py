"""Gradients in float32 against those in float64, and where they are used."""

import dataclasses

import pytest
import torch
from scans import sample

from audit.verify import rough as module
from audit.verify.exact import exact_at
from audit.verify.rough import rough
from audit.verify.sites import site_of
from audit.verify.slopes import slope_of
from audit.verify.witness import ascend
from verify.independent import Plain
from verify.sited import sited

SIZES = torch.tensor([0.03, 0.1, 0.3], dtype=torch.float64)


def coarse(name, count):
    """Return (exact, local) of a site with its model in the file's own float32."""
    exact, local, prepared = sited(sample(name, divergences=("kl",)), count)
    rows = prepared.rows[:count]
    site = site_of(exact.site.model, prepared.questions, rows, prepared.model)
    exact = exact_at(prepared.questions.divergences[0], site)
    return exact, local


def test_d_and_its_gradient_are_those_of_float64_but_for_rounding():
    exact, _ = coarse("digits_cnn", 12)
    rows = torch.arange(12)
    torch.manual_seed(0)
    u = 0.1 * torch.nn.functional.normalize(torch.randn(12, exact.site.free).double())
    guide = rough(exact)
    value, gradient = guide(rows, u)
    fine, slope = slope_of(exact, rows, u)(rows, u)
    torch.testing.assert_close(value, fine, rtol=1e-3, atol=0)
    off = (gradient - slope).norm(dim=1) / slope.norm(dim=1)
    assert 0 < off.max().item() < 5e-3
    at_rest, _ = guide(rows, torch.zeros_like(u))
    assert at_rest.abs().max().item() < 1e-12  # the error is that of a difference


@pytest.mark.parametrize(("off", "guided"), [(5e-4, True), (2e-3, False)])
def test_a_file_whose_float32_is_further_off_than_rounding_is_no_guide(off, guided):
    exact, _ = coarse("digits_cnn", 12)
    point, phi = exact.site.point, exact.site.point.phi.clone()
    phi[3, 4] += off * phi[3, 4].abs().clamp_min(1.0)
    site = dataclasses.replace(exact.site, point=dataclasses.replace(point, phi=phi))
    assert (rough(dataclasses.replace(exact, site=site)) is not None) is guided


@pytest.mark.parametrize(("compiled", "passed"), [(0, 37), (2**62, 40)])
def test_candidates_come_in_few_sizes_where_copies_cost_little(
    compiled, passed, monkeypatch
):
    """37 are 40 then, a multiple of 4; what is asked for is answered, no more."""
    monkeypatch.setattr(module, "_COMPILED", compiled)
    exact, _ = coarse("digits_cnn", 12)
    rows = torch.arange(37) % 12
    torch.manual_seed(1)
    u = 0.1 * torch.nn.functional.normalize(torch.randn(37, exact.site.free).double())
    sizes, part = [], module.Rough._part

    def counted(guide, rows, u):
        sizes.append(len(rows))
        return part(guide, rows, u)

    monkeypatch.setattr(module.Rough, "_part", counted)
    value, gradient = rough(exact)(rows, u)
    assert sizes == [passed]
    fine, slope = slope_of(exact, rows, u)(rows, u)
    torch.testing.assert_close(value, fine, rtol=1e-3, atol=0)
    off = (gradient - slope).norm(dim=1) / slope.norm(dim=1)
    assert off.max().item() < 5e-3


def test_a_witness_that_float32_led_to_is_worth_what_float64_says():
    exact, local = coarse("digits_cnn", 24)
    plain = Plain("digits_cnn", 24, False)
    found = ascend(exact, local, SIZES)
    for place in range(len(SIZES)):
        again = plain.value(found.u[:, place].unsqueeze(0)).detach()
        torch.testing.assert_close(found.value[:, place], again, rtol=1e-5, atol=0)
    alone = dataclasses.replace(exact.site, coarse=None)
    without = ascend(dataclasses.replace(exact, site=alone), local, SIZES)
    assert bool(((found.value / without.value).median(dim=0).values > 0.999).all())


def test_a_small_network_and_one_of_float64_have_no_such_guide():
    exact, _ = coarse("heteroscedastic", 4)
    assert exact.site.coarse is not None
    assert exact.site.coarse.work < 2**15
    assert rough(exact) is None
    own = dataclasses.replace(exact.site, coarse=exact.site.model)
    assert rough(dataclasses.replace(exact, site=own)) is None
    none = dataclasses.replace(exact.site, coarse=None)
    assert rough(dataclasses.replace(exact, site=none)) is None


def test_a_network_of_as_many_products_as_pay_has_a_guide(monkeypatch):
    exact, _ = coarse("heteroscedastic", 4)
    work = exact.site.coarse.work
    for least, guided in ((work, True), (work + 1, False)):
        monkeypatch.setattr(module, "_WORK", least)
        assert (rough(exact) is not None) is guided


def test_the_work_of_a_network_is_counted_from_its_shapes():
    """Of `heteroscedastic`: its products, and one for each number that is written."""
    exact, _ = coarse("heteroscedastic", 4)
    graph = exact.site.coarse.graph
    products = sum(
        value.size
        for value in graph.program.constants.values()
        if getattr(value, "ndim", 0) == 2
    )
    assert products <= exact.site.coarse.work <= 1.5 * products
