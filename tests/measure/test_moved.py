"""What the top direction moves, against formulas written out here."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from families.examples import EXAMPLES
from scans import attacks, columns, sample, written
from scipy.special import polygamma

from audit.config import ScanConfig
from audit.linalg.quadratic_form import QuadraticForm
from audit.linalg.stored import Matrix
from audit.measure.mean_form import MeanForm, means_of
from audit.run.scan import scan

RNG = np.random.default_rng(5)
X = RNG.normal(size=(12, 4))
W, U = RNG.normal(size=(2, 4))
NORMAL = {"family": "normal", "parameters": {"loc": "loc", "scale": "scale"}}


def top(matrices):
    """Return λ_max and its eigenvector of each matrix [N, d, d]."""
    values, vectors = np.linalg.eigh(matrices)
    return values[:, -1], vectors[:, :, -1]


def scanned(folder, function, x, model, **options):
    options = {"divergences": ("kl",), "verify": 0, **options}
    return scan(written(folder, function, x, model, **options))


def test_shares_of_a_normal_law_are_as_its_two_slopes(tmp_path):
    w, u = torch.from_numpy(W), torch.from_numpy(U)

    def head(x):
        return {"loc": torch.sin(x @ w)[:, None], "scale": torch.exp(x @ u)[:, None]}

    found = columns(scanned(tmp_path, head, X, NORMAL))
    sigma, slope = np.exp(X @ U), np.cos(X @ W)
    of_loc = np.einsum("n,i,j->nij", (slope / sigma) ** 2, W, W)
    of_scale = 2 * np.outer(U, U)
    _, v = top(of_loc + of_scale)
    mu, rho = slope * (v @ W), v @ U
    whole = mu**2 / sigma**2 + 2 * rho**2
    np.testing.assert_allclose(
        found["location_share"], mu**2 / sigma**2 / whole, atol=1e-9
    )
    np.testing.assert_allclose(found["scale_share"], 2 * rho**2 / whole, atol=1e-9)
    assert (np.array(found["role_overlap"]) == 0).all()


def test_shares_of_a_gamma_law_are_by_substitution_and_say_so(tmp_path):
    w, u = torch.from_numpy(W), torch.from_numpy(U)

    def head(x):
        a, b = torch.exp(x @ w / 4)[:, None], torch.exp(x @ u / 4)[:, None]
        return {"concentration": a, "rate": b}

    law = {
        "family": "gamma",
        "parameters": {"concentration": "concentration", "rate": "rate"},
    }
    found = columns(scanned(tmp_path, head, X, law))
    a, b = np.exp(X @ W / 4), np.exp(X @ U / 4)
    jacobian = np.stack([a[:, None] * W / 4, b[:, None] * U / 4], axis=1)
    fisher = np.empty((len(X), 2, 2))
    fisher[:, 0, 0], fisher[:, 1, 1] = polygamma(1, a), a / b**2
    fisher[:, 0, 1] = fisher[:, 1, 0] = -1 / b
    form = np.einsum("npi,npq,nqj->nij", jacobian, fisher, jacobian)
    size, v = top(form)
    da, db = np.einsum("npi,ni->pn", jacobian, v)
    rate = a / b**2 * db**2  # moved first
    shape = polygamma(1, a) * da**2 - 2 * da * db / b
    np.testing.assert_allclose(found["scale_share"], rate / size, rtol=1e-8)
    np.testing.assert_allclose(found["shape_share"], shape / size, rtol=1e-8, atol=1e-9)
    overlap = -2 * da * db / b / size
    np.testing.assert_allclose(found["role_overlap"], overlap, rtol=1e-8, atol=1e-9)
    assert np.abs(overlap).max() > 0.1


def test_each_coordinate_of_theta_has_its_share(tmp_path):
    mixing = torch.from_numpy(RNG.normal(size=(4, 3)))
    scale = np.array([0.5, 1.0, 2.0])

    def head(x):
        spread = torch.from_numpy(scale) + 0 * x[:, :3]
        return {"loc": torch.tanh(x @ mixing), "scale": spread}

    report = scanned(tmp_path, head, X, NORMAL)
    m = mixing.numpy()
    jacobian = (1 - np.tanh(X @ m) ** 2)[:, :, None] * m.T / scale[:, None]
    size, v = top(np.einsum("nci,ncj->nij", jacobian, jacobian))
    shares = np.einsum("nci,ni->nc", jacobian, v) ** 2 / size[:, None]
    found = report.divergences["kl"].coordinates
    assert found.n == len(X)
    np.testing.assert_allclose(found.mean, shares.mean(axis=0), atol=1e-7)


def test_a_single_coordinate_has_no_shares_of_coordinates(tmp_path):
    def head(x):
        return {"loc": torch.tanh(x[:, :1]), "scale": torch.exp(x[:, 1:2])}

    found = scanned(tmp_path, head, X, NORMAL).divergences["kl"]
    assert found.coordinates is None
    assert found.summary["location_share"].n == len(X)


def test_an_open_direction_has_no_shares(tmp_path):
    def head(x):
        return {"loc": x[:, :2], "scale": torch.ones_like(x[:, :2])}

    report = scanned(tmp_path, head, X[:, :2], NORMAL)
    found = report.divergences["kl"].summary["location_share"]
    assert found.n == 0
    assert "the two largest eigenvalues are equal" in found.reason
    assert report.divergences["kl"].coordinates.mean is None


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.label)
def test_roles_and_coordinates_cover_every_parameter(example):
    from audit.families.roles import roles_of

    law = example.family
    roles, places = roles_of(law), law.coordinate_of_each()
    if roles is not None:
        assert torch.stack([*roles.values()]).sum(dim=0).eq(1).all()
    if places is not None:
        assert len(places) == law.size
        assert set(places.tolist()) == set(range(int(np.prod(law.event_shape))))


def test_the_principal_share_is_that_of_a_singular_value_decomposition():
    report = scan(sample("sunspots_gru"))
    x = np.load("sample_models/sunspots.npz")["x"].reshape(80, -1).astype(float)
    _, s, axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    k = int((np.cumsum(s**2) < 0.95 * (s**2).sum()).sum()) + 1
    assert 1 < k < 24
    for worst in report.worst[:5]:
        v = np.array(worst.directions["kl"][0]).reshape(-1)
        share = ((axes[:k] @ v) ** 2).sum()
        assert worst.values["kl"]["principal_share"] == pytest.approx(share, abs=1e-6)
    note = f"principal_share: {k} of 24 principal axes"
    assert any(note in text for text in report.divergences["kl"].notes)


def test_the_principal_space_is_in_units_of_the_perturbation(tmp_path):
    x = RNG.normal(size=(50, 3)) * np.array([100.0, 1.0, 0.01])

    def head(x):
        return {"loc": x[:, 2:], "scale": torch.ones_like(x[:, 2:])}

    plain = columns(scanned(tmp_path, head, x, NORMAL))
    in_std = columns(scanned(tmp_path, head, x, NORMAL, units="std"))
    np.testing.assert_allclose(plain["principal_share"], 0, atol=1e-6)
    np.testing.assert_allclose(in_std["principal_share"], 1, atol=1e-6)


def test_inputs_that_are_all_alike_have_no_principal_space(tmp_path):
    def head(x):
        return {"loc": x.sum(1, keepdim=True), "scale": torch.ones_like(x[:, :1])}

    report = scanned(tmp_path, head, np.ones((5, 3)), NORMAL)
    found = report.divergences["kl"].summary["principal_share"]
    assert found.n == 0
    assert "all alike" in found.reason


def test_a_linear_model_has_one_direction_for_all_inputs():
    found = scan(sample("linear_gaussian")).divergences["kl"].universal
    truth = np.load("sample_models/linear_gaussian_truth.npz")
    assert found.n == 200
    assert found.universality == pytest.approx(1, abs=1e-6)
    assert found.eigenvalue == pytest.approx(truth["eigenvalues"][0], rel=1e-5)
    cosine = np.array(found.direction) @ truth["directions"][:, 0]
    assert abs(cosine) == pytest.approx(1, abs=1e-6)


def test_two_groups_with_orthogonal_directions_are_half_universal(tmp_path):
    x = np.concatenate([X, -X])[:, :3]

    def head(x):
        first = (x[:, :1] > 0).to(x)
        return {
            "loc": first * x[:, 1:2] + (1 - first) * x[:, 2:] + 0 * x[:, :1],
            "scale": torch.ones_like(x[:, :1]),
        }

    found = scanned(tmp_path, head, x, NORMAL).divergences["kl"].universal
    assert found.universality == pytest.approx(0.5, rel=1e-6)


def test_the_mean_form_is_that_of_the_matrices_written_out(tmp_path):
    w, u = torch.from_numpy(W), torch.from_numpy(U)

    def head(x):
        return {"loc": torch.sin(x @ w)[:, None], "scale": torch.exp(x @ u)[:, None]}

    found = scanned(tmp_path, head, X, NORMAL).divergences["kl"].universal
    sigma, slope = np.exp(X @ U), np.cos(X @ W)
    form = np.einsum("n,i,j->nij", (slope / sigma) ** 2, W, W) + 2 * np.outer(U, U)
    one, each = top(form.mean(axis=0)[None])[0][0], top(form)[0].mean()
    assert found.eigenvalue == pytest.approx(one, rel=1e-9)
    assert found.mean_eigenvalue == pytest.approx(each, rel=1e-9)
    assert found.universality == pytest.approx(one / each, rel=1e-9)


def test_a_universal_step_costs_what_the_closed_form_says(tmp_path):
    w, u = torch.from_numpy(W), torch.from_numpy(U)

    def head(x):
        return {"loc": torch.sin(x @ w)[:, None], "scale": torch.exp(x @ u)[:, None]}

    size = 0.3
    options = {"attacks": attacks(fixed_norm={"norm": str(size)}), "verify": "all"}
    report = scanned(tmp_path, head, X, NORMAL, **options)
    found = report.divergences["kl"].universal

    def moved(sign):
        x = X + sign * size * np.array(found.direction)
        a, b = np.exp(X @ U), np.exp(x @ U)
        gap = np.sin(X @ W) - np.sin(x @ W)
        return np.log(b / a) + (a**2 + gap**2) / (2 * b**2) - 0.5

    costs = {sign: moved(sign) for sign in (1, -1)}
    worse = max(costs, key=lambda sign: costs[sign].mean())
    assert found.signs == {"fixed_norm": worse}
    told = columns(report)["fixed_norm_universal"]
    np.testing.assert_allclose(told, costs[worse], rtol=1e-6)


def test_sums_of_forms_do_not_depend_on_their_order():
    rng = np.random.default_rng(3)
    parts = []
    for scale in 10.0 ** rng.integers(-12, 12, 40):
        matrix = np.zeros((2, 3, 3))
        matrix[0] = scale * rng.normal(size=(3, 3))
        parts.append(MeanForm(1, 0, matrix, np.array([scale, 0.0])))
    totals = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(parts))
        left = parts[order[0]]
        for k in order[1:20]:
            left = left + parts[k]
        right = parts[order[20]]
        for k in order[21:]:
            right = parts[k] + right
        totals.append((left + right).matrix.sum(axis=0))
    for total in totals[1:]:
        np.testing.assert_array_equal(total, totals[0])


def test_forms_that_are_not_finite_are_left_out_and_counted():
    """Of the rows 0, 1, 3 and 4 of a block, by matrices of two outputs."""
    a = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(1)).double()
    trace = a.square().sum((1, 2))
    top = torch.linalg.matrix_norm(a, 2).square()
    trace[1], top[1] = torch.inf, torch.inf
    spectrum = SimpleNamespace(
        trace=SimpleNamespace(value=trace), eigenvalues=top.unsqueeze(1)
    )
    found = SimpleNamespace(spectrum=spectrum, form=QuadraticForm(0.5, Matrix(a)))
    one = means_of({"kl": found}, np.array([0, 1, 3, 4]))["kl"]
    other = means_of({"kl": found}, np.array([2]))["kl"]
    assert (one.n, one.left_out) == (3, 1)
    assert ((one + other).n, (one + other).left_out) == (4, 1)
    rows = [0, 3, 4]
    wanted = (a[rows].mT @ a[rows]).sum(0).numpy()
    np.testing.assert_allclose(one.matrix.sum(0), wanted, rtol=1e-14)
    assert one.top.sum() == pytest.approx(float(top[rows].sum()))


def test_too_many_features_are_refused_in_words(tmp_path):
    x = RNG.normal(size=(3, 1030))

    def head(x):
        return {"loc": x.mean(1, keepdim=True), "scale": torch.ones_like(x[:, :1])}

    report = scanned(tmp_path, head, x, NORMAL)
    found = report.divergences["kl"]
    assert "up to 1024 features" in found.universal.reason
    assert found.universal.direction is None
    assert "up to 1024 features" in found.summary["principal_share"].reason


def test_blocks_and_jobs_do_not_show(tmp_path):
    config = sample("heteroscedastic", batch_size=16)
    small = scan(config).divergences["kl"]
    large = scan(ScanConfig(**{**vars(config), "batch_size": 150})).divergences["kl"]
    assert small.universal == large.universal
    assert small.summary == large.summary
