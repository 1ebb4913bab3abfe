"""Reference numbers for the model cards, in plain torch and float64.

One row at a time, by `torch.autograd.functional.jacobian` and textbook formulas: slow,
short, and independent of the package that the sample models are there to test.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

Outputs = dict[str, Tensor]


def normal(outputs: Outputs) -> tuple[Tensor, Tensor]:
    """(loc, scale) of a Normal head and its Fisher information diag(1, 2) / scale²."""
    loc, scale = outputs["loc"][0], outputs["log_scale"][0].exp()
    return torch.cat([loc, scale]), torch.cat([scale**-2, 2 * scale**-2]).diag()


def categorical(outputs: Outputs) -> tuple[Tensor, Tensor]:
    """Logits and their Fisher information diag p - p pᵀ."""
    logits = outputs["logits"][0]
    p = logits.softmax(-1)
    return logits, p.diag() - torch.outer(p, p)


def poisson(outputs: Outputs) -> tuple[Tensor, Tensor]:
    """The rate and its Fisher information 1 / rate."""
    rate = outputs["rate"][0]
    return rate, (1 / rate).diag()


def student_t(outputs: Outputs) -> tuple[Tensor, Tensor]:
    """(df, loc, scale) of a Student-t and its Fisher information."""
    df, loc, scale = (outputs[key][0, 0] for key in ("df", "loc", "scale"))
    half = torch.polygamma(1, df / 2) - torch.polygamma(1, (df + 1) / 2)
    information = torch.zeros(3, 3, dtype=df.dtype)
    shape = half / 4 - (df + 5) / (2 * df * (df + 1) * (df + 3))
    information[0, 0] = shape
    information[1, 1] = (df + 1) / ((df + 3) * scale**2)
    information[2, 2] = 2 * df / ((df + 3) * scale**2)
    information[0, 2] = information[2, 0] = -2 / ((df + 1) * (df + 3) * scale)
    return torch.stack([df, loc, scale]), information


def multivariate_normal(outputs: Outputs) -> tuple[Tensor, Tensor]:
    """(loc, covariance) of a Gaussian and its Fisher information.

    Over the n² entries of the covariance taken one by one the information is
    ½ Σ⁻¹ ⊗ Σ⁻¹, which is right for every symmetric change of them.
    """
    loc, factor = outputs["loc"][0], outputs["scale_tril"][0]
    precision = torch.cholesky_inverse(factor)
    phi = torch.cat([loc, (factor @ factor.T).flatten()])
    return phi, torch.block_diag(precision, torch.kron(precision, precision) / 2)


def mixture(outputs: Outputs, points: int = 4001) -> tuple[Tensor, Tensor]:
    """(logits, loc, scale) of a 1-d normal mixture and its Fisher information.

    There is no closed form: the scores' second moment by the trapezoidal rule over
    eight widths on either side of the outermost centres.
    """
    phi = torch.cat([outputs[key][0] for key in ("logits", "loc", "scale")])
    _, loc, scale = phi.detach().chunk(3)
    low, high = (loc - 8 * scale).min(), (loc + 8 * scale).max()
    theta = low + (high - low) * torch.linspace(0, 1, points, dtype=phi.dtype)

    def log_density(phi: Tensor) -> Tensor:
        logits, loc, scale = phi.chunk(3)
        components = torch.distributions.Normal(loc, scale).log_prob(theta[:, None])
        return torch.logsumexp(logits.log_softmax(-1) + components, -1)

    score = torch.func.jacfwd(log_density)(phi.detach())
    mass = log_density(phi.detach()).exp() * (high - low) / (points - 1)
    return phi, score.T @ (score * mass[:, None])


def input_information(
    model: nn.Module, x: Tensor, head: Callable[[Outputs], tuple[Tensor, Tensor]]
) -> Tensor:
    """F_x = Jᵀ F J for each row of x, as a float64 tensor [N, d, d]."""
    model = copy.deepcopy(model).double().eval()
    rows = []
    for row in x.double():
        point = row[None]
        jacobian = torch.autograd.functional.jacobian(
            lambda point: head(model(point))[0], point
        ).flatten(1)
        with torch.no_grad():
            information = head(model(point))[1]
        rows.append(jacobian.T @ information @ jacobian)
    return torch.stack(rows)


def summary(information: Tensor) -> dict[str, float | np.ndarray]:
    """Tr F_x and the largest eigenvalue of F_x: means, and one value per row."""
    trace = information.diagonal(dim1=-2, dim2=-1).sum(-1)
    eigenvalue = torch.linalg.eigvalsh(information)[:, -1]
    return {
        "mean_trace": trace.mean().item(),
        "mean_eigenvalue": eigenvalue.mean().item(),
        "trace": trace.numpy(),
        "eigenvalue": eigenvalue.numpy(),
    }
