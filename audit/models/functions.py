"""The functions that an expression may call, on values [N, ...] with the batch first.

A constant is a tensor without axes. Functions of one vector work on its last axis;
`axis` counts as an index does, the batch being 0, so that -1 is the last one. What each
is for, with an example, is in `audit.reports.expressions`.

Sources: every derivative is autograd's; a test holds each against differences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isqrt

import torch
from torch import Tensor
from torch.nn import functional

from audit.ground.errors import ConfigError

Keyword = float | int | bool | str


@dataclass(frozen=True)
class Function:
    """One function of the grammar.

    Args:
        run: its values.
        least, most: how many values it takes; None for any number.
        keywords: what else it takes, each with its type: "axis", "switch" (true,
            false), "number", or "diagonal" (a number or one of the functions of a
            single number).
    """

    run: Callable[..., Tensor]
    least: int = 1
    most: int | None = 1
    keywords: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *values: Tensor, **keywords: Keyword) -> Tensor:
        """Return its value."""
        return self.run(*values, **keywords)

    @property
    def pointwise(self) -> bool:
        """Whether it is a function of a single number."""
        return self.most == 1 and not self.keywords and self.run is not diag


def tril(
    values: Tensor, diagonal: Keyword = "identity", strict: Keyword = False
) -> Tensor:
    """Return lower triangles: of matrices [N, n, n], or filled row by row from vectors.

    Args:
        values: [N, n, n], or [N, n(n+1)/2] in the order (0,0), (1,0), (1,1), (2,0), …;
            strict: [N, n(n−1)/2] in the order (1,0), (2,0), (2,1), …
        diagonal: a function that the diagonal passes through, or a number it is
            replaced by.
        strict: whether the values are below the diagonal only; it is 0 then.

    Raises:
        ConfigError: the length of a vector is no triangular number.
    """
    matrix = _filled(values, bool(strict)) if values.dim() == 2 else values
    matrix = torch.tril(matrix, -1 if strict else 0)
    if diagonal == "identity":
        return matrix
    side = matrix.shape[-1]
    eye = torch.eye(side, dtype=torch.bool, device=matrix.device)
    if isinstance(diagonal, str):
        own = matrix.diagonal(dim1=-2, dim2=-1)
        return torch.where(eye, torch.diag_embed(FUNCTIONS[diagonal](own)), matrix)
    return torch.where(eye, float(diagonal), matrix)


def _filled(values: Tensor, strict: bool) -> Tensor:
    """Return the triangle [N, n, n] that vectors fill row by row."""
    length = values.shape[-1]
    side = (isqrt(8 * length + 1) - 1) // 2 + strict
    if length == 0 or side * (side + (-1 if strict else 1)) // 2 != length:
        ends = "(n−1)" if strict else "(n+1)"
        raise ConfigError(
            f"tril() was given {length} numbers for each input",
            f"A triangle with side n has n{ends}/2: 1, 3, 6, 10, …",
            "Check the slice in --param",
        )
    rows, columns = torch.tril_indices(side, side, -strict, device=values.device)
    matrix = values.new_zeros(*values.shape[:-1], side, side)
    return matrix.index_put((torch.arange(len(values))[:, None], rows, columns), values)


def diag(values: Tensor) -> Tensor:
    """Return diagonal matrices [N, ..., n, n] of vectors [N, ..., n]."""
    return torch.diag_embed(_vector(values))


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """Return products of matrices [N, n, m] with matrices or with vectors [N, m]."""
    if left.dim() >= 3 and right.dim() == left.dim() - 1:
        return (left @ right.unsqueeze(-1)).squeeze(-1)
    if left.dim() < 3 or right.dim() < 3:
        raise ValueError("a matrix has two axes after the batch")
    return left @ right


def transpose(values: Tensor) -> Tensor:
    """Return matrices with their last two axes exchanged."""
    if values.dim() < 3:
        raise ValueError("a matrix has two axes after the batch")
    return values.mT


def clamp(
    values: Tensor,
    low: Tensor | None = None,
    high: Tensor | None = None,
    **ends: Keyword,
) -> Tensor:
    """Return the values, those below `min` or above `max` replaced by it."""
    for name, given in (("min", low), ("max", high)):
        if name in ends:
            if given is not None:
                raise ValueError(f"{name} is there twice")
            ends[name] = values.new_tensor(float(ends[name]))  # type: ignore[assignment]
        elif given is not None:
            ends[name] = given  # type: ignore[assignment]
    if not ends:
        raise ValueError("it needs min, max or both")
    bounds: dict[str, Tensor] = ends  # type: ignore[assignment]
    names = list(bounds)
    whole, *others = aligned(values, *bounds.values())
    return torch.clamp(whole, **dict(zip(names, others, strict=True)))


def pad(values: Tensor, before: Tensor, after: Tensor, value: Keyword = 0) -> Tensor:
    """Return vectors with so many constants before and after on the last axis."""
    sizes = _whole(before), _whole(after)
    if min(sizes) < 0:
        raise ValueError("the sizes are not negative")
    return functional.pad(_vector(values), sizes, value=float(value))


def cat(*values: Tensor, axis: Keyword = -1) -> Tensor:
    """Return values side by side along an axis; a single number [N] has one place."""
    values = _with_rows(values)
    rank = max(2, *(value.dim() for value in values))
    if any(1 < value.dim() < rank for value in values):
        raise ValueError("values side by side have the same number of axes")
    place, parts = _axis(rank, axis), aligned(*values, rank=rank)
    most = [max(part.shape[i] for part in parts) for i in range(rank)]
    wide = [
        part.expand([*most[:place], part.shape[place], *most[place + 1 :]])
        for part in parts
    ]
    return torch.cat(wide, dim=place)


def stack(*values: Tensor, axis: Keyword = 1) -> Tensor:
    """Return values along a new axis, by default the first after the batch."""
    same = aligned(*_with_rows(values))
    shape = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
        *(value.shape for value in same)
    )
    parts = [value.expand(shape) for value in same]
    return torch.stack(parts, dim=_axis(parts[0].dim() + 1, axis))


def reshape(values: Tensor, *sizes: Tensor) -> Tensor:
    """Return each input's numbers in another shape, in row-major order."""
    return values.reshape(len(_rows(values)), *map(_whole, sizes))


