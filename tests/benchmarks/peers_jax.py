"""What an expert in JAX would run: jit, vmap and the Gram matrix of the smaller side.

The networks of `nets` are read from their modules, layer by layer; images are laid out
with channels last, which XLA computes faster. A thousand classes take Lanczos steps on
the side of the logits, each a product with A Aᵀ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.benchmarks.nets import SMALLEST, TOP, Classifier, Net, Recurrent, Residual

ROWS = {"W1": 64, "W2": 2, "W3": 16, "W4": 1, "W5": 256, "W6": 1}
STEPS = 20  # of Lanczos
BOUND, SLOPE, BINS = 5.0, math.log(1e-3), 8  # of zuko's splines
Function = Callable[..., Any]


def layers(module: nn.Module) -> Function:
    """Return a network of JAX: one row, images as [h, w, channels]."""
    import jax
    import jax.numpy as jnp

    def array(weight: Tensor) -> Any:
        return jnp.asarray(weight.numpy())

    if isinstance(module, nn.Sequential):
        steps = [layers(one) for one in module]

        def run(h: Any) -> Any:
            for step in steps:
                h = step(h)
            return h

        return run
    if isinstance(module, nn.Linear):
        matrix, bias = array(module.weight.T), array(module.bias)
        return lambda h: h @ matrix + bias
    if isinstance(module, nn.Conv2d):
        kernel, bias = array(module.weight.permute(2, 3, 1, 0)), array(module.bias)
        (stride, _), (pad, _) = module.stride, module.padding

        def convolve(h: Any) -> Any:
            found = jax.lax.conv_general_dilated(
                h[None],
                kernel,
                (stride, stride),
                [(pad, pad)] * 2,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
            return found[0] + bias

        return convolve
    if isinstance(module, Residual):
        first, second, short = map(layers, (module.first, module.second, module.short))
        return lambda h: jax.nn.relu(second(jax.nn.relu(first(h))) + short(h))
    if isinstance(module, nn.Flatten):
        return lambda h: h.transpose(2, 0, 1).ravel()
    return {nn.ReLU: jax.nn.relu, nn.SiLU: jax.nn.silu}[type(module)]


def network(model: nn.Module) -> Function:
    """Return φ of one input, as torch lays it out."""
    import jax
    import jax.numpy as jnp

    if isinstance(model, Recurrent):
        gru, head = model.gru, layers(model.head)
        w_in, w_state, b_in, b_state = (
            jnp.asarray(getattr(gru, f"{name}_l0").numpy())
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )

        def unrolled(x: Any) -> Any:
            def step(h: Any, given: Any) -> Any:
                r_in, z_in, n_in = jnp.split(given, 3)
                r_h, z_h, n_h = jnp.split(w_state @ h + b_state, 3)
                r, z = jax.nn.sigmoid(r_in + r_h), jax.nn.sigmoid(z_in + z_h)
                new = jnp.tanh(n_in + r * n_h)
                return new + z * (h - new), None

            last, _ = jax.lax.scan(step, jnp.zeros(64), x @ w_in.T + b_in)
            return head(last)

        return unrolled
    if isinstance(model, Classifier):
        features, head = layers(model.features), layers(model.head)
        return lambda x: head(features(x.transpose(1, 2, 0)).mean(axis=(0, 1)))
    body = layers(getattr(model, "body", model))
    return lambda x: body(x.transpose(1, 2, 0) if x.ndim == 3 else x)


def of_form(form: Any) -> Any:
    """Return the leading eigenvalues of G, its trace and the vectors."""
    import jax.numpy as jnp

    values, vectors = jnp.linalg.eigh(form)
    return values[::-1][:TOP], values.sum(), vectors[:, ::-1][:, :TOP]


def of_root(root: Any) -> Any:
    """Return those of AᵀA, by the Gram matrix of the smaller side."""
    import jax.numpy as jnp

    if root.shape[1] <= root.shape[0]:
        return of_form(root.T @ root)
    values, trace, vectors = of_form(root @ root.T)
    turned = vectors.T @ root
    return values, trace, turned / jnp.linalg.norm(turned, axis=1, keepdims=True)


def gram(net: Net, model: nn.Module, x: Tensor) -> Callable[[int], Tensor]:
    """Return what runs the first n inputs."""
    import jax

    rows = ROWS[net.name]
    if net.kind == "categorical":
        one = by_lanczos(network(model))
        return lambda n: torch.stack([one(row) for row in x[:n].numpy()])
    rows = min(rows, len(x))
    solve = jax.jit(jax.vmap(_of_one(net, model)))
    random = np.random.default_rng(0)
    data = x.numpy()

    def noise(part: np.ndarray) -> tuple[np.ndarray, ...]:
        if not net.draws:
            return ()
        size = net.noise or 5
        drawn = random.standard_normal((len(part), net.draws, size), np.float32)
        return (drawn,)

    def run(n: int) -> Tensor:
        found = []
        for first in range(0, n, rows):
            part = data[first : min(first + rows, n)]
            whole = np.resize(part, (rows, *part.shape[1:]))  # one compiled shape
            found.append(np.asarray(solve(whole, *noise(whole))[0])[: len(part)])
        return torch.from_numpy(np.concatenate(found))

    return run


def _of_one(net: Net, model: nn.Module) -> Function:
    import jax
    import jax.numpy as jnp

    if net.kind == "flow":
        return _of_flow(model, net.draws)
    f = network(model) if net.kind == "normal" else layers(model.body)
    if net.kind == "normal":

        def normal(x: Any) -> Any:
            phi, jacobian = f(x), jax.jacrev(f)(x)
            raw = phi[len(phi) // 2 :]
            scale = jax.nn.softplus(raw) + SMALLEST
            slopes = math.sqrt(2) * jax.nn.sigmoid(raw) / scale
            root = jnp.concatenate([1 / scale, slopes])[:, None]
            return of_root(root * jacobian.reshape(len(phi), -1))

        return normal

    def generator(x: Any, z: Any) -> Any:
        moved = jax.jacrev(lambda v, one: f(jnp.concatenate([v, one])))
        jacobians = jax.vmap(moved, (None, 0))(x, z)
        return of_form(jnp.einsum("sij,sik->jk", jacobians, jacobians) / net.draws)

    return generator


def by_lanczos(f: Function) -> Callable[[np.ndarray], Tensor]:
    """Return the leading eigenvalues of one input: Lanczos in the space of logits.

    A = R J with R Rᵀ = diag(p) − p pᵀ, R = diag(√p) − √p pᵀ transposed; each step is
    a vjp and a jvp. The steps are a loop of Python: within a scan XLA's convolutions on
    the CPU are slower.
    """
    import jax
    import jax.numpy as jnp

    @jax.jit
    def step(x: Any, known: Any, q: Any) -> Any:
        logits, back = jax.vjp(f, x)
        p = jax.nn.softmax(logits)
        root = jnp.sqrt(p)
        (u,) = back(root * q - p * (root @ q))
        moved = jax.jvp(f, (x,), (u,))[1]
        w = root * (moved - p @ moved)
        along = q @ w
        for _ in range(2):  # full orthogonalisation, twice
            w = w - known.T @ (known @ w)
        size = jnp.linalg.norm(w)
        return along, size, w / size, u

    def run(row: np.ndarray) -> Tensor:
        q = jax.random.normal(jax.random.PRNGKey(0), (1000,))
        q = q / jnp.linalg.norm(q)
        known = jnp.zeros((STEPS, 1000))
        diagonal, beside, turned = [], [], []
        for place in range(STEPS):
            known = known.at[place].set(q)
            along, size, q, u = step(row, known, q)
            diagonal.append(float(along))
            beside.append(float(size))
            turned.append(u)
        off = np.diag(beside[:-1], 1)
        values, vectors = np.linalg.eigh(np.diag(diagonal) + off + off.T)
        first = jnp.asarray(vectors[:, ::-1][:, :TOP].T.copy())
        jax.block_until_ready(jnp.tensordot(first, jnp.stack(turned), 1))
        return torch.from_numpy(values[::-1][:TOP].copy())

    return run


def _of_flow(model: nn.Module, draws: int) -> Function:
    """Return draws, scores and their Gram matrix of a neural spline flow of zuko.

    Durkan et al., 2019. The transforms are autoregressive: an inverse takes as many
    passes as θ has coordinates.
    """
    import jax
    import jax.numpy as jnp

    hypers = [_hyper(one.hyper) for one in model.transform.transforms]
    size = 5

    def spline(hyper: Function, v: Any, context: Any) -> Any:
        phi = hyper(jnp.concatenate([v, context])).reshape(size, 3 * BINS - 1)
        wide, high = phi[:, :BINS], phi[:, BINS : 2 * BINS]
        steep = phi[:, 2 * BINS :]
        wide, high = (a / (1 + jnp.abs(2 * a / SLOPE)) for a in (wide, high))
        steep = steep / (1 + jnp.abs(steep / SLOPE))
        knots = [
            BOUND
            * (2 * jnp.pad(jnp.cumsum(jax.nn.softmax(a), -1), ((0, 0), (1, 0))) - 1)
            for a in (wide, high)
        ]
        return *knots, jnp.exp(jnp.pad(steep, ((0, 0), (1, 1))))

    def bin_of(v: Any, seen: Any, knots: tuple[Any, ...]) -> Any:
        place = jnp.sum(seen < v[:, None], axis=-1) - 1
        inside = (place >= 0) & (place < BINS)
        low = jax.nn.one_hot(place % BINS, BINS + 1)
        high = jax.nn.one_hot(place % BINS + 1, BINS + 1)
        ends = [jnp.sum(a * one, -1) for a in knots for one in (low, high)]
        return inside, *ends

    def forward(hyper: Function, v: Any, context: Any) -> Any:
        knots = spline(hyper, v, context)
        inside, x0, x1, y0, y1, d0, d1 = bin_of(v, knots[0], knots)
        s = (y1 - y0) / (x1 - x0)
        t = jnp.where(inside, (v - x0) / (x1 - x0), 0.5)
        low = s + (d0 + d1 - 2 * s) * t * (1 - t)
        y = y0 + (y1 - y0) * (s * t**2 + d0 * t * (1 - t)) / low
        slope = 2 * s * t * (1 - t) + d0 * (1 - t) ** 2 + d1 * t**2
        logs = 2 * jnp.log(s) + jnp.log(slope) - 2 * jnp.log(low)
        return jnp.where(inside, y, v), jnp.where(inside, logs, 0).sum()

    def backward(hyper: Function, v: Any, at: Any, context: Any) -> Any:
        knots = spline(hyper, at, context)
        inside, x0, x1, y0, y1, d0, d1 = bin_of(v, knots[1], knots)
        s, up = (y1 - y0) / (x1 - x0), jnp.where(inside, v - y0, 0)
        bend = d0 + d1 - 2 * s
        a = (y1 - y0) * (s - d0) + up * bend
        b = (y1 - y0) * d0 - up * bend
        c = -s * up
        t = 2 * c / (-b - jnp.sqrt(b**2 - 4 * a * c))
        return jnp.where(inside, x0 + t * (x1 - x0), v)

    def log_q(context: Any, theta: Any) -> Any:
        v, total = theta, 0.0
        for hyper in hypers:
            v, more = forward(hyper, v, context)
            total = total + more
        return total - 0.5 * jnp.sum(v**2)

    def draw(context: Any, z: Any) -> Any:
        v = z
        for hyper in reversed(hypers):
            at = jnp.zeros(size)
            for _ in range(size):
                at = backward(hyper, v, at, context)
            v = at
        return v

    def one(context: Any, z: Any) -> Any:
        theta = jax.lax.stop_gradient(jax.vmap(draw, (None, 0))(context, z))
        scores = jax.vmap(jax.grad(log_q), (None, 0))(context, theta)
        return of_form(scores.T @ scores / draws)

    return one


def _hyper(module: nn.Module) -> Function:
    """Return a masked perceptron, its masks multiplied in."""
    import jax
    import jax.numpy as jnp

    dense = [one for one in module if hasattr(one, "weight")]
    pairs = [
        (jnp.asarray((one.mask * one.weight).T.numpy()), jnp.asarray(one.bias.numpy()))
        for one in dense
    ]

    def run(h: Any) -> Any:
        for place, (matrix, bias) in enumerate(pairs):
            h = h @ matrix + bias
            h = jax.nn.relu(h) if place < len(pairs) - 1 else h
        return h

    return run
