"""The two flows that sbi trained, in plain torch, with the weights of their files.

sbi and nflows are not needed: what is here is written from the papers, and two of its
conventions from the graphs. x is standardised first; θ goes through the transforms to
z ~ N(0, I), log q = log N(z) + Σ log |det|, and a draw comes back through them.

Sources: Papamakarios, Pavlakou & Murray, Masked Autoregressive Flow (2017); Durkan,
Bekasov, Murray & Papamakarios, Neural Spline Flows (2019), equations 4 to 8.
"""

import math

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn.functional import linear, pad, softplus


def single(value):
    """Return a constant as the file holds it."""
    return float(np.float32(value))


BINS, END = 8, 3.0
LEAST, REST, SHRINK = single(1e-3), single(1 - 8e-3), single(math.sqrt(24))
EDGE = single(math.log(math.expm1(1 - 1e-3)))  # of slope one, as outside


def weights(path):
    """Return the initializers of an ONNX file by name, and its nodes' inputs."""
    graph = onnx.load(path).graph
    named = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    tensors = {k: torch.from_numpy(np.array(v)) for k, v in named.items()}
    return tensors, [list(node.input) for node in graph.node]


class Flow(nn.Module):
    """A chain of transforms; its forward is log q and a draw.

    Args:
        file: the file whose weights it has.
    """

    def __init__(self, file):
        super().__init__()
        found, nodes = weights(file)
        self.count = 0
        self.names = {}
        for name, value in found.items():
            self.keep(name, value)
        self.layers = self.chain(nodes)

    def keep(self, name, value):
        self.names[name] = f"w{self.count}"
        self.register_buffer(self.names[name], value)
        self.count += 1

    def __getitem__(self, name):
        return getattr(self, self.names[name])

    def of(self, number, name):
        return self[f"flow._transform._transforms.{number}.{name}"]

    def forward(self, x, theta, z):
        x = (x - self["flow._embedding_net.0._mean"]) / self[
            "flow._embedding_net.0._std"
        ]
        shift, scale = self.of(0, "_shift"), self.of(0, "_scale")
        y = theta * scale + shift
        total = self["sum_1"].expand(len(x))  # log |scale|
        for step in self.layers:
            y, slope = step.to_noise(self, x, y)
            total = total + slope
        base = -0.5 * y.square().sum(1) - self["flow._distribution._log_z"]
        for step in reversed(self.layers):
            z = step.from_noise(self, x, z)
        return {"log_prob": base + total, "sample": (z - shift) / scale}


class Masked:
    """yᵢ' = softplus-scaleᵢ(y_{<i}, x) yᵢ + shiftᵢ(y_{<i}, x), and a permutation."""

    def __init__(self, number, masked, order):
        self.number, self.masked, self.order = number, masked, order

    def scale_and_shift(self, flow, x, y):
        def name(part):
            return flow.of(self.number, f"autoregressive_net.{part}")

        first, middle, last = (flow[name] for name in self.masked)
        h = linear(y, first, name("initial_layer.bias"))
        context = name("context_layer.weight"), name("context_layer.bias")
        h = torch.tanh(h + torch.tanh(linear(x, *context)))
        h = torch.tanh(linear(h, middle, name("blocks.0.linear.bias")))
        h = linear(h, last, name("final_layer.bias")).reshape(len(y), -1, 2)
        return softplus(h[..., 0]) + LEAST, h[..., 1]

    def to_noise(self, flow, x, y):
        scale, shift = self.scale_and_shift(flow, x, y)
        return (scale * y + shift)[:, flow[self.order]], scale.log().sum(1)

    def from_noise(self, flow, x, z):
        z = z[:, flow[self.order].argsort()]
        y = torch.zeros_like(z)
        for _ in range(z.shape[1]):  # one more coordinate is right after each
            scale, shift = self.scale_and_shift(flow, x, y)
            y = (z - shift) / scale
        return y


class LinearPosterior(Flow):
    """Four masked affine steps."""

    def chain(self, nodes):
        used = [i for n in nodes for i in n if i in self.names and "mul_" in i]
        used = list(dict.fromkeys(used))
        places = [i for n in nodes for i in n if i.endswith("._permutation")]
        return [Masked(2 * k + 1, used[3 * k : 3 * k + 3], places[k]) for k in range(4)]


