"""Tree ensembles of ai.onnx.ml: they run forward, their derivative is zero.

`path_ops` marks them; an audit names `--method finite-difference`, which sees steps.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from audit.importer.ops.forests import LEAF, MEMBER, Forest, planted, voted
from audit.importer.ops.ml import ML, labelled, transformed
from audit.importer.registry import Site, operator
from audit.importer.values import Host, Value


def _numbers(values: list[float] | None, tensor: Host | None) -> Host:
    return np.array(values or [], np.float32) if tensor is None else tensor


def _result(scores: Host, x: Tensor, site: Site) -> Tensor:
    kind = x.dtype if x.is_floating_point() else site.dtype(1)
    return torch.as_tensor(scores, device=x.device).to(kind)


@operator("TreeEnsembleRegressor", domain=ML, zero_derivative=True)
def tree_ensemble_regressor(
    x: Tensor,
    *,
    aggregate_function: str = "SUM",
    base_values: list[float] | None = None,
    base_values_as_tensor: Host | None = None,
    n_targets: int = 1,
    nodes_falsenodeids: list[int],
    nodes_featureids: list[int],
    nodes_hitrates: list[float] | None = None,
    nodes_hitrates_as_tensor: Host | None = None,
    nodes_missing_value_tracks_true: list[int] | None = None,
    nodes_modes: list[str],
    nodes_nodeids: list[int],
    nodes_treeids: list[int],
    nodes_truenodeids: list[int],
    nodes_values: list[float] | None = None,
    nodes_values_as_tensor: Host | None = None,
    post_transform: str = "NONE",
    target_ids: list[int],
    target_nodeids: list[int],
    target_treeids: list[int],
    target_weights: list[float] | None = None,
    target_weights_as_tensor: Host | None = None,
    site: Site,
) -> Tensor:
    """Sum of what the leaves say for each target."""
    splits = _numbers(nodes_values, nodes_values_as_tensor)
    forest, place = planted(
        nodes_treeids, nodes_nodeids, nodes_modes, nodes_featureids, splits,
        nodes_truenodeids, nodes_falsenodeids, nodes_missing_value_tracks_true,
    )  # fmt: skip
    weights = _numbers(target_weights, target_weights_as_tensor)
    votes = [
        (place[tree, node], target, float(weight))
        for tree, node, target, weight in zip(
            target_treeids, target_nodeids, target_ids, weights, strict=True
        )
    ]
    leaves = forest.leaves(x.detach().cpu().numpy())
    scores = voted(leaves, votes, n_targets, aggregate_function)
    base = _numbers(base_values, base_values_as_tensor)
    y = _result(scores + base if base.size else scores, x, site)
    return transformed(y, post_transform, site)


@operator("TreeEnsembleClassifier", domain=ML, zero_derivative=True)
def tree_ensemble_classifier(
    x: Tensor,
    *,
    base_values: list[float] | None = None,
    base_values_as_tensor: Host | None = None,
    class_ids: list[int],
    class_nodeids: list[int],
    class_treeids: list[int],
    class_weights: list[float] | None = None,
    class_weights_as_tensor: Host | None = None,
    classlabels_int64s: list[int] | None = None,
    classlabels_strings: list[str] | None = None,
    nodes_falsenodeids: list[int],
    nodes_featureids: list[int],
    nodes_hitrates: list[float] | None = None,
    nodes_hitrates_as_tensor: Host | None = None,
    nodes_missing_value_tracks_true: list[int] | None = None,
    nodes_modes: list[str],
    nodes_nodeids: list[int],
    nodes_treeids: list[int],
    nodes_truenodeids: list[int],
    nodes_values: list[float] | None = None,
    nodes_values_as_tensor: Host | None = None,
    post_transform: str = "NONE",
    site: Site,
) -> tuple[Value, Tensor]:
    """The best class, and the score of each."""
    splits = _numbers(nodes_values, nodes_values_as_tensor)
    forest, place = planted(
        nodes_treeids, nodes_nodeids, nodes_modes, nodes_featureids, splits,
        nodes_truenodeids, nodes_falsenodeids, nodes_missing_value_tracks_true,
    )  # fmt: skip
    weights = _numbers(class_weights, class_weights_as_tensor)
    votes = [
        (place[tree, node], target, float(weight))
        for tree, node, target, weight in zip(
            class_treeids, class_nodeids, class_ids, weights, strict=True
        )
    ]
    classes = len(classlabels_int64s or classlabels_strings or [])
    leaves = forest.leaves(x.detach().cpu().numpy())
    base = _numbers(base_values, base_values_as_tensor)
    if classes == 2 and len(set(class_ids)) == 1:
        if set(class_ids) != {0} or base.size > 1 or post_transform == "PROBIT":
            raise site.refuse(
                "two classes with votes for one only are implemented where that is the "
                "first, with one base value at most and no probit"
            )
        y = _result(voted(leaves, votes, 1, "SUM") + base.sum(), x, site)
        shares = bool((weights >= 0).all())
        best = (y[:, 0] > (0.5 if shares else 0)).long()
        y = _both_classes(y, shares, post_transform)
    else:
        scores = voted(leaves, votes, classes, "SUM")
        y = _result(scores + base if base.size else scores, x, site)
        best, y = y.argmax(-1), transformed(y, post_transform, site)
    return labelled(best, classlabels_int64s, classlabels_strings), y


def _both_classes(score: Tensor, shares: bool, how: str) -> Tensor:
    """Return the numbers [N, 2] of two classes whose leaves vote for the second alone.

    LightGBM and XGBoost write their classifiers so, with the second class as number 0.
    As onnxruntime reads it: a score of weights that are never negative is a share, and
    of all post-transforms the logistic one alone is applied.

    Args:
        score: of the second class [N, 1].
        shares: no weight is negative.
        how: the post-transform.
    """
    if how == "LOGISTIC":
        return torch.sigmoid(torch.cat([-score, score], -1))
    return torch.cat([1 - score if shares else -score, score], -1)


@operator("TreeEnsemble", domain=ML, since=5, zero_derivative=True)
def tree_ensemble(
    x: Tensor,
    *,
    aggregate_function: int = 1,
    leaf_targetids: list[int],
    leaf_weights: Host,
    membership_values: Host | None = None,
    n_targets: int = 1,
    nodes_falseleafs: list[int],
    nodes_falsenodeids: list[int],
    nodes_featureids: list[int],
    nodes_hitrates: Host | None = None,
    nodes_missing_value_tracks_true: list[int] | None = None,
    nodes_modes: Host,
    nodes_splits: Host,
    nodes_trueleafs: list[int],
    nodes_truenodeids: list[int],
    post_transform: int = 0,
    tree_roots: list[int],
    site: Site,
) -> Tensor:
    """The form of opset 5: inner nodes first, leaves after them."""
    inner, leaves = len(nodes_featureids), len(leaf_targetids)
    modes = np.concatenate([nodes_modes.astype(int), np.full(leaves, LEAF)])
    yes, no = (
        np.where(np.array(is_leaf, bool), np.array(ids) + inner, np.array(ids))
        for is_leaf, ids in (
            (nodes_trueleafs, nodes_truenodeids),
            (nodes_falseleafs, nodes_falsenodeids),
        )
    )
    empty = np.zeros(leaves, int)
    tracks = np.array(nodes_missing_value_tracks_true or [0] * inner)
    forest = Forest(
        np.array(tree_roots),
        modes,
        np.concatenate([np.array(nodes_featureids), empty]),
        np.concatenate([nodes_splits.astype(np.float64), empty]),
        np.concatenate([yes, empty]),
        np.concatenate([no, empty]),
        np.concatenate([tracks, empty]),
        _members(nodes_modes, membership_values),
    )
    votes = [
        (inner + i, target, float(weight))
        for i, (target, weight) in enumerate(
            zip(leaf_targetids, leaf_weights, strict=True)
        )
    ]
    how = ("AVERAGE", "SUM", "MIN", "MAX")[aggregate_function]
    scores = voted(forest.leaves(x.detach().cpu().numpy()), votes, n_targets, how)
    last = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")[post_transform]
    return transformed(_result(scores, x, site), last, site)


def _members(modes: Host, values: Host | None) -> dict[int, set[float]]:
    """Return the set of each membership node; NaN ends one set."""
    if values is None:
        return {}
    sets: list[set[float]] = [set()]
    for value in values.tolist():
        if value != value:
            sets.append(set())
        else:
            sets[-1].add(value)
    nodes = [i for i, mode in enumerate(modes.tolist()) if mode == MEMBER]
    return dict(zip(nodes, sets, strict=False))
