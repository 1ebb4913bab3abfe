"""One law, several parameterisations: what is pulled back to the input is the same.

A smooth map of an input x in R³ makes the law's parameters in each way the family
knows; Jᵀ F J and Jᵀ G J must agree, whatever the link in between.
"""

import numpy as np
import pytest
import torch
from scipy import special
from torch.func import jacrev
from torch.nn.functional import softplus

from audit.families import build_family

from . import levels
from .levels import nearly

X = torch.tensor([[0.3, -0.7, 0.5]], dtype=torch.float64)


def pulled_back(name, head, tensor, options):
    def phi_of(x):
        values = head(x)
        shapes = {key: tuple(v.shape[1:]) for key, v in values.items()}
        return build_family(name, shapes, **options).pack(values)

    values = head(X)
    shapes = {key: tuple(v.shape[1:]) for key, v in values.items()}
    family = build_family(name, shapes, **options)
    jacobian = jacrev(lambda x: phi_of(x[None])[0])(X[0])
    root = getattr(family, tensor)(phi_of(X)).dense()[0] @ jacobian
    return root.mT @ root


def loc_of(x):
    return torch.stack([x[:, 0] * x[:, 1], x[:, 2].sin()], dim=-1)


def tril_of(x):
    zero = torch.zeros_like(x[:, 0])
    rows = [x[:, 0].exp(), zero, x[:, 1] * x[:, 2], softplus(x[:, 1])]
    return torch.stack(rows, dim=-1).reshape(-1, 2, 2)


def covariance_of(x):
    return tril_of(x) @ tril_of(x).mT


GAUSSIAN_HEADS = [
    lambda x: {"loc": loc_of(x), "scale_tril": tril_of(x)},
    lambda x: {"loc": loc_of(x), "covariance_matrix": covariance_of(x)},
    lambda x: {
        "loc": loc_of(x),
        "precision_matrix": torch.linalg.inv(covariance_of(x)),
    },
]


@pytest.mark.parametrize(
    "tensor", ["fisher_root", "transport_root", "wasserstein_root"]
)
def test_gaussian_tensors_agree_for_every_matrix_parameter(tensor):
    first, *rest = (
        pulled_back("multivariate_normal", head, tensor, {}) for head in GAUSSIAN_HEADS
    )
    for other in rest:
        torch.testing.assert_close(other, first, rtol=1e-10, atol=1e-12)


def logits_of(x):
    return torch.stack([x[:, 0] - x[:, 1], x[:, 2] * x[:, 0], x[:, 1].exp()], dim=-1)


def count_of(x):
    return softplus(x) + 0.5


HEADS = {
    "bernoulli": ({}, logits_of, torch.sigmoid, None),
    "binomial": ({"total_count": 5}, logits_of, torch.sigmoid, None),
    "geometric": ({}, logits_of, torch.sigmoid, None),
    "categorical": ({}, logits_of, lambda logits: logits.softmax(-1), None),
    "negative_binomial": ({}, logits_of, torch.sigmoid, count_of),
}