class Spline:
    """One coordinate by a rational-quadratic spline that the other and x choose."""

    def __init__(self, number, moved):
        self.number, self.moved = number, moved

    def knots(self, flow, x, y):
        """Return the places, heights [N, BINS + 1] and slopes of the knots."""

        def apply(part, value):
            name = f"transform_net.{part}"
            weight = flow.of(self.number, f"{name}.weight")
            return linear(value, weight, flow.of(self.number, f"{name}.bias"))

        kept = y[:, 1 - self.moved, None]
        h = apply("initial_layer", torch.cat([kept, x], 1))
        block = apply("blocks.0.linear_layers.0", h.relu())
        block = apply("blocks.0.linear_layers.1", block.relu())
        h = h + block * apply("blocks.0.context_layer", x).sigmoid()
        out = apply("final_layer", h)
        parts = out[:, :BINS], out[:, BINS : 2 * BINS], out[:, 2 * BINS :]
        sides = [self.sides(part / SHRINK) for part in parts[:2]]
        return *sides, softplus(pad(parts[2], (1, 1), value=EDGE)) + LEAST

    def sides(self, raw):
        share = LEAST + REST * raw.softmax(-1)
        inner = 2 * END * share.cumsum(-1)[:, :-1] - END
        return pad(pad(inner, (1, 0), value=-END), (0, 1), value=END)

    def bin(self, knots, by, value):
        """Return place, width, height, its size and the slopes of the bin."""
        at = (value[:, None] >= knots[by][:, 1:-1]).sum(1, keepdim=True)

        def pick(table):
            return table.gather(1, at)[:, 0], table.gather(1, at + 1)[:, 0]

        (x0, x1), (y0, y1), slopes = (pick(table) for table in knots)
        return x0, x1 - x0, y0, y1 - y0, slopes

    def to_noise(self, flow, x, y):
        value = y[:, self.moved].clamp(-END, END)
        x0, width, y0, rise, (d0, d1) = self.bin(self.knots(flow, x, y), 0, value)
        s, t = rise / width, (value - x0) / width
        below = s + (d0 + d1 - 2 * s) * t * (1 - t)
        found = y0 + rise * (s * t**2 + d0 * t * (1 - t)) / below
        slope = s**2 * (d1 * t**2 + 2 * s * t * (1 - t) + d0 * (1 - t) ** 2)
        slope = slope.log() - 2 * below.log()
        return self.put(y, found), torch.where(self.inside(y), slope, 0.0)

    def from_noise(self, flow, x, z):
        value = z[:, self.moved].clamp(-END, END)
        x0, width, y0, rise, (d0, d1) = self.bin(self.knots(flow, x, z), 1, value)
        s, up = rise / width, value - y0
        bend = d0 + d1 - 2 * s
        a, b, c = rise * (s - d0) + up * bend, rise * d0 - up * bend, -s * up
        t = 2 * c / (-b - (b * b - 4 * a * c).sqrt())
        return self.put(z, x0 + width * t)

    def inside(self, y):
        return y[:, self.moved].abs() <= END

    def put(self, y, found):
        found = torch.where(self.inside(y), found, y[:, self.moved])
        return torch.stack([found, y[:, 1]] if self.moved == 0 else [y[:, 0], found], 1)


class Linear:
    """y' = W y + b; W, log |det W| and the inverse of W as the file holds them."""

    def __init__(self, number, names):
        self.number, self.names = number, names

    def to_noise(self, flow, x, y):
        matrix, slope, _ = (flow[name] for name in self.names)
        return linear(y, matrix, flow.of(self.number, "bias")), slope

    def from_noise(self, flow, x, z):
        return linear(z - flow.of(self.number, "bias"), flow[self.names[2]])


class TwoMoons(Flow):
    """Three couplings by splines, each with a linear layer after it."""

    def chain(self, nodes):
        layers = []
        for k in range(3):
            place = f"flow._transform._transforms.{2 * k + 2}.lifted_tensor_"
            names = f"{place}{2 * k}", f"{place}{2 * k + 1}", f"lifted_tensor_{8 - k}"
            layers += [Spline(2 * k + 1, k % 2), Linear(2 * k + 2, names)]
        return layers
