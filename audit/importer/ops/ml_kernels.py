"""Support vector machines of ai.onnx.ml.

Platt's probabilities: each pair of classes has r_ij = 1 / (1 + e^{a s + b}) of its
decision value s, and the classes have the p that minimises Σ_{i≠j} (r_ji p_i − r_ij
p_j)² under Σ p = 1 (Wu, Lin, Weng 2004, the second method). Files are run with the
iteration of LIBSVM, one class after another from 1/k each, which ends where no entry of
Qp − pᵀQp is above 0.005 / k: so p is what it has then, and so is its derivative.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.limits import check_elements, check_temporary
from audit.importer.ops.ml import ML, labelled, transformed
from audit.importer.registry import Site, operator
from audit.importer.values import Value

_LEAST = 1e-7  # LIBSVM's bound of a pair's probability, from 0 and 1
_ROUNDS, _NEAR = 100, 0.005  # its rounds, and where they end


def _kernel(x: Tensor, y: Tensor, kind: str, given: list[float], site: Site) -> Tensor:
    """Return k(x, y) for every row of x and of y."""
    gamma, coef0, degree = given or (0.0, 0.0, 0.0)
    check_elements((len(x), len(y)), "The kernels of a support vector machine")
    if kind == "RBF":
        check_temporary((len(x), *y.shape), "The distances to the support vectors")
        squares = (x.unsqueeze(1) - y.unsqueeze(0)).square().sum(-1)
        return torch.exp(-gamma * squares)
    product = functional.linear(x, y)
    if kind == "LINEAR":
        return product
    if kind == "POLY":
        return (gamma * product + coef0) ** degree
    if kind == "SIGMOID":
        return torch.tanh(gamma * product + coef0)
    raise site.refuse(f"kernel_type '{kind}' is unknown")


def _row(values: list[float] | None, x: Tensor) -> Tensor:
    return torch.tensor(values or [], dtype=x.dtype, device=x.device)


@operator("SVMRegressor", domain=ML)
def svm_regressor(
    x: Tensor,
    *,
    coefficients: list[float] | None = None,
    kernel_params: list[float] | None = None,
    kernel_type: str = "LINEAR",
    n_supports: int = 0,
    one_class: int = 0,
    post_transform: str = "NONE",
    rho: list[float] | None = None,
    support_vectors: list[float] | None = None,
    site: Site,
) -> Tensor:
    """Kernels with the support vectors, weighted; or a linear model without any."""
    x = x if x.is_floating_point() else x.to(site.dtype(1))
    weights, shift = _row(coefficients, x), _row(rho, x)[:1]
    if n_supports:
        vectors = _row(support_vectors, x).reshape(n_supports, -1)
        values = _kernel(x, vectors, kernel_type, kernel_params or [], site)
    else:
        values = x
    y = functional.linear(values, weights.reshape(1, -1)) + shift
    if one_class:
        raise site.refuse("one_class has a sign as its output")
    return transformed(y, post_transform, site)


@operator("SVMClassifier", domain=ML, zero_outputs=(0,))
def svm_classifier(
    x: Tensor,
    *,
    classlabels_ints: list[int] | None = None,
    classlabels_strings: list[str] | None = None,
    coefficients: list[float] | None = None,
    kernel_params: list[float] | None = None,
    kernel_type: str = "LINEAR",
    post_transform: str = "NONE",
    prob_a: list[float] | None = None,
    prob_b: list[float] | None = None,
    rho: list[float] | None = None,
    support_vectors: list[float] | None = None,
    vectors_per_class: list[int] | None = None,
    site: Site,
) -> tuple[Value, Tensor]:
    """Votes of one-against-one machines; Platt probabilities when they are there.

    Without support vectors it is linear: a score of each class, and the best one.
    """
    x = x if x.is_floating_point() else x.to(site.dtype(1))
    if not vectors_per_class:
        classes = len(classlabels_ints or classlabels_strings or [])
        if classes < 3:
            raise site.refuse(
                "without support vectors and with two classes runtimes differ in what "
                "it says"
            )
        weights, shift = _row(coefficients, x).reshape(classes, -1), _row(rho, x)[:1]
        check_elements((len(x), classes), "The scores of the classes")
        scores = functional.linear(x, weights) + shift
        label = labelled(scores.argmax(-1), classlabels_ints, classlabels_strings)
        return label, transformed(scores, post_transform, site)
    scores = _pairwise(
        _kernel(
            x,
            _row(support_vectors, x).reshape(sum(vectors_per_class), -1),
            kernel_type,
            kernel_params or [],
            site,
        ),
        _row(coefficients, x),
        _row(rho, x),
        vectors_per_class,
    )
    votes = _votes(scores.detach(), len(vectors_per_class))
    if prob_a:
        slopes, shifts = _row(prob_a, x), _row(prob_b, x)
        scores = _coupled(torch.sigmoid(-(scores * slopes + shifts)), len(votes[0]))
    elif scores.shape[1] == 1:  # two classes: one decision value
        scores = torch.cat([-scores, scores], -1)
    best = votes.argmax(-1)
    label = labelled(best, classlabels_ints, classlabels_strings)
    return label, transformed(scores, post_transform, site)


def _pairwise(
    kernels: Tensor, coefficients: Tensor, rho: Tensor, counts: list[int]
) -> Tensor:
    """Return the decision value of each pair of classes."""
    classes = len(counts)
    weights = coefficients.reshape(classes - 1, -1)
    starts = [sum(counts[:i]) for i in range(classes)]
    scores = []
    for place, (i, j) in enumerate(combinations(range(classes), 2)):
        mine = slice(starts[i], starts[i] + counts[i])
        theirs = slice(starts[j], starts[j] + counts[j])
        value = (kernels[:, mine] * weights[j - 1, mine]).sum(-1)
        value = value + (kernels[:, theirs] * weights[i, theirs]).sum(-1)
        scores.append(value + rho[place])
    return torch.stack(scores, -1)


def _coupled(pairs: Tensor, classes: int) -> Tensor:
    """Return the probabilities [n, k] of classes from those of their pairs.

    Pairs [n, k (k − 1) / 2] are in the order of `combinations`, and it is the first
    one's probability.
    """
    check_elements((len(pairs), classes, classes), "The pairs of classes of all rows")
    first, second = zip(*combinations(range(classes), 2), strict=True)
    sure = pairs.clamp(_LEAST, 1 - _LEAST)
    r = pairs.new_zeros(len(pairs), classes, classes)
    r[:, first, second], r[:, second, first] = sure, 1 - sure
    q = torch.diag_embed(r.square().sum(1)) - r * r.mT
    p = pairs.new_full((len(pairs), classes), 1 / classes)
    for _ in range(max(_ROUNDS, classes)):
        qp = (q @ p.unsqueeze(-1)).squeeze(-1)
        size = (p * qp).sum(-1, keepdim=True)
        far = (qp - size).abs().amax(-1, keepdim=True) >= _NEAR / classes
        if not far.any():
            break
        p = torch.where(far, _passed(p, q, qp, size), p)
    return p


def _passed(p: Tensor, q: Tensor, qp: Tensor, size: Tensor) -> Tensor:
    """Return p after each class in turn has been moved to where its error is zero."""
    for t in range(p.shape[1]):
        own = q[:, t, t].unsqueeze(-1)
        step = (size - qp[:, t : t + 1]) / own
        at = functional.one_hot(torch.tensor(t), p.shape[1]).to(p)
        size = (size + step * (step * own + 2 * qp[:, t : t + 1])) / (1 + step).square()
        p = (p + step * at) / (1 + step)
        qp = (qp + step * q[:, t]) / (1 + step)
    return p


def _votes(scores: Tensor, classes: int) -> Tensor:
    votes = torch.zeros(scores.shape[0], classes, device=scores.device)
    for place, (i, j) in enumerate(combinations(range(classes), 2)):
        wins = scores[:, place] > 0
        votes[:, i] += wins
        votes[:, j] += ~wins
    return votes
