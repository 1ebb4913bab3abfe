"""The com.microsoft operators that onnxruntime's graph optimiser writes: fusions.

Each is the sequence of standard operators that it was fused from.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.limits import check_elements, check_temporary
from audit.importer.ops.convolution import conv
from audit.importer.ops.elementwise import gelu, hard_sigmoid, leaky_relu
from audit.importer.ops.indexing import gather_nd
from audit.importer.ops.lengths import length
from audit.importer.ops.linear import gemm, mat_mul
from audit.importer.ops.shape import trilu, unsqueeze_attribute
from audit.importer.registry import Site, operator
from audit.importer.values import Host, ints

MICROSOFT = "com.microsoft"
operator("Trilu", domain=MICROSOFT, host=(1,), zero_inputs=(1,))(trilu)
operator("GatherND", domain=MICROSOFT, host=(1,), zero_inputs=(1,))(gather_nd)
operator("Inverse", domain=MICROSOFT)(torch.linalg.inv)


@operator("ExpandDims", domain=MICROSOFT, host=(1,), zero_inputs=(1,))
def expand_dims(x: Tensor, axis: Host | Tensor) -> Tensor:
    """Insert one axis of size one."""
    return unsqueeze_attribute(x, axes=ints(axis))


@operator(
    "CDist",
    domain=MICROSOFT,
    bounded=True,
    only={"metric": ("euclidean", "sqeuclidean")},
)
def distances(a: Tensor, b: Tensor, *, metric: str = "sqeuclidean") -> Tensor:
    """|aᵢ − bⱼ|² of every row of a and of b, or |aᵢ − bⱼ| (see `lengths`)."""
    check_elements((len(a), len(b)), "The distances of rows")
    check_temporary((len(a), *b.shape), "The differences of rows")
    squares = (a.unsqueeze(1) - b.unsqueeze(0)).square().sum(-1)
    return squares if metric == "sqeuclidean" else length(squares)


def _turned(x: Tensor, last: int, batch: int) -> Tensor:
    """Swap the last two axes, or move the first axis before the last one."""
    if batch:
        x = x.movedim(0, -2)
    return x.transpose(-1, -2) if last else x


@operator("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_mat_mul(
    a: Tensor,
    b: Tensor,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
) -> Tensor:
    """Alpha A B with transposed operands."""
    left = _turned(a, transA and a.dim() > 1, transBatchA)
    right = _turned(b, transB and b.dim() > 1, transBatchB)
    y = mat_mul(left, right)
    return y if alpha == 1.0 else (alpha * y).to(y.dtype)


def _activation(
    site: Site, name: str, alpha: float | None, beta: float | None
) -> Callable[[Tensor], Tensor]:
    table: dict[str, Callable[[Tensor], Tensor]] = {
        "": lambda x: x,
        "Relu": torch.relu,
        "Tanh": torch.tanh,
        "Sigmoid": torch.sigmoid,
        "LeakyRelu": lambda x: leaky_relu(x, alpha=0.01 if alpha is None else alpha),
        "Clip": lambda x: torch.clamp(x, alpha, beta),
        "HardSigmoid": lambda x: hard_sigmoid(
            x, alpha=0.2 if alpha is None else alpha, beta=0.5 if beta is None else beta
        ),
    }
    if name not in table:
        raise site.refuse(f"activation '{name}' is not implemented")
    return table[name]


@operator("FusedGemm", domain=MICROSOFT)
def fused_gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    site: Site,
) -> Tensor:
    """Gemm, then an activation."""
    act = _activation(site, activation, activation_alpha, activation_beta)
    return act(gemm(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB))


@operator("FusedConv", domain=MICROSOFT)
def fused_conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    z: Tensor | None = None,
    *,
    activation: str = "",
    activation_params: list[float] | None = None,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
    site: Site,
) -> Tensor:
    """Conv, plus an optional summand, then an activation."""
    given: list[float | None] = [*(activation_params or []), None, None]
    y = conv(
        x,
        w,
        b,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        pads=pads,
        strides=strides,
    )
    return _activation(site, activation, given[0], given[1])(y if z is None else y + z)


@operator("Gelu", domain=MICROSOFT)
def gelu_exact(x: Tensor) -> Tensor:
    """Gelu by the error function."""
    return gelu(x)


@operator("BiasGelu", domain=MICROSOFT)
def bias_gelu(x: Tensor, bias: Tensor) -> Tensor:
    """Gelu of x + bias."""
    return gelu(x + bias)


@operator("FastGelu", domain=MICROSOFT)
def fast_gelu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Gelu by tanh, of x + bias."""
    return gelu(x if bias is None else x + bias, approximate="tanh")


