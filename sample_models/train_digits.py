"""`digits_cnn`: handwritten digits of 8x8 pixels, a CNN with a categorical head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from export import Results, prepare, save, save_data, start
from fisher import categorical, input_information, summary
from sklearn.datasets import load_digits
from torch import Tensor, nn

CONTRACT = {"family": "categorical", "parameters": {"logits": "logits"}}


class DigitsNet(nn.Module):
    """Two convolutions with batch norm and max pooling, then ten logits.

    Exporters fold a batch norm into the convolution before it; the first one, on the
    pixels, has none and stays a node of its own in the ONNX file.
    """

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.BatchNorm2d(1),
            nn.Conv2d(1, 12, 3, padding=1, bias=False),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = nn.Linear(24 * 2 * 2, 10)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the logits of q(theta | x)."""
        return {"logits": self.head(self.features(x).flatten(1))}


def load(test: int = 297) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pixels in [0, 1] as [N, 1, 8, 8]; the last rows of a fixed shuffle are test."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x = torch.from_numpy((x[order] / 16).astype(np.float32)).reshape(-1, 1, 8, 8)
    y = torch.from_numpy(y[order].astype(np.int64))
    return x[:-test], y[:-test], x[-test:], y[-test:]


def main(folder: Path) -> dict[str, Results]:
    x, y, x_test, y_test = load()
    generator = prepare(3)
    model = DigitsNet()
    epochs = 15
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(50):
            loss = F.cross_entropy(model(x[rows])["logits"], y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        logits = model(x_test)["logits"]
    information = input_information(model, x_test, categorical)
    save(model, "digits_cnn", x_test, CONTRACT, folder)
    save_data(folder, "digits_cnn", x=x_test, theta=y_test)
    return {
        "digits_cnn": {
            "test_nll": F.cross_entropy(logits, y_test).item(),
            "test_accuracy": (logits.argmax(1) == y_test).float().mean().item(),
            **summary(information),
        }
    }


if __name__ == "__main__":
    start(main)