def aligned(*values: Tensor, rank: int = 0) -> tuple[Tensor, ...]:
    """Give all the same number of axes by adding axes after the batch axis.

    Torch aligns shapes from the right; a number for each input [N] must not be
    aligned with the events of [N, n]. Constants, without axes, stay as they are.

    Raises:
        ValueError: a vector fits more than one axis of a value with more axes.
    """
    largest = max(values, key=lambda value: value.dim()).shape
    rank = max(rank, len(largest))

    def lift(value: Tensor) -> Tensor:
        if value.dim() in (0, rank):
            return value
        if value.dim() < len(largest):
            _refuse_ambiguous(value.shape, largest)
        own = value.shape[1:]
        return value.reshape(len(value), *[1] * (rank - value.dim()), *own)

    return tuple(map(lift, values))


def _refuse_ambiguous(shape: torch.Size, largest: torch.Size) -> None:
    """Raise if a shape fits a larger one both from the left and from the right."""
    own = shape[1:]
    left, right = largest[1 : len(shape)], largest[len(largest) - len(own) :]
    if own == left == right and max(own, default=1) > 1:
        raise ValueError(
            "the smaller one fits more than one axis: write [:, None, :] or "
            "[:, :, None] after it, or diag() around it"
        )


def _with_rows(values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the values with constants as one number for each input."""
    rows = next((len(value) for value in values if value.dim()), None)
    if rows is None:
        raise ValueError("one of the values has to be an output")
    return tuple(value if value.dim() else value.expand(rows) for value in values)


def _axis(rank: int, axis: Keyword) -> int:
    place = int(axis) + (rank if int(axis) < 0 else 0)
    if not 1 <= place < rank:
        raise ValueError(f"axis {axis} is the batch axis or none of {rank} axes")
    return place


def _whole(number: Tensor) -> int:
    if number.dim() or float(number) != int(number):
        raise ValueError("sizes are whole numbers")
    return int(number)


def _rows(values: Tensor) -> Tensor:
    if values.dim() == 0:
        raise ValueError("a constant has no axes")
    return values


def _vector(values: Tensor) -> Tensor:
    """Return a vector for each input; of a single number [N, 1]."""
    return values.unsqueeze(-1) if _rows(values).dim() == 1 else values


def _along(
    run: Callable[..., Tensor], keeps: bool = True
) -> Callable[[Tensor, Keyword], Tensor]:
    """Return a function of vectors along an axis."""

    def along(values: Tensor, axis: Keyword = -1) -> Tensor:
        whole = _vector(values)
        found = run(whole, dim=_axis(whole.dim(), axis))
        return found.reshape(values.shape) if keeps else found

    return along


_AXIS = {"axis": "axis"}


def _vectors(run: Callable[..., Tensor], keeps: bool = True) -> Function:
    return Function(_along(run, keeps), keywords=_AXIS)


FUNCTIONS: dict[str, Function] = {
    "exp": Function(torch.exp),
    "expm1": Function(torch.expm1),
    "log": Function(torch.log),
    "log1p": Function(torch.log1p),
    "sqrt": Function(torch.sqrt),
    "square": Function(torch.square),
    "softplus": Function(functional.softplus),
    "elu": Function(functional.elu),
    "sigmoid": Function(torch.sigmoid),
    "logit": Function(torch.logit),
    "tanh": Function(torch.tanh),
    "sin": Function(torch.sin),
    "cos": Function(torch.cos),
    "abs": Function(torch.abs),
    "identity": Function(lambda values: values),
    "atan2": Function(lambda y, x: torch.atan2(*aligned(y, x)), 2, 2),
    "power": Function(lambda x, y: torch.pow(*aligned(x, y)), 2, 2),
    "clamp": Function(clamp, 1, 3, {"min": "number", "max": "number"}),
    "softmax": _vectors(torch.softmax),
    "cumsum": _vectors(torch.cumsum),
    "cumprod": _vectors(torch.cumprod),
    "sum": _vectors(torch.sum, keeps=False),
    "mean": _vectors(torch.mean, keeps=False),
    "cat": Function(cat, 1, None, _AXIS),
    "stack": Function(stack, 1, None, _AXIS),
    "pad": Function(pad, 3, 3, {"value": "number"}),
    "reshape": Function(reshape, 2, None),
    "diag": Function(diag),
    "tril": Function(tril, keywords={"diagonal": "diagonal", "strict": "switch"}),
    "transpose": Function(transpose),
    "matmul": Function(matmul, 2, 2),
}
