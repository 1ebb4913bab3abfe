"""Small models of the kinds people save, and their export by both exporters."""

import contextlib
import io
import logging
import warnings
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


class ResidualMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 16)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x):
        h = functional.silu(self.first(x))
        h = h + functional.gelu(self.second(self.norm(h)))
        out = self.head(h)
        return torch.erf(out), functional.softplus(out)


class Recurrent(nn.Module):
    def __init__(self, kind, both=False):
        super().__init__()
        self.cells = kind(5, 7, batch_first=True, bidirectional=both)
        self.head = nn.Linear(14 if both else 7, 3)

    def forward(self, x):
        return self.head(self.cells(x)[0][:, -1])


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x).mean(1))


class DeepSet(nn.Module):
    def __init__(self):
        super().__init__()
        self.each, self.head = nn.Linear(5, 9), nn.Linear(9, 3)

    def forward(self, x):
        h = torch.relu(self.each(x))
        return self.head(h.amax(1) + h.mean(1))


class MixtureDensity(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(8, 16), nn.Linear(16, 15)

    def forward(self, x):
        out = self.head(torch.tanh(self.first(x))).reshape(-1, 3, 5)
        logits, mean, log_scale = torch.split(out, [1, 2, 2], -1)
        weights = torch.log_softmax(logits[..., 0], -1)
        return weights, mean, torch.exp(log_scale.clamp(-5, 5))


class FullCovariance(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(8, 16), nn.Linear(16, 9)
        self.register_buffer("place", torch.tril_indices(3, 3))

    def forward(self, x):
        out = self.head(torch.tanh(self.first(x)))
        root = torch.zeros(x.shape[0], 3, 3, dtype=x.dtype)
        root[:, self.place[0], self.place[1]] = out[:, 3:]
        diagonal = functional.softplus(torch.diagonal(root, dim1=-2, dim2=-1))
        eye = torch.eye(3, dtype=x.dtype)
        return out[:, :3], torch.tril(root, -1) + diagonal[..., None] * eye


class Arithmetic(nn.Module):
    """Gather, where, slices, splits and reshapes, as flows are made of."""

    def __init__(self):
        super().__init__()
        self.register_buffer("order", torch.tensor([3, 1, 0, 2, 7, 5, 4, 6]))
        self.net = nn.Linear(4, 24)

    def forward(self, x):
        x = x[:, self.order]
        a, b = x.chunk(2, -1)
        h = self.net(a).reshape(x.shape[0], 4, 6)
        edges = torch.cumsum(torch.softmax(h, -1), -1)
        slot = (b[..., None] > edges).sum(-1, keepdim=True).clamp(max=5)
        low = edges.gather(-1, slot)[..., 0]
        bent = torch.where(b.abs() < 1, low + b * low.exp(), b)
        return torch.cat([a, bent], -1)[:, ::2], bent.sum(-1)


def mlp():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


ZOO = {
    "mlp": (mlp, (8,)),
    "residual": (ResidualMLP, (8,)),
    "cnn": (cnn, (1, 12, 12)),
    "gru": (lambda: Recurrent(nn.GRU), (6, 5)),
    "bi_lstm": (lambda: Recurrent(nn.LSTM, both=True), (6, 5)),
    "transformer": (Transformer, (6, 8)),
    "deep_set": (DeepSet, (6, 5)),
    "mdn": (MixtureDensity, (8,)),
    "full_covariance": (FullCovariance, (8,)),
    "arithmetic": (Arithmetic, (8,)),
}


@dataclass
class Saved:
    name: str
    module: nn.Module
    shape: tuple
    path: str

    def inputs(self, rows, dtype=torch.float32):
        generator = torch.Generator().manual_seed(rows)
        return torch.randn(rows, *self.shape, generator=generator, dtype=dtype)


def build(name):
    torch.manual_seed(0)
    make, shape = ZOO[name]
    module = make().eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.5, 0.5)
            layer.running_var.uniform_(0.5, 2.0)
    return module, shape


def export(module, shape, path, dynamo, opset=None):
    """Save with one of torch's two exporters, with a free batch axis."""
    x = torch.randn(4, *shape)
    torch.backends.mha.set_fastpath_enabled(False)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            if dynamo:
                free = ({0: torch.export.Dim("batch")},)
                torch.onnx.export(
                    module, (x,), path, dynamo=True, dynamic_shapes=free, verbose=False
                )
            else:
                torch.onnx.export(
                    module,
                    (x,),
                    path,
                    dynamo=False,
                    input_names=["x"],
                    dynamic_axes={"x": {0: "batch"}},
                    opset_version=opset or 17,
                )
    finally:
        logging.disable(logging.NOTSET)
        torch.backends.mha.set_fastpath_enabled(True)
