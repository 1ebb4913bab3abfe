"""The Fisher root in use, against E[s sᵀ] for the scores s of torch's own law.

Along a direction w of φ with |B w| = 1, where B is the family's root, E[(s·w)²] = 1.
The score is autograd's of `log_prob`, so neither the root nor the exact divergences of
the family are used. Three directions are tried at three inputs: J v for the worst v,
and two random ones.

- **Discrete laws: a sum over their values**, coordinate by coordinate where these are
  independent. Draws would not do: at a class of probability 1e-8 the score is 1e4
  with that probability, no draw sees it, and the sample says that the form is zero.
- **Continuous laws: draws**, and a z-test. A mixture is drawn component by component,
  as many from a rare one as from the others. Where another composed law (hurdle,
  censored, a product) has a rare part, no draw sees it, so there only an excess
  counts.

The z-test refuses at 6.5 standard errors. With 9 tests a normal z would pass that with
a chance of 7e-10. (s·w)² is skewed, like χ² with one degree of freedom at best (γ =
2.8) and like the square of an exponential at worst that we know (γ = 6.6, a gamma's
concentration near 0). By the Edgeworth factor exp(γ z³ / 6√S), with S = 2¹⁶ draws 1.7
and 3.2, the chance stays below 3e-9: far from the 1e-6 that a false alarm may have.
An error of 0.1 % is nothing even where the test sees it.

References:
    Lehmann & Casella, Theory of Point Estimation (1998), section 2.5: F = Var[s].
    Feller, An Introduction to Probability Theory II (1971), XVI.7, for the factor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.families.tensors import Tensors
from audit.ground.errors import NoFisher
from audit.linalg.averaged import Sampled
from audit.measure import Point
from audit.nodes.noise import Noise
from audit.verify.selftest.finding import Finding, failed, inapplicable, passed
from audit.verify.selftest.moments import Moments, by_draws, by_values
from audit.verify.selftest.subject import Subject, with_unit_image

NAME = "fisher_against_scores"
_ERRORS, _SUMS, _SMALL = 6.5, 1e-6, 1e-3
_STREAM = 13  # of the noise
_RANDOM = 2  # directions beside J v


def fisher_against_scores(it: Subject) -> Finding:
    """Compare the closed form of the Fisher information with the scores."""
    model = it.in_double[0]
    family = model.density.family
    if not family.parametric or not len(it.inputs):
        return inapplicable(NAME, "no closed form is in use: the file names no law")
    point = it.point(model)
    try:
        root = family.root(Tensors.FISHER, point.phi, it.noise())
    except NoFisher as error:
        return inapplicable(NAME, error.given)
    if isinstance(root, Sampled):
        return inapplicable(NAME, "no closed form is in use: scores are sampled")
    w, usable = _directions(root.dense(), point, it.noise())
    if not bool(usable.any()):
        return inapplicable(NAME, "the form is zero or infinite at every input")
    found = by_values(family, point.phi, w) or by_draws(
        family, point.phi, w, it.noise()
    )
    if found is None:
        return inapplicable(NAME, f"{family.name} can be neither summed nor drawn from")
    return _judged(found, usable, family.name)


def _judged(found: Moments, usable: Tensor, family: str) -> Finding:
    judged = usable & torch.isfinite(found.mean)
    if not bool(judged.any()):
        return inapplicable(NAME, "no score is finite at any input")
    off, error = (found.mean - 1)[judged], found.error[judged]
    allowed = torch.maximum(_ERRORS * error, torch.full_like(error, _SMALL))
    if not bool(error.any()):
        allowed = torch.full_like(error, _SUMS)
    over = off / allowed
    over = over.abs() if found.low else over
    worst = int(over.argmax())
    numbers = {"ratio": float(1 + off[worst]), "standard_error": float(error[worst])}
    if float(over[worst]) <= 1:
        said = f"E[(s·w)²] is that of the closed form by {found.how}"
        return passed(NAME, said, **numbers)
    return failed(
        NAME,
        f"the Fisher information of {family} is not that of its scores: by {found.how} "
        f"it is {numbers['ratio']:.4g} of the closed form",
        "the family's formula or its log_prob is wrong: report it (a family of your "
        "own: run audit.testing.check_law)",
        **numbers,
    )


def _directions(root: Tensor, point: Point, noise: Noise) -> tuple[Tensor, Tensor]:
    """Return w [n, K, p] with |B w| = 1, and where there is such a w [n, K]."""
    jacobian = point.jacobian.dense()
    finite = torch.isfinite(root).flatten(1).all(1) & torch.isfinite(jacobian).flatten(
        1
    ).all(1)
    root = torch.where(finite[:, None, None], root, 0.0)
    jacobian = torch.where(finite[:, None, None], jacobian, 0.0)
    v = torch.linalg.svd(root @ jacobian, full_matrices=False)[2][:, 0]  # [n, m]
    worst = (jacobian @ v.unsqueeze(-1)).mT
    size = root.square().sum(dim=1).sqrt()  # of each parameter [n, p]
    z = noise.normals((_RANDOM, root.shape[2]), _STREAM).to(root)
    scaled = torch.where(size > 0, size.reciprocal(), 0.0).unsqueeze(1)
    return with_unit_image(root, torch.cat([worst, z * scaled], dim=1))
