"""F_x does not depend on how the head is parameterised.

With φ = h(ψ) the information is F_ψ = Kᵀ F_φ K, K = ∂h/∂ψ, and J_φ = K J_ψ: both ways
the pulled-back tensor is J_φᵀ F_φ J_φ. Two kinds of ψ are tried:

- **A chart of each number**: log φ_j where it is positive, else asinh φ_j. The backward
  passes of the file then start from other numbers, and A = B(φ) K J_ψ.
- **Another parameterisation that the family knows** (logits for probabilities, a
  precision for a covariance): torch.distributions converts, autograd differentiates
  the conversion, and the *other* parameterisation's own closed form is the root,
  A = B'(φ') (∂φ'/∂φ) J_φ. Two formulas have to agree.

In float64 they agree to rounding. A probability below 1e-12 is left out: 1/√p times
a difference of p keeps no digits.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributions import Independent

from audit.families.interface import Family
from audit.families.tensors import Tensors
from audit.ground.errors import ConfigError, NoFisher
from audit.linalg.averaged import Sampled
from audit.linalg.operators import Product
from audit.linalg.stored import Matrix
from audit.models.maps import AutogradMap, ReverseJacobian
from audit.verify.selftest.finding import Finding, failed, inapplicable, passed
from audit.verify.selftest.subject import Subject, largest

NAME = "other_parameterisation"
_DOUBLE, _SINGLE = 1e-6, 1e-3
_LEAST = 1e-12
_DRAWS, _SEED = 16, 20_240_303


def other_parameterisation(it: Subject) -> Finding:
    """Compare tr F_x and λ_max by other parameters of the same law."""
    model, family = it.in_double[0], it.in_double[0].density.family
    if not family.parametric or not len(it.inputs):
        return inapplicable(NAME, "the file names no parameters")
    point = it.point(model)
    phi = point.phi
    try:
        root = family.root(Tensors.FISHER, phi, it.noise())
    except NoFisher as error:
        return inapplicable(NAME, error.given)
    if isinstance(root, Sampled):
        return inapplicable(NAME, f"{family.name} has no closed form to compare with")
    jacobian = point.jacobian.dense()
    own = Product(root, Matrix(jacobian)).dense()
    others = dict(_by_family(family, phi, jacobian))
    chart = _by_chart(it, root.dense())
    others |= {} if chart is None else {"logarithms": chart}
    judged = phi.isfinite().all(dim=1) & _well_inside(family, phi)
    errors = {n: e for n, a in others.items() if (e := _apart(own, a, judged)) >= 0}
    if not errors:
        return inapplicable(NAME, f"{family.name} has no other parameters here")
    name, worst = largest(errors)
    if worst <= (_DOUBLE if it.is_double else _SINGLE):
        tried = ", ".join(errors)
        return passed(NAME, f"F_x is the same within {worst:.0e} by {tried}", **errors)
    return failed(
        NAME,
        f"F_x changes by {worst:.1e} when {family.name} is parameterised by {name}",
        "a closed form of the family, or a derivative of the file, is wrong: audit "
        "with --method finite-difference, and report the family",
        **errors,
    )


def _apart(own: Tensor, other: Tensor, judged: Tensor) -> float:
    """Return the largest relative difference of trace and λ_max; −1 if none is judged.

    Shapes: A [n, r, m] each, judged [n].
    """
    errors = [torch.zeros(0, dtype=torch.float64)]
    for a, b in zip(own[judged], other[judged], strict=True):
        s, t = torch.linalg.svdvals(a).square(), torch.linalg.svdvals(b).square()
        if not bool(torch.isfinite(s).all()) or float(s.sum()) == 0:
            continue
        pairs = torch.stack([t.sum() / s.sum(), t.max() / s.max()])
        errors.append((pairs - 1).abs().nan_to_num(torch.inf, torch.inf).cpu())
    found = torch.cat(errors)
    return float(found.max()) if len(found) else -1.0


def _well_inside(family: Family, phi: Tensor) -> Tensor:
    """Return where no probability [n] is next to zero or one."""
    inside = torch.ones(len(phi), dtype=torch.bool, device=phi.device)
    law = _base(family, phi)
    probs = getattr(law, "probs", None)
    if isinstance(probs, Tensor):
        flat = probs.reshape(len(phi), -1)
        inside = (flat > _LEAST).all(dim=1)
        if family.name not in ("categorical", "one_hot_categorical"):
            inside = inside & (1 - flat > _LEAST).all(dim=1)
    return inside


def _base(family: Family, phi: Tensor) -> object:
    law = family.distribution(phi)
    return law.base_dist if isinstance(law, Independent) else law


def _by_family(
    family: Family, phi: Tensor, jacobian: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """Yield each other parameterisation's name and its A [n, r, m]."""
    for names in getattr(family, "parameterizations", ()):
        leaf = phi.detach().clone().requires_grad_()
        found = None if names == family.parameters else _converted(family, leaf, names)
        if found is None:
            continue
        other, packed = found
        root = other.fisher_root(packed.detach())
        if root is not None:
            slope = ReverseJacobian(packed, leaf).dense()
            yield " and ".join(names), root.matmat(slope @ jacobian)


def _converted(
    family: Family, leaf: Tensor, names: tuple[str, ...]
) -> tuple[Family, Tensor] | None:
    """Return the law by other parameters, and these as a function of φ [n, p].

    What torch calls by a parameter's name need not be that parameter (the `probs` of a
    discrete hazard are masses there), so both have to give equal densities.
    """
    law = _base(family, leaf)
    known = {name: getattr(law, name, None) for name in names} | family.unpack(leaf)
    values = {n: v for n in names if isinstance(v := known[n], Tensor)}
    if len(values) < len(names):
        return None
    shapes = {name: tuple(value.shape[1:]) for name, value in values.items()}
    try:
        other = family.reshaped(shapes)
        packed = other.pack(values)
        same = _same_law(family, leaf.detach(), other, packed.detach())
    except (ConfigError, NotImplementedError):
        return None  # an option fixes one of them
    return (other, packed) if same and packed.requires_grad else None


def _same_law(family: Family, phi: Tensor, other: Family, packed: Tensor) -> bool:
    law = family.distribution(phi)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        drawn = law.sample(torch.Size((_DRAWS,)))
    there = other.distribution(packed).log_prob(drawn)
    return torch.allclose(law.log_prob(drawn), there, rtol=1e-6, atol=1e-6)


def _by_chart(it: Subject, root: Tensor) -> Tensor | None:
    """Return A [n, r, m] by the chart of each number; None where x is not φ's origin.

    Args:
        it: the model under test.
        root: B [n, r, p].
    """
    model = it.in_double[0]
    inner = model.density.parameter_map
    if not isinstance(inner, AutogradMap):
        return None
    x, held = model.rows(it.inputs)
    leaf = x.detach().to(inner.dtype).requires_grad_()
    phi = inner.function(leaf.reshape(-1, *inner.event), held)
    positive = (phi > 0).detach()
    inside = torch.where(positive, phi, 1.0)
    psi = torch.where(positive, inside.log(), phi.asinh())
    slope = torch.where(positive, phi, (1 + phi.square()).sqrt()).detach()
    frame = it.questions.frame.at(it.inputs)
    framed = frame.pull(Matrix(ReverseJacobian(psi, leaf).dense()))
    return root @ (slope.unsqueeze(-1) * framed.dense())
