"""What a user of torch and scipy would run instead, on the workloads of `nets`.

Each answers the question of the product: trace, five eigenvalues and their vectors of
the form G at every input, and returns the eigenvalues [n, 5]. A peer is made by a
builder (net, module, x) -> run(n) on the first n inputs, in single precision unless the
module and x are double; `one_at_a_time` and `dense` take G itself, d×d.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import grad, jacrev, jvp, vjp, vmap
from torch.nn import functional

from tests.benchmarks.nets import SMALLEST, TOP, Net

Run = Callable[[int], Tensor]
Build = Callable[[Net, nn.Module, Tensor], Run]
ROWS = {"W1": 256, "W2": 1, "W3": 32, "W5": 256, "W6": 8}
"""Inputs of a chunk: as fast as half and twice as many, or faster."""


def weights(net: Net, phi: Tensor) -> Tensor:
    """Return the diagonal of the root of a normal law's information, in φ = (μ, r).

    I(μ) = 1/σ² and I(σ) = 2/σ², with σ = softplus(r) + 10⁻³ and dσ/dr = sigmoid(r).
    """
    raw = phi[..., phi.shape[-1] // 2 :]
    scale = functional.softplus(raw) + SMALLEST
    return torch.cat([1 / scale, 2**0.5 * raw.sigmoid() / scale], dim=-1)


def of_form(form: Tensor) -> Tensor:
    """Return the leading eigenvalues of G [..., d, d], the rest beside them."""
    values, vectors = torch.linalg.eigh(form)
    _ = values.sum(dim=-1), vectors[..., -TOP:]
    return values[..., -TOP:].flip(-1)


def of_root(root: Tensor) -> Tensor:
    """Return those of AᵀA from A [..., p, d], by the smaller Gram matrix."""
    if root.shape[-1] <= root.shape[-2]:
        return of_form(root.mT @ root)
    values, vectors = torch.linalg.eigh(root @ root.mT)
    turned = vectors[..., -TOP:].mT @ root
    _ = values.sum(dim=-1), functional.normalize(turned, dim=-1)
    return values[..., -TOP:].flip(-1)


def one_at_a_time(net: Net, model: nn.Module, x: Tensor) -> Run:
    """A loop of `torch.autograd.functional.jacobian`, and eigh of G."""

    def form(row: Tensor) -> Tensor:
        if net.kind == "normal":
            jacobian = torch.autograd.functional.jacobian(
                lambda one: model(one[None])[0], row
            ).flatten(1)
            root = weights(net, model(row[None])[0])[:, None] * jacobian
            return root.mT @ root
        draws = drawn(net, model, row[None])[:, 0]
        if net.kind == "flow":
            rows = torch.stack([score(model, row, theta) for theta in draws])
            return rows.mT @ rows / len(rows)
        total = torch.zeros(len(row), len(row), dtype=row.dtype)
        for z in draws:
            jacobian = torch.autograd.functional.jacobian(
                lambda one, z=z: model(one[None], z[None])[0], row
            )
            total += jacobian.mT @ jacobian
        return total / len(draws)

    return lambda n: torch.stack([of_form(form(row)) for row in x[:n]])


def score(model: nn.Module, row: Tensor, theta: Tensor) -> Tensor:
    """Return d log q(θ|x) / dx [d]."""
    leaf = row.clone().requires_grad_()
    (found,) = torch.autograd.grad(model(leaf).log_prob(theta), leaf)
    return found


def drawn(net: Net, model: nn.Module, x: Tensor) -> Tensor:
    """Return the draws of θ of a flow, or of base noise, [draws, n, ...]."""
    if net.kind == "generator":
        return torch.randn(net.draws, len(x), net.noise, dtype=x.dtype)
    with torch.no_grad():
        return model(x).sample((net.draws,))


def mapped(net: Net, model: nn.Module, x: Tensor) -> Run:
    """torch.func: vmap(jacrev) or vmap(grad), and the Gram matrix."""
    if net.kind == "normal":

        def one(row: Tensor) -> tuple[Tensor, Tensor]:
            phi = model(row[None])[0]
            return phi, phi

        jacobian = vmap(jacrev(one, has_aux=True))

        def chunk(part: Tensor) -> Tensor:
            rows, phi = jacobian(part)
            return of_root(weights(net, phi)[..., None] * rows.flatten(2))

    elif net.kind == "flow":
        scores = vmap(vmap(grad(lambda c, t: model(c).log_prob(t)), (None, 0)), (0, 1))

        def chunk(part: Tensor) -> Tensor:
            return of_root(scores(part, drawn(net, model, part)) / net.draws**0.5)

    else:
        inner = jacrev(lambda row, z: model(row[None], z[None])[0])
        jacobians = vmap(vmap(inner, (None, 0)), (0, 1))

        def chunk(part: Tensor) -> Tensor:
            rows = jacobians(part, drawn(net, model, part)) / net.draws**0.5
            return of_root(rows.flatten(1, 2))

    return in_chunks(net, x, chunk)


def in_chunks(net: Net, x: Tensor, chunk: Callable[[Tensor], Tensor]) -> Run:
    """Return what runs a function over chunks of rows."""
    rows = ROWS[net.name]

    def run(n: int) -> Tensor:
        with torch.no_grad():
            return torch.cat([chunk(part) for part in x[:n].split(rows)])

    return run


def summed(net: Net, model: nn.Module, x: Tensor) -> Run:
    """One backward pass for each output, summed over rows; eigh of G, d×d."""

    def root(part: Tensor) -> Tensor:
        leaf = part.clone().requires_grad_()
        phi = model(leaf)
        totals = phi.sum(dim=0)
        rows = [
            torch.autograd.grad(one, leaf, retain_graph=True)[0].flatten(1)
            for one in totals
        ]
        return weights(net, phi.detach())[..., None] * torch.stack(rows, dim=1)

    def run(n: int) -> Tensor:
        roots = (root(part) for part in x[:n].split(64))
        return torch.cat([of_form(one.mT @ one) for one in roots])

    return run


def repeated(net: Net, model: nn.Module, x: Tensor) -> Run:
    """Eager zuko: x repeated for each draw, and one backward pass for all rows."""

    def chunk(part: Tensor) -> Tensor:
        theta = drawn(net, model, part)
        rows = part.expand(net.draws, *part.shape).flatten(0, 1).clone()
        with torch.enable_grad():
            total = model(rows.requires_grad_()).log_prob(theta.flatten(0, 1)).sum()
            (found,) = torch.autograd.grad(total, rows)
        scores = found.reshape(net.draws, *part.shape).movedim(0, 1)
        return of_root(scores / net.draws**0.5)

    return in_chunks(net, x, chunk)


def lanczos(net: Net, model: nn.Module, x: Tensor) -> Run:
    """scipy's eigsh (ARPACK) on products with G: one jvp and one vjp each.

    The information of a categorical law in its logits is diag(p) − p pᵀ.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    def values(row: Tensor) -> Tensor:
        logits, back = vjp(model, row[None])
        p = logits.softmax(dim=-1)

        def product(v: np.ndarray) -> np.ndarray:
            tangent = torch.from_numpy(v).to(row).reshape(1, *row.shape)
            moved = jvp(model, (row[None],), (tangent,))[1]
            (found,) = back(p * (moved - (p * moved).sum()))
            return found.flatten().numpy()

        d = row.numel()
        kind = np.float64 if row.dtype == torch.float64 else np.float32
        form = LinearOperator((d, d), matvec=product, dtype=kind)
        tolerance = 1e-9 if kind is np.float64 else 1e-3
        start = np.ones(d, kind)
        found, _ = eigsh(form, TOP, which="LA", tol=tolerance, v0=start)
        return torch.from_numpy(found[::-1].copy())

    return lambda n: torch.stack([values(row) for row in x[:n]])


PEERS: dict[str, dict[str, tuple[Build, int]]] = {
    "W1": {"loop": (one_at_a_time, 48), "dense": (summed, 1000)},
    "W2": {"loop": (one_at_a_time, 1)},
    "W3": {"loop": (one_at_a_time, 1), "eager zuko + Gram": (repeated, 256)},
    "W4": {"scipy eigsh": (lanczos, 1)},
    "W5": {"loop": (one_at_a_time, 4), "dense": (summed, 64)},
    "W6": {"loop": (one_at_a_time, 2)},
}
"""Workload -> peer -> its builder, and the inputs it is given at most."""
for _name, _most in {"W1": 10_000, "W2": 32, "W3": 256, "W6": 512}.items():
    PEERS[_name]["torch.func + Gram"] = (mapped, _most)