@operator("QuickGelu", domain=MICROSOFT)
def quick_gelu(x: Tensor, *, alpha: float = 1.702) -> Tensor:
    """X sigmoid(alpha x)."""
    return x * torch.sigmoid(alpha * x)


@operator("BiasAdd", domain=MICROSOFT)
def bias_add(x: Tensor, bias: Tensor, skip: Tensor) -> Tensor:
    """X + bias + skip."""
    return x + bias + skip


@operator("BiasSoftmax", domain=MICROSOFT)
def bias_softmax(
    x: Tensor, bias: Tensor, *, axis: int = 1, is_inner_broadcast: int = 1, site: Site
) -> Tensor:
    """Softmax of x + bias over `axis` and all axes after it."""
    if not is_inner_broadcast:
        raise site.refuse("is_inner_broadcast=0 is not implemented")
    total = x + bias
    return functional.softmax(total.flatten(axis % x.dim()), -1).reshape(total.shape)


Normed = tuple[Tensor, Tensor | None, Tensor | None, Tensor]


@operator("SkipLayerNormalization", domain=MICROSOFT, zero_outputs=(1, 2))
def skip_layer_norm(
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    beta: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
) -> Normed:
    """LayerNormalization of x + skip + bias; the sum is the fourth output."""
    total = x + skip if bias is None else x + skip + bias
    y = functional.layer_norm(total, gamma.shape, gamma, beta, epsilon)
    return y, None, None, total


@operator("SkipSimplifiedLayerNormalization", domain=MICROSOFT, zero_outputs=(1, 2))
def skip_rms_norm(
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
) -> Normed:
    """RMSNormalization of x + skip + bias; the sum is the fourth output."""
    total = x + skip if bias is None else x + skip + bias
    return simplified_layer_norm(total, gamma, epsilon=epsilon), None, None, total


@operator("SimplifiedLayerNormalization")
@operator("SimplifiedLayerNormalization", domain=MICROSOFT)
def simplified_layer_norm(
    x: Tensor,
    scale: Tensor,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    """Divide by the root mean square from `axis` on, then scale."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    over = list(range(axis % x.dim(), x.dim()))
    inverse = ((wide * wide).mean(over, keepdim=True) + epsilon).rsqrt()
    return (wide * inverse).to(x.dtype) * scale


@operator("EmbedLayerNormalization", domain=MICROSOFT, zero_inputs=(0, 1, 7, 8))
def embed_layer_norm(
    words: Tensor,
    segments: Tensor | None,
    word_table: Tensor,
    position_table: Tensor,
    segment_table: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    mask: Tensor | None = None,
    positions: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    mask_index_type: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum of word, position and segment embeddings, normalised; and mask lengths."""
    if positions is None:
        positions = torch.arange(words.shape[1], device=words.device).unsqueeze(0)
    total = word_table[words.long()] + position_table[positions.long()]
    if segments is not None and segment_table is not None:
        total = total + segment_table[segments.long()]
    y = functional.layer_norm(total, gamma.shape, gamma, beta, epsilon)
    lengths = torch.zeros(words.shape[0], dtype=torch.int32, device=words.device)
    if mask is not None:
        lengths = mask.sum(1, dtype=torch.int32)
    return y, lengths, total