@pytest.mark.parametrize("name", HEADS)
def test_probs_and_logits_give_the_same_fisher_of_the_input(name):
    options, logits, link, count = HEADS[name]
    extra = (lambda x: {"total_count": count(x)}) if count else (lambda x: {})
    by_logits = pulled_back(
        name, lambda x: extra(x) | {"logits": logits(x)}, "fisher_root", options
    )
    by_probs = pulled_back(
        name, lambda x: extra(x) | {"probs": link(logits(x))}, "fisher_root", options
    )
    torch.testing.assert_close(by_probs, by_logits, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("tensor", ["fisher_root", "transport_root"])
def test_a_diagonal_gaussian_is_a_product_of_normals(tensor):
    def scale(x):
        return torch.stack([x[:, 0].exp(), softplus(x[:, 1])], dim=-1)

    def diagonal(x):
        return {"loc": loc_of(x), "scale_tril": torch.diag_embed(scale(x))}

    def product(x):
        return {"loc": loc_of(x), "scale": scale(x)}

    matrix = pulled_back("multivariate_normal", diagonal, tensor, {})
    normals = pulled_back("normal", product, tensor, {})
    torch.testing.assert_close(matrix, normals, rtol=1e-12, atol=1e-12)


def test_log_normal_and_normal_have_the_same_fisher():
    def head(x):
        return {"loc": loc_of(x), "scale": x[:, :2].exp()}

    ours = pulled_back("log_normal", head, "fisher_root", {})
    normals = pulled_back("normal", head, "fisher_root", {})
    torch.testing.assert_close(ours, normals, rtol=1e-12, atol=1e-12)


def test_a_beta_is_a_dirichlet_of_two():
    def beta(x):
        return {
            "concentration1": x[:, :1].exp(),
            "concentration0": x[:, 1:2].exp() + 1,
        }

    def dirichlet(x):
        return {"concentration": torch.cat([x[:, :1].exp(), x[:, 1:2].exp() + 1], -1)}

    ours = pulled_back("beta", beta, "fisher_root", {})
    theirs = pulled_back("dirichlet", dirichlet, "fisher_root", {})
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


# σ, log σ and softplus: three raw outputs for one and the same σ(x)

SIGMA = {  # link, raw output of a given σ, and the link as scipy sees it
    "σ": (lambda raw: raw, lambda sigma: sigma, lambda raw: raw),
    "log σ": (torch.exp, torch.log, np.exp),
    "softplus": (softplus, lambda s: s + (-torch.expm1(-s)).log(), special.softplus),
}
SCALED = {  # parameters before the scale, at the point X
    "cauchy": {"loc": lambda x: x[:, 0] * x[:, 1]},
    "gumbel": {"loc": lambda x: x[:, 0] * x[:, 1]},
    "half_normal": {},
    "log_normal": {"loc": lambda x: x[:, 0] * x[:, 1]},
    "logistic": {"loc": lambda x: x[:, 0] * x[:, 1]},
    "normal": {"loc": lambda x: x[:, 0] * x[:, 1]},
    "student_t": {
        "df": lambda x: 4 + x[:, 2].exp(),
        "loc": lambda x: x[:, 0] * x[:, 1],
    },
}


def sigma_of(x):
    return 0.4 + (x[:, 1] - 0.5 * x[:, 2]).square()


def raw_of(name, link, x):
    """What a network puts out at x [1, 3]: the law's own parameters, and a raw σ."""
    others = [value(x) for value in SCALED[name].values()]
    return torch.stack([*others, SIGMA[link][1](sigma_of(x))], dim=-1)[0]


def by_the_audit(name, link, tensor):
    def head(x):
        *others, raw = raw_of(name, link, x)
        values = dict(zip(SCALED[name], (v[None] for v in others), strict=True))
        return values | {"scale": SIGMA[link][0](raw)[None]}

    return pulled_back(name, head, tensor, {})


def by_scipy(name, link, tensor):
    """JᵀFJ with F of the raw outputs themselves, differentiated by levels."""

    def law(*raw):
        return levels.LAWS[name](*raw[:-1], SIGMA[link][2](raw[-1]))

    jacobian = jacrev(lambda x: raw_of(name, link, x[None]))(X[0])
    raw = raw_of(name, link, X).tolist()
    return jacobian.mT @ torch.from_numpy(tensor(law, raw)) @ jacobian


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in SCALED
        for kind in ("fisher_root", "transport_root")
        if (name, kind) != ("cauchy", "transport_root")
    ],
)
def test_the_link_of_a_scale_does_not_matter(name, kind):
    reference = levels.fisher if kind == "fisher_root" else levels.transport
    first = by_the_audit(name, "σ", kind)
    assert torch.linalg.matrix_norm(first) > 0.1
    for link in SIGMA:
        ours = by_the_audit(name, link, kind)
        torch.testing.assert_close(ours, first, rtol=1e-12, atol=1e-13)
        theirs = by_scipy(name, link, reference)
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("df", [1.0, 3.0, 30.0])
def test_a_student_head_with_log_scale_has_information_2_nu_over_nu_plus_3(df):
    def head(x):
        values = {"df": torch.full_like(x[:, 0], df), "loc": x[:, 0]}
        return values | {"scale": x[:, 1].exp()}

    information = pulled_back("student_t", head, "fisher_root", {})
    assert information[1, 1].item() == nearly(2 * df / (df + 3), 1e-12)
    assert information[0, 1].item() == pytest.approx(0.0, abs=1e-12)


def test_a_cauchy_head_with_log_scale_has_information_one_half():
    def head(x):
        return {"loc": x[:, 0], "scale": x[:, 1].exp()}

    information = pulled_back("cauchy", head, "fisher_root", {})
    assert information[1, 1].item() == nearly(0.5, 1e-12)
    scale = np.exp(X[0, 1].item())
    assert information[0, 0].item() == nearly(0.5 / scale**2, 1e-12)


def test_weights_that_do_not_sum_to_one_have_the_form_of_their_shares():
    """KL between the shares of w and of w + δ is ½ δᵀ F δ; of 3 w, that of δ / 3."""
    family = build_family("categorical", {"probs": (3,)})
    w = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64)
    step = torch.tensor([[1e-4, -3e-4, 4e-4]], dtype=torch.float64)
    for scale in (1.0, 3.0):
        p, *moved = (
            (v / v.sum()).numpy()
            for v in (scale * w, scale * w + step, scale * w - step)
        )
        exact = sum(float((p * np.log(p / q)).sum()) for q in moved) / 2
        root = family.fisher_root(scale * w)
        form = float((root.matmat(step.unsqueeze(-1)) ** 2).sum()) / 2
        assert form == pytest.approx(exact, rel=1e-5)
