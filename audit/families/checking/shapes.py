"""The laws of φ, of what is no member, and of log densities."""

from __future__ import annotations

import torch

from audit.families.checking.subject import Subject


def unpack_inverts_pack(it: Subject) -> None:
    """Unpack inverts pack: φ keeps every parameter."""
    found = it.law.unpack(it.law.pack(it.values))
    law = "unpack inverts pack"
    it.demand(set(found) == set(it.values), law, sorted(it.values), sorted(found))
    for name, value in it.values.items():
        lacking = (1,) * (found[name].dim() - value.dim())
        spread = value.reshape(len(value), *lacking, *value.shape[1:])
        spread = spread.expand(found[name].shape)
        same = torch.allclose(found[name], spread, rtol=1e-15, atol=1e-15)
        it.demand(same, law, spread, found[name])


def parameters_are_rows_of_float64(it: Subject) -> None:
    """φ is float64 [N, p], differentiable in each parameter."""
    law = "φ is float64 [N, p], differentiable in each parameter"
    shape, wanted = list(it.phi.shape), [len(it.phi), it.law.size]
    it.demand(shape == wanted, law, wanted, shape)
    it.demand(it.phi.dtype == torch.float64, law, torch.float64, it.phi.dtype)
    values = {k: v.clone().requires_grad_() for k, v in it.values.items()}
    total = it.law.pack(values).square().sum()
    gradients = torch.autograd.grad(total, list(values.values()), allow_unused=True)
    for (name, value), gradient in zip(values.items(), gradients, strict=True):
        it.demand(gradient is not None, law, f"a gradient of {name}", "none")
        used = value != 0  # of a triangular matrix, only the triangle
        copies = (gradient / value / 2)[used].detach()
        whole = torch.allclose(copies, copies.round()) and bool((copies > 0.5).all())
        it.demand(whole, law, f"each number of {name}, once or more", copies)


def draws_have_the_shape_of_an_event(it: Subject) -> None:
    """The distribution has batch shape [N] and the family's event shape."""
    law = "the distribution has batch shape [N] and the family's event shape"
    drawn = it.law.distribution(it.phi)
    wanted = [len(it.phi), *it.law.event_shape]
    found = [*drawn.batch_shape, *drawn.event_shape]
    it.demand(found == wanted, law, wanted, found)
    sample = drawn.sample(torch.Size((5,)))
    it.demand(list(sample.shape) == [5, *wanted], law, [5, *wanted], list(sample.shape))
    double = sample.dtype == torch.float64 or not sample.is_floating_point()
    it.demand(double, "draws are float64, or whole numbers", "float64", sample.dtype)


def members_violate_nothing(it: Subject) -> None:
    """A member violates nothing; what is not finite does, in its row alone."""
    law = "a member violates nothing; what is not finite does, in its row alone"
    found = it.law.violations(it.phi)
    it.demand(bool(found), law, "reasons", "none")
    for reason, wrong in found.items():
        it.demand(" " in reason, law, "a reason that reads as a clause", reason)
        it.demand(wrong.dtype == torch.bool, law, "bool", wrong.dtype)
        it.demand(not wrong.any(), law, "no violation", f"'{reason}' of {wrong}")
    phi = it.phi.detach().repeat(2, 1)
    phi[-1, 0] = torch.nan
    wrong = torch.stack(list(it.law.violations(phi).values())).any(0)
    wanted = [False] * (len(phi) - 1) + [True]
    it.demand(wrong.tolist() == wanted, law, wanted, wrong)


def signs_are_those_of_parameters(it: Subject) -> None:
    """What must be positive, or not negative, is a parameter."""
    law = "what must be positive, or not negative, is a parameter"
    known = set(it.law.parameters).union(*getattr(it.law, "parameterizations", ()))
    for sign in ("positive", "not_negative"):
        stated = set(getattr(it.law, sign, ()))
        it.demand(stated <= known, f"{law}: {sign}", sorted(known), sorted(stated))


def log_densities_belong_to_their_rows(it: Subject) -> None:
    """Log q(θ) is [S, N], finite at draws, with a gradient in its own row alone."""
    law = "log q(θ) is [S, N], finite at draws, with a gradient in its own row alone"
    phi = it.phi.detach().requires_grad_()
    drawn = it.law.distribution(phi)
    try:
        values = drawn.log_prob(drawn.sample(torch.Size((3,))).detach())
    except NotImplementedError:  # it knows quantiles, or a sampler, alone
        return
    shape = list(values.shape)
    it.demand(shape == [3, len(phi)], law, [3, len(phi)], shape)
    double = values.dtype == torch.float64
    it.demand(double, "log q(θ) is float64", torch.float64, values.dtype)
    it.demand(torch.isfinite(values).all(), law, "finite numbers", values)
    (gradient,) = torch.autograd.grad(values[:, 0].sum(), phi)
    own = torch.isfinite(gradient).all() and (gradient[0] != 0).any()
    it.demand(own, law, "a gradient in row 0", gradient[0])
    it.demand((gradient[1:] == 0).all(), law, "none in the others", gradient[1:])


LAWS = (
    members_violate_nothing,
    unpack_inverts_pack,
    parameters_are_rows_of_float64,
    draws_have_the_shape_of_an_event,
    signs_are_those_of_parameters,
    log_densities_belong_to_their_rows,
)
