"""The squared distance of two means: a divergence with a metric tensor of its own."""

import torch

from audit.plugins import Divergence, Matrix, NoTransport, Tensors


def means(law, phi):
    """Return E[θ] [N, n] of the laws at φ [N, p]."""
    try:
        return law.distribution(phi).mean.reshape(len(phi), -1)
    except NotImplementedError:
        raise NoTransport(
            f"The mean of {law.name} is not known",
            "mean_gap needs a family with a mean in closed form",
            "Audit it with -d kl",
        ) from None


@torch.enable_grad()
def root(law, phi, noise):
    """Return the Jacobian of the means [N, n, p]: its square is the metric tensor."""
    leaf = phi.detach().requires_grad_()
    rows = [
        torch.autograd.grad(mean.sum(), leaf, retain_graph=True)[0]
        for mean in means(law, leaf).unbind(-1)
    ]
    return Matrix(torch.stack(rows, dim=1))


def exact(law, phi, other):
    """Return ‖E_q θ − E_q' θ‖² [N]."""
    return (means(law, phi) - means(law, other)).square().sum(-1)


def mean_gap():
    """The squared distance between the means of two laws."""
    return Divergence(
        "mean_gap",
        "θ²",
        1.0,
        Tensors.OTHER,
        exact,
        root=root,
        formula="‖E_q θ − E_q' θ‖² ≈ δᵀ Jᵀ J δ, J the Jacobian of the mean",
        reading="How far the point prediction moves; it is blind to the spread.",
    )
