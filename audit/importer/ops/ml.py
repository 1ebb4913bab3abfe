"""The ai.onnx.ml operators that scikit-learn's converter writes, but for trees."""

from __future__ import annotations

from math import sqrt

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from audit.importer.limits import check_elements, check_listed
from audit.importer.ops.reduction import lp_norm
from audit.importer.registry import Site, operator
from audit.importer.values import Host, Value, listed

ML = "ai.onnx.ml"


def _row(values: list[float], x: Tensor) -> Tensor:
    return torch.tensor(values, dtype=x.dtype, device=x.device)


def _real(x: Tensor, site: Site) -> Tensor:
    """Return the input as the floats these operators compute with."""
    return x if x.is_floating_point() else x.to(site.dtype(1))


def transformed(scores: Tensor, how: str, site: Site) -> Tensor:
    """Apply a post_transform to [rows, classes]."""
    if how in ("NONE", ""):
        return scores
    if how == "LOGISTIC":
        return torch.sigmoid(scores)
    if how == "SOFTMAX":
        return functional.softmax(scores, -1)
    if how == "SOFTMAX_ZERO":
        used = scores != 0
        weights = functional.softmax(scores.masked_fill(~used, -torch.inf), -1)
        return torch.where(used, weights, torch.zeros_like(weights))
    if how == "PROBIT":
        return sqrt(2) * torch.erfinv(2 * scores - 1)
    raise site.refuse(f"post_transform '{how}' is unknown")


def labelled(index: Tensor, ints: list[int] | None, names: list[str] | None) -> Value:
    """Turn class numbers into the labels of the model."""
    if names:
        return np.asarray(np.array(names, object)[index.detach().cpu().numpy()])
    table = torch.tensor(ints or [], dtype=torch.int64, device=index.device)
    return table[index]


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    check_elements((*x.shape[:-1], weight.shape[0]), "A linear model's result")
    return functional.linear(x, weight, bias)


@operator("LinearRegressor", domain=ML)
def linear_regressor(
    x: Tensor,
    *,
    coefficients: list[float],
    intercepts: list[float] | None = None,
    post_transform: str = "NONE",
    targets: int = 1,
    site: Site,
) -> Tensor:
    """X W + b."""
    x = _real(x, site)
    weight = _row(coefficients, x).reshape(targets, -1)
    bias = _row(intercepts, x) if intercepts else None
    return transformed(_linear(x, weight, bias), post_transform, site)


@operator("LinearClassifier", domain=ML, zero_outputs=(0,))
def linear_classifier(
    x: Tensor,
    *,
    classlabels_ints: list[int] | None = None,
    classlabels_strings: list[str] | None = None,
    coefficients: list[float],
    intercepts: list[float] | None = None,
    multi_class: int = 0,
    post_transform: str = "NONE",
    site: Site,
) -> tuple[Value, Tensor]:
    """The best class, and the score of each."""
    x = _real(x, site)
    weight = _row(coefficients, x).reshape(-1, x.shape[-1])
    bias = _row(intercepts, x) if intercepts else None
    scores = _linear(x, weight, bias)
    classes = len(classlabels_ints or classlabels_strings or [])
    single = scores.shape[-1] == 1 and classes == 2
    if single:
        scores = _two_classes(scores, post_transform)
    scores = transformed(scores, "NONE" if single else post_transform, site)
    best = scores.detach().argmax(-1)
    return labelled(best, classlabels_ints, classlabels_strings), scores


def _two_classes(score: Tensor, how: str) -> Tensor:
    """Complete one score to two: p and 1 - p, or s and -s."""
    if how == "LOGISTIC":
        chance = torch.sigmoid(score)
        return torch.cat([1 - chance, chance], -1)
    both = torch.cat([-score, score], -1)
    return functional.softmax(both, -1) if how.startswith("SOFTMAX") else both


@operator("Scaler", domain=ML)
def scaler(
    x: Tensor,
    *,
    offset: list[float] | None = None,
    scale: list[float] | None = None,
    site: Site,
) -> Tensor:
    """(x - offset) scale."""
    x = _real(x, site)
    shifted = x - _row(offset, x) if offset else x
    return shifted * _row(scale, x) if scale else shifted


@operator("Normalizer", domain=ML)
def normalizer(x: Tensor, *, norm: str = "MAX", site: Site) -> Tensor:
    """Divide each row by its norm; a row of norm zero stays."""
    x = _real(x, site)
    if norm == "MAX":
        size = x.amax(-1, keepdim=True)
    elif norm in ("L1", "L2"):
        size = lp_norm(x, int(norm[1]), (-1,), keep=True)
    else:
        raise site.refuse(f"norm '{norm}' is unknown")
    return x / torch.where(size == 0, torch.ones_like(size), size)


@operator("Imputer", domain=ML)
def imputer(
    x: Tensor,
    *,
    imputed_value_floats: list[float] | None = None,
    imputed_value_int64s: list[int] | None = None,
    replaced_value_float: float = 0.0,
    replaced_value_int64: int = 0,
) -> Tensor:
    """Replace missing values."""
    real = x.is_floating_point()
    missing = replaced_value_float if real else replaced_value_int64
    values = (imputed_value_floats if real else imputed_value_int64s) or [0]
    found = torch.isnan(x) if missing != missing else x == missing
    new = torch.tensor(values, dtype=x.dtype, device=x.device)
    return torch.where(found, new.expand_as(x), x)


