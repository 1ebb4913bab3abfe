"""`decoder`: the generator of a conditional VAE, theta = T(x, z). It has no density.

theta in R⁵ lies near a surface that x in R³ bends: with u ~ N(0, I) in R²,

    theta = (u_1, u_2, sin(u_1 + x_1), cos(u_2 x_2), x_3 u_1) + 0.05 e.

Two coordinates of noise make a surface in R⁵, where no likelihood is defined; the
quantile distance is.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from export import Results, prepare, save_data, start
from fisher import summary
from implicit import fit, transport_by_differences
from onnx.tools.update_model_dims import update_inputs_outputs_dims
from torch import Tensor, nn

from audit.export import export_sampler

NOISE = 0.05
STEPS = 4000
BATCH = 512
TITLE = "decoder of a conditional VAE"


def network(inputs: int, outputs: int, width: int = 48) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.SiLU(),
        nn.Linear(width, width),
        nn.SiLU(),
        nn.Linear(width, outputs),
    )


class Decoder(nn.Module):
    """(x, z) -> theta in R⁵."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network(3 + 2, 5)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Return T(x, z)."""
        return self.body(torch.cat([x, z], 1))


def simulate(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw theta and x."""
    x = torch.randn(rows, 3, generator=generator)
    u = torch.randn(rows, 2, generator=generator)
    surface = [
        u[:, 0],
        u[:, 1],
        torch.sin(u[:, 0] + x[:, 0]),
        torch.cos(u[:, 1] * x[:, 1]),
        x[:, 2] * u[:, 0],
    ]
    noise = torch.randn(rows, 5, generator=generator)
    return torch.stack(surface, 1) + NOISE * noise, x


def main(folder: Path) -> dict[str, Results]:
    generator = prepare(37)
    encoder, decoder = network(5 + 3, 4), Decoder()

    def evidence(theta: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Squared error in units of the noise, and the KL to the base law."""
        mean, log_scale = encoder(torch.cat([theta, x], 1)).chunk(2, 1)
        e = torch.randn(mean.shape, generator=generator)
        error = (decoder(x, mean + log_scale.exp() * e) - theta) / NOISE
        kl = (mean**2 + (2 * log_scale).exp() - 1) / 2 - log_scale
        return (error**2).sum(1).mean() / 2, kl.sum(1).mean()

    def loss() -> Tensor:
        return sum(evidence(*simulate(BATCH, generator)))

    fit([*encoder.parameters(), *decoder.parameters()], loss, STEPS, rate=3e-3)
    decoder.eval()

    theta, x = simulate(128, torch.Generator().manual_seed(99))
    many_theta, many_x = simulate(20_000, torch.Generator().manual_seed(98))
    with torch.no_grad():
        error, kl = evidence(many_theta, many_x)
    for suffix in (".onnx", ".pt2"):
        path = folder / f"decoder{suffix}"
        export_sampler(decoder, path, x=x, noise=2, transport=TITLE)
    save_fixed(folder / "decoder.onnx", folder / "decoder_batch8.onnx")
    save_data(folder, "decoder", x=x, theta=theta)
    tensor = transport_by_differences(folder / "decoder.onnx", x)
    measured = {"half_error": error.item(), "latent_kl": kl.item()} | summary(tensor)
    return {"decoder": measured}


def save_fixed(source: Path, target: Path, batch: int = 8) -> None:
    """Write a copy that takes exactly `batch` rows."""
    proto = onnx.load(source)
    sizes = {"x": [batch, 3], "z": [batch, 2]}
    fixed = update_inputs_outputs_dims(proto, sizes, {"sample": [batch, 5]})
    del fixed.graph.value_info[:]
    fixed = onnx.shape_inference.infer_shapes(fixed)
    target.write_bytes(fixed.SerializeToString(deterministic=True))


if __name__ == "__main__":
    start(main)
