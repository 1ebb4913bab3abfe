"""Traces from a few probes and their pairs, beside the exact ones."""

import numpy as np
import pytest
import torch

from audit.linalg.krylov import decompose_krylov
from audit.linalg.krylov.trace import estimated
from audit.linalg.operators import Product
from audit.linalg.stored import Matrix
from tests.linalg.test_krylov import EXACT, keyed

SIDE, TRIES = 80, 3000
SPECTRA = {
    "flat": np.ones(SIDE),
    "power": 1 / np.arange(4, SIDE + 4),
    "three": np.where(np.arange(SIDE) < 3, 1.0, 0.0),
    "spike": np.where(np.arange(SIDE) < 1, 1.0, 0.01),
}


def forms_of(b, c, probes, seed=0):
    """Return g_iᵀ B g_j and g_iᵀ C g_j, less tr C where i = j, of normal g."""
    g = torch.from_numpy(
        np.random.default_rng(seed).standard_normal((TRIES, SIDE, probes))
    )
    own = torch.eye(probes).double() * c.trace()
    return g.mT @ b @ g, g.mT @ c @ g - own


@pytest.mark.parametrize("probes", [8, 12, 24])
@pytest.mark.parametrize("name", SPECTRA)
def test_intervals_cover_as_often_as_they_say(name, probes):
    b = torch.diag(torch.from_numpy(SPECTRA[name]))
    forms, control = forms_of(b, 0 * b, probes)
    found, exact = estimated(forms, control), float(b.trace())
    covered = (found.lower <= exact) & (exact <= found.upper)
    assert 0.94 <= float(covered.double().mean()) <= 0.995
    for missed in (found.upper < exact, exact < found.lower):  # 0.025, 2.5 deviations
        assert float(missed.double().mean()) <= 0.032
    mean, error = float(found.value.mean()), float(found.value.std()) / TRIES**0.5
    assert abs(mean - exact) <= 4.5 * error


def test_a_control_leaves_the_mean_alone_and_takes_its_part_off():
    """B = D K D and C = D²: what is left is what K differs from the identity by."""
    random = np.random.default_rng(5)
    d = torch.from_numpy(1 / np.sqrt(np.arange(5, SIDE + 5)))
    w = torch.from_numpy(random.standard_normal((SIDE, 4 * SIDE))) / (4 * SIDE) ** 0.5
    b, c = d[:, None] * (w @ w.mT) * d, torch.diag(d.square())
    forms, control = forms_of(b, c, 8)
    plain, helped = estimated(forms, 0 * control), estimated(forms, control)
    exact = float(b.trace())
    assert float(helped.value.std()) < 0.6 * float(plain.value.std())
    error = float(helped.value.std()) / TRIES**0.5
    assert abs(float(helped.value.mean()) - exact) <= 4.5 * error
    covered = (helped.lower <= exact) & (exact <= helped.upper)
    assert float(covered.double().mean()) >= 0.94


def test_a_control_that_has_nothing_to_do_with_it_does_little_harm():
    b = torch.diag(torch.from_numpy(SPECTRA["power"]))
    forms, _ = forms_of(b, b, 8)
    _, control = forms_of(b, b.flip(0).flip(1), 8, seed=1)
    plain, other = estimated(forms, 0 * control), estimated(forms, control)
    assert float(other.value.std()) < 1.3 * float(plain.value.std())
    exact = float(b.trace())
    covered = (other.lower <= exact) & (exact <= other.upper)
    assert float(covered.double().mean()) >= 0.92


@pytest.mark.parametrize("factor", [1e120, 1e-120])
def test_the_unit_is_no_matter(factor):
    b = torch.diag(torch.from_numpy(SPECTRA["power"]))
    forms, control = forms_of(b, b, 8)
    one, other = estimated(forms, 0 * control), estimated(factor * forms, 0 * control)
    for name in ("value", "standard_error", "upper"):
        torch.testing.assert_close(
            getattr(other, name) / factor, getattr(one, name), rtol=1e-9, atol=0
        )


def test_a_stored_factor_makes_a_trace_of_a_product_surer():
    random = np.random.default_rng(7)
    h = random.standard_normal((4, 120, 40)) / np.arange(1, 41) ** 0.5
    j = random.standard_normal((4, 40, 900))
    parts = (Matrix(torch.from_numpy(one)) for one in (h, j))
    whole = Matrix(torch.from_numpy(h @ j))
    exact = ((h @ j) ** 2).sum(axis=(1, 2))
    found, plain = (
        decompose_krylov(root, 2, keyed(4), EXACT).trace
        for root in (Product(*parts), whole)
    )
    assert (np.abs(found.value - exact) <= 4.5 * found.standard_error).all()
    assert (found.standard_error < 0.7 * plain.standard_error).all()