@operator("Binarizer", domain=ML, zero_derivative=True)
def binarizer(x: Tensor, *, threshold: float = 0.0) -> Tensor:
    """One above the threshold, zero up to it."""
    return (x > threshold).to(x.dtype)


@operator("ArrayFeatureExtractor", domain=ML, zero_inputs=(1,))
def array_feature_extractor(x: Tensor | Host, index: Tensor) -> Tensor | Host:
    """Pick columns."""
    flat = index.reshape(-1).to(torch.int64)
    if isinstance(x, Tensor):
        picked = x.index_select(-1, flat)
        return picked if x.dim() > 1 else picked.reshape(1, -1)
    return np.asarray(x[..., flat.numpy()]).reshape(*x.shape[:-1] or (1,), -1)


@operator("FeatureVectorizer", domain=ML)
def feature_vectorizer(
    *tensors: Tensor, inputdimensions: list[int] | None = None, site: Site
) -> Tensor:
    """Join columns."""
    rows = [_real(t, site) for t in tensors]
    return torch.cat([t if t.dim() > 1 else t.reshape(1, -1) for t in rows], 1)


@operator("ZipMap", domain=ML)
def zip_map(
    x: Tensor,
    *,
    classlabels_int64s: list[int] | None = None,
    classlabels_strings: list[str] | None = None,
) -> list[Value]:
    """One dictionary for each row: label to number."""
    labels = classlabels_strings or classlabels_int64s or []
    check_listed(x.shape, "The numbers of ZipMap")
    rows = x.unsqueeze(0) if x.dim() == 1 else x
    return [dict(zip(labels, row.unbind(0), strict=True)) for row in rows.unbind(0)]


@operator("OneHotEncoder", domain=ML, zero_derivative=True)
def one_hot_encoder(
    x: Tensor | Host,
    *,
    cats_int64s: list[int] | None = None,
    cats_strings: list[str] | None = None,
    zeros: int = 1,
    site: Site,
) -> Tensor:
    """A one in the column of the category."""
    table = {c: i for i, c in enumerate(cats_strings or cats_int64s or [])}
    items = listed(x)
    check_elements((len(items), len(table)), "The result of OneHotEncoder")
    result = torch.zeros(len(items), len(table), dtype=site.dtype(1))
    for row, item in enumerate(items):
        place = table.get(item if isinstance(item, str) else int(item))
        if place is not None:
            result[row, place] = 1
        elif not zeros:
            msg = f"'{item}' is not among the categories"
            raise ValueError(msg)
    return result.reshape(*x.shape, len(table))


@operator("LabelEncoder", domain=ML, zero_derivative=True)
def label_encoder_classes(
    x: Tensor | Host,
    *,
    classes_strings: list[str],
    default_int64: int = -1,
    default_string: str = "_Unused",
    site: Site,
) -> Tensor | Host:
    """Strings to their numbers, or numbers to their strings (opset 1)."""
    numbers = list(range(len(classes_strings)))
    if isinstance(x, Tensor):
        return label_encoder(
            x,
            keys_int64s=numbers,
            values_strings=classes_strings,
            default_string=default_string,
            site=site,
        )
    return label_encoder(
        x,
        keys_strings=classes_strings,
        values_int64s=numbers,
        default_int64=default_int64,
        site=site,
    )


@operator("LabelEncoder", domain=ML, since=2, zero_derivative=True)
def label_encoder(
    x: Tensor | Host,
    *,
    default_float: float = -0.0,
    default_int64: int = -1,
    default_string: str = "_Unused",
    default_tensor: Host | None = None,
    keys_floats: list[float] | None = None,
    keys_int64s: list[int] | None = None,
    keys_strings: list[str] | None = None,
    keys_tensor: Host | None = None,
    values_floats: list[float] | None = None,
    values_int64s: list[int] | None = None,
    values_strings: list[str] | None = None,
    values_tensor: Host | None = None,
    site: Site,
) -> Tensor | Host:
    """Look each element up in a table."""
    keys = keys_strings or keys_int64s or keys_floats or _items(keys_tensor)
    values = values_strings or values_int64s or values_floats or _items(values_tensor)
    default: object = default_float
    if default_tensor is not None:
        default = default_tensor.reshape(-1)[0]
    elif values_strings or _kind(values_tensor) in "OUS":
        default = default_string
    elif values_int64s or _kind(values_tensor) in "iu":
        default = default_int64
    table = {_key(key): value for key, value in zip(keys, values, strict=True)}
    items = listed(x)
    found = np.array([table.get(_key(item), default) for item in items], object)
    found = found.reshape(tuple(x.shape))
    if values_strings or _kind(values_tensor) in "OUS":
        return found
    if values_tensor is not None:
        return site.policy.tensor(found.astype(values_tensor.dtype))
    kind = np.int64 if values_int64s else np.float32
    return site.policy.tensor(found.astype(kind))


def _items(array: Host | None) -> list[object]:
    return [] if array is None else array.reshape(-1).tolist()


def _kind(array: Host | None) -> str:
    return "?" if array is None else array.dtype.kind


def _key(item: object) -> object:
    """Make NaN findable and bytes text."""
    if isinstance(item, bytes):
        return item.decode()
    return "nan key" if item != item else item
